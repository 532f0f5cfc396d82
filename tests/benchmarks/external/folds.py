"""What the external systems share: the folds of a split file, UAR, and the files of a submission.

Only numpy is needed. Nothing of jaxser is imported: the systems are those of another framework.
They predict classes, not ratings.
"""

import argparse
import csv
import datetime
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

DIGITS = '.6g'  # of posteriors in predictions.csv
AUTHORS = 'The authors of jaxser'
TASK_ONLY = 'only the training part of the task'


class Part(NamedTuple):
    """The utterances of a part of a fold."""

    utterance_N: list[str]
    path_N: list[str]  # of the audio
    class_N: np.ndarray  # indices of the classes


class Fold(NamedTuple):
    """A fold: settings are selected on `dev`, and `test` selects nothing."""

    number: int
    train: Part
    dev: Part
    test: Part


class Split(NamedTuple):
    """The content of a split file."""

    classes: list[str]
    folds: list[Fold]

    @property
    def paths(self) -> dict[str, str]:
        """The audio file of each utterance."""
        paths = {}
        for fold in self.folds:
            for part in (fold.train, fold.dev, fold.test):
                paths.update(zip(part.utterance_N, part.path_N))
        return paths


def make_parser(doc: str, needs_audio: bool = True) -> argparse.ArgumentParser:
    """Returns the parser of the flags that all systems have."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--split', type=Path, required=True, help='split.csv of the task')
    parser.add_argument('--out', type=Path, required=True, help='the folder of the submission')
    if needs_audio:
        help_text = 'the folder of the corpus; of several, CORPUS=PATH for each'
        parser.add_argument('--source', nargs='+', required=True, help=help_text)
    return parser


def read_split(file: Path, sources: list[str]) -> Split:
    """Returns the folds of a split file; `sources` are the values of --source."""
    folders = {}
    for source in sources:
        corpus, equals, folder = source.partition('=')
        folders[corpus if equals else ''] = folder if equals else source
    with open(file, newline='', encoding='utf-8') as stream:
        rows = list(csv.DictReader(stream))
    classes = sorted({row['emotion'] for row in rows})
    parts: dict[tuple[int, str], list[dict]] = {}
    for row in rows:
        if folders:
            folder = folders.get(row['corpus'], folders.get(''))
            if folder is None:
                raise SystemExit(
                    f'--source has no folder of the corpus {row["corpus"]}. Add '
                    f'{row["corpus"]}=PATH.'
                )
            row['path'] = str(Path(folder) / row['path'])
        parts.setdefault((int(row['fold']), row['part']), []).append(row)
    folds = []
    for number in sorted({number for number, _ in parts}):
        own = [
            make_part(parts.get((number, part), []), classes) for part in ('train', 'dev', 'test')
        ]
        folds.append(Fold(number, *own))
    return Split(classes, folds)


def make_part(rows: list[dict], classes: list[str]) -> Part:
    """Returns a part from its rows of a split file."""
    class_N = np.array([classes.index(row['emotion']) for row in rows], int)
    return Part([row['utterance'] for row in rows], [row['path'] for row in rows], class_N)


def uar(truth_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """Returns the unweighted average recall of the classes in the truth."""
    return float(np.mean([np.mean(predicted_N[truth_N == c] == c) for c in np.unique(truth_N)]))


class Submission:
    """Collects the predictions of the test parts, and writes them with the card."""

    def __init__(self, folder: Path, classes: list[str]):
        self.folder = folder
        self.classes = classes
        self.rows: list[list[str]] = []
        self.representations: dict[str, list] = {'utterance_N': [], 'z_NxD': [], 'fold_N': []}

    def add(self, fold: int, seed: int, part: Part, posterior_NxC: np.ndarray) -> None:
        """Adds the posteriors of the utterances of a part."""
        for utterance, posterior_C in zip(part.utterance_N, posterior_NxC.tolist()):
            cells = [f'{posterior:{DIGITS}}' for posterior in posterior_C]
            self.rows.append([utterance, str(fold), str(seed), *cells])

    def add_representations(self, fold: int, utterance_N: list[str], z_NxD: np.ndarray) -> None:
        """Adds the representations of utterances by the system of a fold.

        `utterance_N` are those of all parts of the fold.
        """
        self.representations['utterance_N'] += utterance_N
        self.representations['fold_N'] += [fold] * len(utterance_N)
        self.representations['z_NxD'].append(np.asarray(z_NxD, np.float32))

    def write(self, card: dict) -> None:
        """Writes predictions.csv, system.json, and representations.npz if there are any."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / 'predictions.csv', 'w', newline='', encoding='utf-8') as stream:
            writer = csv.writer(stream, lineterminator='\n')
            writer.writerow(['utterance', 'fold', 'seed', *self.classes])
            writer.writerows(self.rows)
        card = card | {'date': datetime.date.today().isoformat()}
        text = json.dumps(card, indent=1, ensure_ascii=False) + '\n'
        (self.folder / 'system.json').write_text(text, encoding='utf-8')
        if self.representations['fold_N']:
            arrays = {
                'utterance_N': np.array(self.representations['utterance_N']),
                'z_NxD': np.concatenate(self.representations['z_NxD']),
                'fold_N': np.array(self.representations['fold_N']),
            }
            np.savez_compressed(self.folder / 'representations.npz', **arrays)
        print(f'{self.folder}: {len(self.rows)} predictions of {card["name"]}')
