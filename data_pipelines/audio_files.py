"""Finding a corpus's audio files below the folder that a person points at."""

import re
from pathlib import Path

from data_pipelines.errors import UserError

AUDIO_SUFFIXES = ('.wav', '.flac')


def find_audio_files(
    root: Path,
    pattern: str,
    example: str,
    parent_count: int = 0,
    suffixes: tuple[str, ...] = AUDIO_SUFFIXES,
) -> list[tuple[Path, re.Match]]:
    """Every audio file below `root` whose name without its suffix is `pattern`, in the order of their paths, with the match.

    Only the file's own name counts, with those of as many `parent_count` above it as the release needs to tell files apart, so that
    the corpus's root, a folder above it and a part of it are all walked. A folder or a dead link of that name is listed too: it
    is reported as unreadable rather than lost. Refuses a root with no such file.
    """
    if not root.is_dir():
        raise UserError(
            f'{root} is not a folder; --source is the folder with files like {example}.'
        )
    files = sorted(p for p in root.rglob('*') if p.suffix.lower() in suffixes)
    found = [
        (p, m)
        for p in files
        if (
            m := re.fullmatch(
                pattern, '/'.join(p.absolute().with_suffix('').parts[-1 - parent_count :])
            )
        )
    ]
    if not found:
        kinds = ' or '.join(suffixes)
        seen = (
            f'{len(files)} other audio files, such as {files[0].relative_to(root)}'
            if files
            else f'no {kinds} file'
        )
        raise UserError(
            f'No file like {example} (or {suffixes[-1]}) below {root}, but {seen}. Point --source at the folder of this corpus.'
        )
    if strange := sorted({*files} - {p for p, _ in found}):
        print(
            f'{len(strange)} audio files are passed over, as no name like {example}: {strange[0].relative_to(root)}, ...'
        )
    return found
