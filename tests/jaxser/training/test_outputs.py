"""Tests of what results.json contains in addition to the figures."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import tiny_config

from data_pipelines import csv_files
from data_pipelines.protocols.protocol import Protocol
from jaxser.training import outputs


def make_results(normalise: str = 'global', leaks: tuple[str, ...] = ()) -> dict:
    """Returns results.json of a sweep without runs."""
    config = tiny_config.get_config()
    config.data.normalise = normalise
    no_text = dict.fromkeys(('speaker', 'sex', 'language', 'corpus'), np.zeros(0, str))
    task = SimpleNamespace(
        utterances=SimpleNamespace(text=no_text),
        protocol=Protocol('speaker_dependent'),
        folds=[],
        steps_per_epoch=4,
        classes=['sad'],
        ratings=(),
        split_sha256='0' * 64,
        audit={'leaks': list(leaks)},
        split=SimpleNamespace(left_out={'fear': 3}, unused=2),
    )
    return outputs.make_results(config, task, [], {}, 0.0)


def test_the_protocol_says_what_makes_results_look_better():
    """Shared speakers, statistics of tested audio, and allowed leaks."""
    plain = make_results()['protocol']
    assert 'speakers are shared' in plain
    assert 'transductive' not in plain
    assert 'LEAK' not in plain
    transductive = make_results('speaker_transductive')['protocol']
    assert 'tested audio too (transductive)' in transductive
    assert 'LEAK OF AUDIO ALLOWED' in make_results(leaks=('audio',))['protocol']


@pytest.mark.parametrize(
    ('values', 'name'),
    [
        ({'method': 'similarity'}, 'similarity'),
        ({'method': 'similarity', 'similarity': 'unconditional'}, 'similarity unconditional'),
        ({'method': 'speaker_norm', 'speaker_norm': 'snp'}, 'speaker_norm snp'),
        ({'method': 'dann', 'similarity': 'unconditional'}, 'dann'),
    ],
)
def test_the_method_is_named_with_its_variant(values, name):
    """As the configuration sets it, and as a sweep with one value sets it."""
    config = tiny_config.get_config()
    run = {'hyper': values, 'status': 'ok'}
    assert outputs._method_of_sweep(config, [run, run]) == name
    config.update(values)
    assert outputs._method_of_sweep(config, [{'hyper': {'lam': 0.0}, 'status': 'ok'}]) == name


@pytest.mark.parametrize(
    ('enrol', 'swept', 'text'),
    [
        (8, [], '8 of them enrolled for each speaker (transductive, not inductive)'),
        (
            'all',
            [0, 4, 'all'],
            '0, 4 or all of them enrolled for each speaker (transductive, except 0)',
        ),
        (0, [], 'none of them enrolled'),
        ('all', [0], 'none of them enrolled'),
    ],
)
def test_the_protocol_says_how_many_utterances_are_enrolled(enrol, swept, text):
    """Only a result with enrolled utterances is transductive."""
    config = tiny_config.get_config()
    config.protocol.enrol = enrol
    runs = [{'hyper': {'enrol': value}} for value in swept]
    (note,) = outputs._enrolment_notes(config, runs)
    assert note.startswith(text)
    config.protocol.enrol = 'none'
    assert outputs._enrolment_notes(config, runs) == []


def test_utterances_that_are_not_used_are_counted():
    """Beside the label space and the corpora that they were left out of."""
    results = make_results()
    assert results['steps'] == 4 * tiny_config.get_config().train.epochs
    assert results['left_out'] == {'fear': 3}
    assert results['unused'] == 2
    assert results['labels'] == 'native'
    assert results['corpora'] == ['folder']


def test_known_attributes_of_speakers_are_listed():
    """The report groups by them. Several values are joined, and unknown ones are left out."""
    text = {
        'speaker': ['a', 'a', 'b', 'c', ''],
        'sex': ['f', 'f', 'm', '', 'm'],
        'language': ['de', 'en', 'de', '', 'de'],
        'corpus': ['one', 'one', 'one', 'one', 'one'],
    }
    arrays = {name: np.array(values) for name, values in text.items()}
    assert outputs.speaker_attributes(arrays) == {
        'a': {'sex': 'f', 'language': 'de+en', 'corpus': 'one'},
        'b': {'sex': 'm', 'language': 'de', 'corpus': 'one'},
        'c': {'corpus': 'one'},
    }


UTTERANCES = 50
CLASSES = ['angry', 'happy, or so', 'sad']


class Outputs:
    """Outputs of the test part: those of two runs, for the rows 10 to 49."""

    def __init__(self):
        random = np.random.default_rng(0)
        p_NxUxC = random.dirichlet(np.full(len(CLASSES), 0.1), (2, UTTERANCES))
        p_NxUxC[0, :20] = np.eye(3)[0]  # posteriors of 0
        rating_NxUxA = np.float32(random.uniform(-1, 1, (2, UTTERANCES, 1)))
        self.x_NxUxO = np.concatenate([p_NxUxC, rating_NxUxA], axis=2)

    def get_run(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(10, UTTERANCES), self.x_NxUxO[n, 10:]


def make_task() -> SimpleNamespace:
    """Returns a task with classes, a rating, and votes that some utterances lack."""
    random = np.random.default_rng(1)
    votes_NxC = np.float32(random.integers(0, 3, (UTTERANCES, len(CLASSES))))
    votes_NxC[::7] = 0
    text = {
        'utterance': np.array([f'u"{n}' for n in range(UTTERANCES)]),
        'speaker': np.array([f's\r{n % 3}' for n in range(UTTERANCES)]),
        'emotion': np.resize(CLASSES, UTTERANCES),
    }
    return SimpleNamespace(
        utterances=SimpleNamespace(text=text),
        table=SimpleNamespace(rating_NxA=np.float32(random.uniform(-1, 1, (UTTERANCES, 1)))),
        classes=CLASSES,
        ratings=('valence',),
        label_keys=['lam'],
        votes_NxC=votes_NxC,
    )


def expected_row(task: SimpleNamespace, label: str, i: int, x_O: np.ndarray) -> dict:
    """Returns a row of predictions.csv, value by value."""
    text = task.utterances.text
    row = {'run': label, 'fold': 0, 'utterance': text['utterance'][i]}
    row |= {'speaker': text['speaker'][i], 'truth': text['emotion'][i]}
    row |= {name: f'{p:.9g}' for name, p in zip(CLASSES, x_O)}
    row['truth_valence'] = f'{task.table.rating_NxA[i, 0]:.9g}'
    row['valence'] = f'{x_O[-1]:.9g}'
    votes_C = task.votes_NxC[i]
    chosen_C = votes_C > 0
    q = votes_C[chosen_C].astype(float) / votes_C.sum() if chosen_C.any() else np.zeros(0)
    p = np.maximum(x_O[:-1][chosen_C], np.finfo(np.float32).tiny)
    row['vote_kl'] = f'{np.sum(q * np.log(q / p)):.9g}' if chosen_C.any() else ''
    return row


@pytest.mark.parametrize('block_rows', [7, 1_000])
def test_predictions_are_written_in_blocks(monkeypatch, block_rows):
    """The same text as row by row; a run that has diverged has no rows."""
    monkeypatch.setattr(csv_files, 'BLOCK_ROWS', block_rows)
    task, collected = make_task(), Outputs()
    runs = [{'lam': lam, 'fold': 0} for lam in (0.0, 0.3)]
    record = SimpleNamespace(nonfinite=np.array([-1, -1]))
    rows = []
    for n, label in enumerate(('lam=0', 'lam=0.3')):
        for i, x_O in zip(*collected.get_run(n)):
            rows.append(expected_row(task, label, i, x_O))
    parts = list(outputs.format_predictions(task, runs, collected, record))
    assert ''.join(parts) == csv_files.format_rows(rows)
    record.nonfinite[0] = 3
    parts = outputs.format_predictions(task, runs, collected, record)
    assert ''.join(parts) == csv_files.format_rows(rows[len(rows) // 2 :])
    record.nonfinite[1] = 3
    assert list(outputs.format_predictions(task, runs, collected, record)) == []
