"""Finds the columns of a list of the user's own, which may have other names than ours."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text
from data_pipelines.wording import similar_name_hint

BLANKS = ('_', ' ', '-')  # between the words of a name

# Other names of our columns, in lower case, with _ for blanks and hyphens.
OTHER_NAMES = {
    'path': """
        file filename file_name filepath file_path filenames files wav wav_path wav_file wave audio
        audio_path audio_file audiofile datei dateiname pfad fichier archivo dosya
    """,
    'speaker': """
        spk spk_id speaker_id speakerid speaker_name speakers actor actor_id subject subject_id
        talker participant client_id sprecher sprecherin locuteur hablante konusmaci
    """,
    'emotion': """
        label labels emo emotion_label emotion_name emotions class category emotionclass emoclass
        emotion_class target duygu gefuehl gefühl émotion emoción emocion
    """,
    'sex': 'gender speaker_sex speaker_gender geschlecht sexe sexo cinsiyet',
    'start': 'begin onset start_time starttime start_s beginning',
    'end': 'stop end_time endtime end_s',
    'language': 'lang locale sprache langue idioma dil',
    'corpus': 'dataset data_set database db',
    'session': 'session_id sitzung dialogue dialog dialogue_id',
    'sentence': 'sentence_id text transcript transcription utterance_text satz phrase',
    'split': 'partition subset split_set',
    'arousal': 'activation act aro emoact',
    'valence': 'val pleasure emoval',
    'dominance': 'dom power emodom',
}


def _index_names() -> dict[str, str]:
    """Returns our column for each other name."""
    column_by_name = {}
    for column, names in OTHER_NAMES.items():
        column_by_name.update(dict.fromkeys(names.split(), column))
    return column_by_name


COLUMN_BY_NAME = _index_names()


def possible_names(columns: Iterable[str], chosen: Mapping[str, str]) -> set[str]:
    """Returns all names that a list may have for these columns of ours."""
    columns = set(columns)
    names = columns | {name for column, name in chosen.items() if column in columns}
    for name, column in COLUMN_BY_NAME.items():
        if column in columns:
            names |= {name.replace('_', mark) for mark in BLANKS}
    return names


def find_columns(source: Path, columns: list[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Returns our name of each column that has another one, and prints them.

    A column with our own name is taken first. UserError if several others fit, or a chosen one is
    missing.

    Args:
      source: The list, for messages.
      columns: Its columns, in lower case.
      chosen: The list's names of our columns, by our name (--columns).
    """
    renamed = {}
    for column, name in chosen.items():
        if name not in columns:
            raise UserError(
                f'--columns {column}={name}: {source} has no column {name!r}; it has '
                f'{", ".join(columns)}.{similar_name_hint(name, columns)}'
            )
        renamed[name] = column
    candidates: dict[str, list[str]] = {}
    for name in columns:
        column = COLUMN_BY_NAME.get(name.replace(' ', '_').replace('-', '_'))
        if column and column not in columns and column not in chosen and name not in renamed:
            candidates.setdefault(column, []).append(name)
    for column, names in candidates.items():
        if len(names) > 1:
            raise UserError(
                f'{source} has no column {column}, and several that may be it: '
                f'{", ".join(names)}. Say which: --columns {column}={names[0]}'
            )
        renamed[names[0]] = column
    if renamed:
        listed = [f'{name} -> {column}' for name, column in renamed.items() if name != column]
        if listed:
            print_text(f'Columns of {source} read as ours: {", ".join(listed)}.')
    return renamed


def rename_columns(
    columns: list[str], numbered_rows: list[tuple[int, dict]], renamed: dict[str, str]
) -> list[str]:
    """Returns the columns under their new names, and renames them in the rows.

    A column that loses its name to another, as `label` says more than `emotion`, is dropped.
    """
    if not renamed:
        return columns
    targets = set(renamed.values())
    kept = [column for column in columns if column in renamed or column not in targets]
    dropped = set(columns) - set(kept)
    for _, row in numbered_rows:
        for column in dropped:
            row.pop(column, None)
        values = {name: row.pop(name) for name in renamed if name in row}
        for name, value in values.items():
            row[renamed[name]] = value
    return [renamed.get(column, column) for column in kept]
