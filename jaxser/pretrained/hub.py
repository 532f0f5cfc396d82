"""Finds pretrained encoders by their names on the Hugging Face Hub.

`openai/whisper-small`, or `openai/whisper-small@REVISION`, is downloaded once into the cache of
huggingface_hub, which honours HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE. Only safetensors and JSON
files are downloaded: pickled files run code when they are opened.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from data_pipelines.errors import UserError
from jaxser.pretrained.checkpoint import printable

NAME_PATTERN = re.compile(r'([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w./-]*))?')
WANTED_FILES = ('*.safetensors', '*.json')
# Files in subfolders, copies in other precisions, and adapters to single languages.
UNWANTED_FILES = ('*/*', '*.fp16*', '*.fp32*', 'adapter*')


class LocatedEncoder(NamedTuple):
    """Where an encoder is on this machine."""

    folder: Path
    name: str = ''  # on the Hub; '' for a folder of the user's
    revision: str = ''  # the commit on the Hub


def locate_encoder(text: str | os.PathLike) -> LocatedEncoder:
    """Returns where an encoder is: `text` is a folder, or a name on the Hub.

    If a folder of that path exists, it is used. An encoder that is not in the cache is downloaded;
    UserError if that fails. A text that is neither is returned as a folder, which does not exist.
    """
    path = Path(os.path.expanduser(text))
    match = NAME_PATTERN.fullmatch(os.fspath(text))
    if path.exists() or match is None:
        return LocatedEncoder(path)
    name, revision = match.groups()
    folder = _fetch(name, revision)
    if not any(folder.glob('*.safetensors')):
        raise UserError(
            f'{name} has no *.safetensors at the revision {folder.name}, and pickled weights are '
            f'not downloaded. See whether a revision of https://huggingface.co/{name} has them, '
            f'often refs/pr/NUMBER: write {name}@REVISION. Or run '
            f'`hf download {name} --local-dir FOLDER` and name that folder: the message then says '
            'how to convert them.'
        )
    print(f'{name} at revision {folder.name}: {folder}')
    return LocatedEncoder(folder, name, folder.name)


def _fetch(name: str, revision: str | None) -> Path:
    """Returns the folder of a revision in the cache, after downloading what it lacks."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        if error.name != 'huggingface_hub':
            raise
        raise UserError(
            f'{name} is not a folder, and to download it huggingface_hub is needed: '
            'pip install huggingface_hub'
        ) from None
    wanted = name if revision is None else f'{name}@{revision}'
    try:
        folder = huggingface_hub.snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(WANTED_FILES),
            ignore_patterns=list(UNWANTED_FILES),
        )
    except errors.LocalEntryNotFoundError as error:
        raise UserError(_describe_missing(wanted, error)) from None
    except errors.GatedRepoError:
        raise UserError(
            f'{name} is only for users who accepted its terms: accept them at '
            f'https://huggingface.co/{name}, and run `hf auth login`.'
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(
            f'{name} has no revision {revision}. Its branches, tags and commits are listed at '
            f'https://huggingface.co/{name}/tree/main.'
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f'{name} is neither a folder here nor a model on the Hugging Face Hub. Correct the '
            'name; if the model is private, run `hf auth login`.'
        ) from None
    except Exception as error:  # errors of httpx, of Xet and of the disk have no common class
        raise UserError(
            f'{wanted} could not be downloaded ({_shorten(error)}). Run the command again, or '
            'name a folder that has its files.'
        ) from None
    return Path(folder)


def _describe_missing(wanted: str, error: Exception) -> str:
    """Returns what to do if an encoder is not in the cache, and the Hub cannot be reached."""
    from huggingface_hub import constants, errors

    state = 'is not there'
    incomplete = getattr(errors, 'IncompleteSnapshotError', ())  # earlier versions have none
    if isinstance(error, incomplete):
        state = 'is there in part only'
    reason = 'the Hugging Face Hub cannot be reached'
    advice = 'Connect this machine'
    if constants.HF_HUB_OFFLINE:
        reason = 'HF_HUB_OFFLINE is set'
        advice = 'Unset it'
    return (
        f'{wanted} is not a folder; in the cache {constants.HF_HUB_CACHE} it {state}, and '
        f'{reason}. {advice}; or download it elsewhere with `hf download {wanted.split("@")[0]} '
        '--local-dir FOLDER`, copy that folder here, and name it.'
    )


def _shorten(error: Exception) -> str:
    """Returns the first line of what an error says."""
    lines = str(error).strip().splitlines()
    return printable(lines[0][:200]) if lines else type(error).__name__
