"""The card of a system (system.json): who made it, what it was trained on, and under what terms."""

import dataclasses
import datetime
import json
import unicodedata
from pathlib import Path

from data_pipelines.errors import UserError
from data_pipelines.wording import similar_name_hint
from jaxser.workdir_files import write_whole

MAX_LETTERS = 1000  # of a text
MAX_NAME_LETTERS = 60
MAX_PARAMETERS = 10**15
LINK_BEGINNINGS = ('https://', 'http://')
# They change the direction of the text around them.
DIRECTION_LETTERS = '\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'
GUIDE = 'docs/guide/leaderboard.md describes the card.'


@dataclasses.dataclass(frozen=True)
class SystemCard:
    """A checked card. All texts are plain text."""

    name: str  # on the leaderboard
    authors: str
    description: str
    training_data: str  # all speech that the system was trained on, with pretraining
    licence: str
    command: str  # that made the predictions
    date: str  # of the predictions: 2026-11-29
    parameters: int | None = None  # the number of parameters that prediction needs
    url: str | None = None

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == 'parameters':
                _check_parameters(value)
            elif not (value is None and field.name == 'url'):
                _check_text(field.name, value)
        if self.url is not None and not self.url.startswith(LINK_BEGINNINGS):
            raise UserError(f'url is {self.url[:80]!r}; expected https://..., or null.')
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError:
            raise UserError(
                f'date is {self.date[:80]!r}; expected a day such as 2026-11-29.'
            ) from None

    def to_json(self) -> str:
        """Returns the content of system.json."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + '\n'

    def write(self, file: Path) -> None:
        """Writes system.json."""
        write_whole(file, self.to_json())


def parse_card(content: dict, file: Path) -> SystemCard:
    """Returns the card in the content of system.json.

    Raises a UserError that names the file and the key if a key is missing, unknown or has a value
    of the wrong kind.
    """
    names = [field.name for field in dataclasses.fields(SystemCard)]
    required = [name for name in names if name not in ('parameters', 'url')]
    unknown = [name for name in content if name not in names]
    if unknown:
        hint = similar_name_hint(unknown[0], names)
        raise UserError(
            f'{file} has the key {unknown[0][:80]!r}, which a card does not have.{hint} Its keys '
            f'are {", ".join(names)}.'
        )
    missing = [name for name in required if name not in content]
    if missing:
        raise UserError(f'{file} lacks {", ".join(missing)}. {GUIDE}')
    try:
        return SystemCard(**content)
    except UserError as error:
        raise UserError(f'{file}: {error} {GUIDE}') from None


def _check_parameters(value: object) -> None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value <= MAX_PARAMETERS):
        raise UserError(
            f'parameters is {str(value)[:80]!r}; expected the number of parameters as a whole '
            'number, or null if it is not known.'
        )


def _check_text(name: str, value: object) -> None:
    longest = MAX_NAME_LETTERS if name == 'name' else MAX_LETTERS
    if not isinstance(value, str) or not value.strip():
        raise UserError(f'{name} is {str(value)[:80]!r}; expected a text that is not empty.')
    if len(value) > longest:
        raise UserError(
            f'{name} has {len(value)} letters; at most {longest} are allowed. Shorten it.'
        )
    hidden = []
    for letter in value:
        if letter in DIRECTION_LETTERS or unicodedata.category(letter) in ('Cc', 'Cs'):
            hidden.append(letter)
    if hidden:
        raise UserError(
            f'{name} has the hidden character U+{ord(hidden[0]):04X}. Write it in one line of '
            'plain text.'
        )
