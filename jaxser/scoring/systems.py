"""The systems that are scored: their names, files and cards."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_pipelines.errors import UserError
from jaxser.workdir_files import damaged, read_regular

PREDICTIONS, CARD, REPRESENTATIONS = 'predictions.csv', 'system.json', 'representations.npz'
REPRESENTATION_TABLE = 'representations.npy'  # the same as one array with named fields
MAX_CARD_BYTES = 100_000
CORRECT_CARD = 'Correct it, or remove it: a card is optional for scoring.'


class SystemFiles(NamedTuple):
    """The files of a system."""

    name: str
    predictions: Path
    card: dict | None = None  # system.json
    representations: Path | None = None


def find_systems(arguments: Sequence[str]) -> list[SystemFiles]:
    """Returns the systems that the arguments of the command name.

    An argument is predictions.csv, or a folder with predictions.csv, perhaps with NAME= before it.
    The name of a folder's system is that in its system.json, or else that of the folder.

    Raises:
      UserError: A file is missing, or two systems have one name.
    """
    systems: dict[str, SystemFiles] = {}
    for argument in arguments:
        system = _find_system(argument)
        if system.name in systems:
            raise UserError(
                f'Two systems are called {system.name!r}: {systems[system.name].predictions} and '
                f'{system.predictions}. Name them: NAME={argument}'
            )
        systems[system.name] = system
    return list(systems.values())


def choose_reference(systems: Sequence[SystemFiles], name: str | None) -> str:
    """Returns the name of the system that the others are compared with, by default the first."""
    names = [system.name for system in systems]
    if name is None:
        return names[0]
    if name not in names:
        raise UserError(
            f'--reference is {name!r}; expected the name of a system: {", ".join(names)}.'
        )
    return name


def _find_system(argument: str) -> SystemFiles:
    path, name = Path(argument), ''
    if not path.exists() and '=' in argument:
        name, _, text = argument.partition('=')
        path = Path(text)
    if path.is_dir():
        return _read_folder(path, name.strip())
    if not path.exists():
        raise UserError(
            f'There is no file {path}. A system is predictions.csv, or a folder that has '
            f'{PREDICTIONS}, perhaps with NAME= before it.'
        )
    is_named_by_folder = path.name == PREDICTIONS and path.absolute().parent.name
    own_name = path.absolute().parent.name if is_named_by_folder else path.stem
    return SystemFiles(name.strip() or own_name, path)


def _read_folder(folder: Path, name: str) -> SystemFiles:
    """Returns the system in a folder."""
    predictions = folder / PREDICTIONS
    if not predictions.exists():
        raise UserError(
            f'The folder {folder} has no {PREDICTIONS}; expected the predictions of a system, and '
            f'if you like {CARD} and {REPRESENTATIONS}.'
        )
    card = None
    if (folder / CARD).exists():
        card = read_card(folder / CARD)
        name = name or str(card.get('name') or '').strip()
    return SystemFiles(
        name or folder.absolute().name, predictions, card, _find_representations(folder)
    )


def _find_representations(folder: Path) -> Path | None:
    """Returns the file of representations in a folder; UserError if there are two."""
    files = [folder / REPRESENTATIONS, folder / REPRESENTATION_TABLE]
    existing = [file for file in files if file.exists()]
    if len(existing) > 1:
        raise UserError(
            f'{folder} has {REPRESENTATIONS} and {REPRESENTATION_TABLE}. Remove one of them.'
        )
    return existing[0] if existing else None


def read_card(file: Path, remedy: str = CORRECT_CARD) -> dict:
    """Returns the content of system.json; UserError, with this remedy, if it is no dictionary."""
    content = read_regular(file, remedy, MAX_CARD_BYTES)
    try:
        card = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise damaged(file, f'it is no JSON ({error})', remedy) from None
    if not isinstance(card, dict):
        raise damaged(file, 'it is no dictionary', remedy)
    return card
