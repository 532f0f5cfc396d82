"""What is asked of a representation, of whom, and that the answers are those of its content."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import synthetic_utterances
from sklearn.metrics import roc_curve

from data_pipelines.batching.table import ExampleTable
from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import Fold
from jaxser.analysis import metrics, summary
from jaxser.probing import classifiers, prober, questions
from jaxser.training import tracking


@pytest.fixture(scope='module')
def table() -> ExampleTable:
    """Eight speakers, of two sexes and languages, twelve utterances each; 0 to 3 train, 4 and 5 are dev, 6 and 7 are tested."""
    u = synthetic_utterances.make_utterances(speakers=8, classes=('A', 'B', 'C'))
    speaker_N = np.repeat(np.arange(8), 12)
    u.text['language'] = np.where(speaker_N % 2, 'de', 'en')
    part = lambda *speakers: np.flatnonzero(np.isin(speaker_N, speakers))  # noqa: E731
    return ExampleTable(
        u, [Fold(0, 'one', part(0, 1, 2, 3), part(4, 5), part(6, 7))], 'global', True
    )


def test_of_every_speaker_a_fifth_is_held_out(table):
    """Nobody is in two parts, everybody in all three, and other speakers in none; the same for every run."""
    fold = table.folds[0]
    asked = {q.name: q for q in questions.make_questions(table, fold, 0)}
    q = asked['speaker']
    speaker_N = table.domain_N['speaker']
    assert [
        np.bincount(speaker_N[p]).tolist() for p in (q.fit_rows, q.validation_rows, q.test_rows)
    ] == [
        [8] * 4,
        [2] * 4,
        [2] * 4,
    ]
    assert len(np.unique(np.concatenate([q.fit_rows, q.validation_rows, q.test_rows]))) == 48
    assert set(np.concatenate([q.fit_rows, q.validation_rows, q.test_rows])) == set(fold.train)
    assert not q.unseen_speakers
    again = {q.name: q for q in questions.make_questions(table, fold, 0)}
    for name, one in asked.items():
        for p in ('fit_rows', 'validation_rows', 'test_rows'):
            np.testing.assert_array_equal(getattr(one, p), getattr(again[name], p))


def test_sex_and_language_are_asked_of_strangers(table):
    """Else a classifier that knows voices by heart would seem to know them; emotion is tested on the test part alone."""
    fold = table.folds[0]
    asked = {q.name: q for q in questions.make_questions(table, fold, 0)}
    assert list(asked) == ['speaker', 'sex', 'language', 'emotion']
    for name in ('sex', 'language'):
        assert asked[name].unseen_speakers
        assert set(asked[name].test_rows) == {*fold.dev, *fold.test}
        assert set(asked[name].fit_rows) | set(asked[name].validation_rows) == set(fold.train)
    assert set(asked['emotion'].test_rows) == set(fold.test)
    assert asked['emotion'].unseen_speakers


def test_where_the_test_part_was_heard_it_is_no_stranger(table):
    """Transductive: its utterances are the encoder's, so held-out ones are asked; of emotion it says that they were heard."""
    fold = table.folds[0]
    heard = Fold(0, 'one', fold.train, fold.dev[:12], fold.test, adapt=fold.test)
    asked = {q.name: q for q in questions.make_questions(table, heard, 0)}
    assert not asked['sex'].unseen_speakers
    assert not asked['emotion'].unseen_speakers
    assert set(asked['sex'].test_rows) <= {*fold.train, *fold.test}


def test_what_training_hears_of_one_kind_is_not_asked(table):
    """One corpus: there is nothing to tell apart; a class of two utterances has none to hold out."""
    fold = table.folds[0]
    alone = Fold(0, 'one', fold.train[:12], fold.dev, fold.test)
    assert [q.name for q in questions.make_questions(table, alone, 0)] == ['emotion']
    few = Fold(0, 'one', np.concatenate([fold.train[:24], fold.train[24:26]]), fold.dev, fold.test)
    (q,) = (q for q in questions.make_questions(table, few, 0) if q.name == 'speaker')
    assert 2 not in table.domain_N['speaker'][q.fit_rows]


@pytest.mark.parametrize('apart', [0.0, 0.5, 2.0])
def test_the_equal_error_rate_is_scikit_learns(apart):
    """Where the two rates of its curve cross; half where nothing tells speakers apart."""
    r = np.random.default_rng(0)
    speaker_N = np.repeat(np.arange(4), 20)
    z_NxD = r.normal(size=(80, 8)) + apart * np.eye(8)[speaker_N]
    unit_NxD = z_NxD / np.linalg.norm(z_NxD, axis=1, keepdims=True)
    first, second = np.triu_indices(80, 1)
    alarms, hits, _ = roc_curve(
        speaker_N[first] == speaker_N[second],
        (unit_NxD @ unit_NxD.T)[first, second],
        drop_intermediate=False,
    )
    at = np.argmin(np.abs(alarms - (1 - hits)))
    found = metrics.equal_error_rate(z_NxD, speaker_N)
    assert found == pytest.approx((alarms[at] + 1 - hits[at]) / 2, abs=5e-3)
    assert not apart or found < 0.5


def test_equal_scores_tell_nothing():
    """A representation that is one point: every second decision is wrong, whatever the order of the pairs."""
    assert metrics.equal_error_rate(np.ones((20, 3)), np.repeat([0, 1], 10)) == pytest.approx(0.5)


def test_what_all_share_is_no_voice(table):
    """Verification is by what differs from the mean of what training hears, not by where the representation lies."""
    fold, speaker_N = table.folds[0], table.domain_N['speaker']
    speaker_N = np.where(
        np.isin(np.arange(len(speaker_N)), fold.test), np.repeat(np.arange(8), 12), speaker_N
    )
    z_NxD = (
        np.random.default_rng(0).normal(size=(len(fold.used_rows), 8))
        + np.eye(8)[speaker_N[fold.used_rows]]
    )
    here, there = (
        prober.verification_error(z_NxD + shift, fold.used_rows, fold, speaker_N, 0)['eer']
        for shift in (0.0, 100.0)
    )
    assert here == pytest.approx(there, abs=1e-6)
    assert 0 < here < 0.5


def test_the_answers_are_those_of_the_content(table):
    """Speaker in one run, emotion in another, nothing in a third, and what is not finite has no answers."""
    task = SimpleNamespace(table=table, utterances=table.utterances, subset_folds=table.folds)
    rows = table.folds[0].used_rows
    r = np.random.default_rng(0)
    one_hot = lambda index_N: np.eye(8)[index_N[rows]] + 0.05 * r.normal(size=(len(rows), 8))  # noqa: E731
    z = [
        one_hot(table.domain_N['speaker']),
        one_hot(table.emotion_N),
        r.normal(size=(len(rows), 8)),
    ]
    z.append(np.full_like(z[0], np.nan))
    gathered = tracking.Collected(np.zeros(4, int))
    gathered.add(rows[None], np.stack(z))
    speaker, emotion, nothing, lost = prober.Prober(task, 0)(
        SimpleNamespace(fold_N=np.zeros(4, int)), gathered
    )
    assert lost is None
    for kind in ('linear', 'mlp'):
        assert speaker['speaker'][kind] == 1
        assert speaker['emotion'][kind] < 0.6
        assert emotion['emotion'][kind] == 1
        assert emotion['speaker'][kind] < 0.7
        assert nothing['sex'][kind] < 0.7
    assert (
        speaker['speaker']['classes'],
        speaker['speaker']['chance'],
        speaker['speaker']['n'],
    ) == (4, 0.25, 8)
    assert speaker['speaker']['recall']['linear'] == dict.fromkeys(
        ('s00', 's01', 's02', 's03'), 1.0
    )
    assert speaker['verification']['eer'] < 0.05 < nothing['verification']['eer']
    assert speaker['speaker']['input'] == emotion['speaker']['input']
    assert set(speaker['verification']['input']) == {'eer'}


def answer(**recall: float) -> dict:
    """Of a run's probe, by speaker."""
    mean = float(np.mean([*recall.values()]))
    said = {
        'linear': mean,
        'mlp': mean,
        'chance': 0.5,
        'classes': 2,
        'n': 9,
        'strangers': False,
        'input': {'linear': 1.0},
    }
    verification = {'eer': 0.5, 'input': {'eer': 0.4}}
    return {
        'speaker': said | {'recall': {'linear': recall, 'mlp': recall}},
        'verification': verification,
    }


def test_leakage_is_a_mean_over_speakers():
    """Each by the mean of the runs that heard them; the difference to plain training is of the same speakers."""
    said, recalls = summary._average_probe([answer(a=0.0, b=1.0), answer(b=0.5, c=0.5)])
    assert recalls == {'a': 0.0, 'b': 0.75, 'c': 0.5}
    assert said['speaker']['linear'] == pytest.approx(0.5)
    assert (
        said['speaker']['ci95'],
        said['speaker']['heard'],
        said['speaker']['input']['linear'],
    ) == (None, 3, 1.0)
    assert said['verification'] == {'eer': 0.5, 'input': {'eer': 0.4}}
    people = {s: n / 10 for n, s in enumerate('abcdefgh')}
    lower = {s: r - 0.1 for s, r in people.items()}
    found = summary._leakage_difference(lower, people)
    assert found['delta'] == pytest.approx(-0.1)
    assert found['p'] < 0.05


@pytest.fixture
def hasty(monkeypatch):
    """Classifiers that hardly learn: what they are asked is another matter than what they find."""
    classifiers._fit_both.cache_clear()
    for name, value in {'MAX_ITERATIONS': 2, 'ADAM_STEPS': 10}.items():
        monkeypatch.setattr(classifiers, name, value)
    yield
    classifiers._fit_both.cache_clear()


def test_a_finished_sweep_is_asked_once(swept, tmp_path, hasty):
    """Every run has its answers, beside the figures that were there; a second call computes nothing.

    Of every setting the representation of the first fold is kept, for a map of it.
    """
    shutil.copytree(swept, tmp_path / 'w')
    before = json.loads((swept / 'results.json').read_text())
    prober.probe_sweep(tmp_path / 'w')
    found = json.loads((tmp_path / 'w' / 'results.json').read_text())
    assert [r['hyper'] for r in found['runs']] == [r['hyper'] for r in before['runs']]
    assert all(0 <= r['probe']['speaker']['linear'] <= 1 for r in found['runs'])
    for head in (r['refit']['speaker'] for r in found['runs']):
        assert 0 <= head['after'] <= head['before']
    for row, was in zip(found['summary'], before['summary']):
        assert row | {'probe': None, 'adversary': None} == was
    assert found['summary'][1]['probe']['speaker']['chance'] == 0.5
    with np.load(tmp_path / 'w' / 'representations.npz', allow_pickle=False) as kept:
        assert kept['setting'].tolist() == ['lam=0', 'lam=0.5']
        for n in range(2):
            assert kept[f'z_{n}'].dtype == np.float16
            assert kept[f'z_{n}'].shape == (48, 8)
            assert sorted(np.unique(kept[f'part_{n}'])) == ['dev', 'test', 'train']
            tested = {
                kept['utterance'][r]
                for r, p in zip(kept[f'row_{n}'], kept[f'part_{n}'])
                if p == 'test'
            }
            lines = [
                line.split(',')
                for line in (tmp_path / 'w' / 'predictions.csv').read_text().splitlines()
            ]
            assert tested == {line[2] for line in lines if line[1] == '0'}
        assert not np.array_equal(kept['z_0'], kept['z_1'])
    stamp = (tmp_path / 'w' / 'results.json').stat().st_mtime_ns
    assert prober.probe_sweep(tmp_path / 'w')['runs'] == found['runs']
    assert (tmp_path / 'w' / 'results.json').stat().st_mtime_ns == stamp


def test_what_is_not_finished_is_refused(tmp_path):
    """A sentence each."""
    with pytest.raises(UserError, match='holds no sweep'):
        prober.probe_sweep(tmp_path)


def test_wide_inputs_are_asked_by_their_principal_components_alone():
    """Those of what training heard; distances within it stay where there are as many components as examples."""
    random = np.random.default_rng(0)
    x_NxM = (
        random.normal(size=(60, 4 * prober.MAX_INPUT_COMPONENTS))
        * np.geomspace(1, 0.01, 4 * prober.MAX_INPUT_COMPONENTS)
    ).astype(np.float32)
    heard_N = np.arange(60) < 40
    found_NxD = prober.principal_components(x_NxM, heard_N)
    assert found_NxD.shape == (60, 40)
    assert (
        np.ptp(np.log10(found_NxD[:40].std(0))) < 0.5
    )  # no column is small, which the classifiers would blow up
    distance = lambda x: np.linalg.norm(x[:40, None] - x[None, :40], axis=-1)  # noqa: E731
    np.testing.assert_allclose(distance(found_NxD), distance(x_NxM), rtol=1e-3)
    moved = x_NxM.copy()
    moved[40:] += 5  # who was not heard has no part in the choice
    np.testing.assert_allclose(
        prober.principal_components(moved, heard_N)[:40], found_NxD[:40], atol=1e-4
    )
    narrow = x_NxM[:, : prober.MAX_INPUT_COMPONENTS]
    assert prober.principal_components(narrow, heard_N) is narrow
