"""Finding a corpus's audio files below the folder that a person points at."""

import re
from pathlib import Path

from data_pipelines.refusal import Refusal

SUFFIXES = ('.wav', '.flac')


def audio(root: Path, pattern: str, example: str) -> list[tuple[Path, re.Match]]:
    """Every .wav or .flac below `root` whose name without its suffix is `pattern`, in the order of their paths, with the match.

    Only the file's own name counts, so that the corpus's root, a folder above it and a part of it are all walked. A folder or a
    dead link of that name is listed too: it is reported as unreadable rather than lost. Refuses a root with no such file.
    """
    if not root.is_dir():
        raise Refusal(f'{root} is not a folder; --source is the folder with files like {example}.')
    files = sorted(p for p in root.rglob('*') if p.suffix.lower() in SUFFIXES)
    found = [(p, m) for p in files if (m := re.fullmatch(pattern, p.stem))]
    if not found:
        seen = f'{len(files)} other audio files, such as {files[0].relative_to(root)}' if files else 'no .wav or .flac file'
        raise Refusal(f'No file like {example} (or .flac) below {root}, but {seen}. Point --source at the folder of this corpus.')
    return found
