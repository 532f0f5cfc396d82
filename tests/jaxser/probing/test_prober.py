"""Probing runs, and a whole sweep: the answers follow from what a representation contains."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import probing

from data_pipelines.errors import UserError
from jaxser import distributed
from jaxser.probing import attackers, prober, sampler
from jaxser.training import restore, tracking
from jaxser.workdir import Workdir


def noisy_one_hot(index_N: np.ndarray, random) -> np.ndarray:
    return np.eye(8)[index_N] + 0.05 * random.normal(size=(len(index_N), 8))


def make_runs(table) -> tuple[tracking.Collected, tracking.Collected]:
    """Returns representations and posteriors of the four runs of the test below."""
    rows = table.folds[0].used_rows
    random = np.random.default_rng(0)
    z_of_speaker = noisy_one_hot(table.domain_N['speaker'][rows], random)
    z_of_emotion = noisy_one_hot(table.emotion_N[rows], random)
    z_of_nothing = random.normal(size=(len(rows), 8))
    z_diverged = np.full((len(rows), 8), np.nan)
    representations = tracking.Collected(np.zeros(4, int))
    representations.add(
        rows[None], np.stack([z_of_speaker, z_of_emotion, z_of_nothing, z_diverged])
    )
    # The scores of the first run contain the emotion, and a little of the speaker.
    p_of_emotion = np.eye(3)[table.emotion_N[rows]] * 0.7 + 0.1
    p_of_speaker = p_of_emotion + 0.01 * (table.domain_N['speaker'][rows] % 4)[:, None] * [1, 0, -1]
    posteriors = tracking.Collected(np.zeros(4, int))
    posteriors.add(rows[None], np.stack([p_of_speaker, *[p_of_emotion] * 3]))
    return representations, posteriors


def make_task(table, classes: list[str]) -> SimpleNamespace:
    return SimpleNamespace(
        table=table, classes=classes, utterances=table.utterances, subset_folds=table.folds
    )


def test_the_answers_follow_from_the_content_of_the_representation():
    """Runs that contain the speaker, the emotion, nothing; a run that diverged has no answers."""
    table = probing.make_table()
    task = make_task(table, list(table.classes))
    representations, posteriors = make_runs(table)
    steps = []
    probing_runs = prober.Prober(task, 0)
    answers = probing_runs.probe_group(
        SimpleNamespace(subset_fold_N=np.zeros(4, int)), representations, posteriors, steps.append
    )
    speaker, emotion, nothing, diverged = answers
    assert diverged is None
    for attacker in attackers.ATTACKERS:
        assert speaker['speaker'][attacker] == 1
        assert speaker['emotion'][attacker] < 0.6
        assert emotion['emotion'][attacker] == 1
        assert emotion['speaker'][attacker] < 0.7
        assert nothing['sex'][attacker] < 0.7
    assert speaker['speaker']['strongest'] == 1
    assert speaker['speaker']['classes'] == 4
    assert speaker['speaker']['chance'] == 0.25
    assert speaker['speaker']['n'] == 20
    assert speaker['speaker']['withheld']
    assert not speaker['speaker']['strangers']
    assert speaker['unseen_speaker']['strangers']
    assert speaker['unseen_speaker']['strongest'] == 1
    assert speaker['speaker']['recall']['linear'] == dict.fromkeys(
        ('s00', 's01', 's02', 's03'), 1.0
    )
    assert speaker['verification']['eer'] < 0.05 < nothing['verification']['eer']
    assert speaker['speaker']['input'] == emotion['speaker']['input']
    assert set(speaker['verification']['input']) == {'eer', 'lda_eer'}
    for question in ('speaker', 'unseen_speaker'):
        assert speaker[question]['scores']['strongest'] > 0.8
        assert emotion[question]['scores']['strongest'] < 0.6
    assert 'scores' not in speaker['emotion']
    # The bar: each job of four runs and of the input of one fold.
    assert sum(steps) == 5 * probing_runs.count_jobs(0)
    questions = ['speaker', 'unseen_speaker', 'sex', 'language', 'emotion']
    assert list(speaker) == [*questions, 'verification']


def probe_outputs(output_NxO: np.ndarray, has_classes: bool) -> dict:
    """Returns the answers of a run of these outputs, whose representation contains nothing."""
    table = probing.make_table()
    task = make_task(table, list(table.classes) if has_classes else [])
    rows = table.folds[0].used_rows
    representations, outputs = (tracking.Collected(np.zeros(1, int)) for _ in range(2))
    representations.add(rows[None], np.random.default_rng(0).normal(size=(1, len(rows), 8)))
    outputs.add(rows[None], output_NxO[None])
    group = SimpleNamespace(subset_fold_N=np.zeros(1, int))
    (answers,) = prober.Prober(task, 0).probe_group(group, representations, outputs)
    return answers


@pytest.mark.parametrize('has_classes', [False, True])
def test_attackers_of_the_outputs_have_the_ratings(has_classes):
    """Alone, or after the posterior; without classes the emotion is not asked for."""
    table = probing.make_table()
    rows = table.folds[0].used_rows
    random = np.random.default_rng(1)
    speaker_N = table.domain_N['speaker'][rows]
    rating_NxA = np.stack([speaker_N // 2, speaker_N % 2], 1) - 0.5
    rating_NxA = 0.3 * rating_NxA + 0.01 * random.normal(size=rating_NxA.shape)
    posterior_NxC = np.full((len(rows), 3), 1 / 3) if has_classes else np.zeros((len(rows), 0))
    answers = probe_outputs(np.concatenate([posterior_NxC, rating_NxA], 1), has_classes)
    assert answers['speaker']['scores']['strongest'] > 0.95
    assert answers['speaker']['strongest'] < 0.7
    assert ('emotion' in answers) == has_classes
    assert {'speaker', 'unseen_speaker', 'sex', 'language', 'verification'} <= set(answers)


def test_a_finished_sweep_is_probed_once(swept, tmp_path, quick_attackers):
    """Every run gets its answers beside its other results; a second call computes nothing.

    The representation of each setting in the first fold is kept, for a map of it.
    """
    workdir = tmp_path / 'w'
    shutil.copytree(swept, workdir)
    before = json.loads((swept / 'results.json').read_text())
    prober.probe_sweep(workdir)
    results = json.loads((workdir / 'results.json').read_text())
    assert [r['hyper'] for r in results['runs']] == [r['hyper'] for r in before['runs']]
    for run in results['runs']:
        assert 0 <= run['probe']['speaker']['linear'] <= 1
        head = run['refit']['speaker']
        assert 0 <= head['after'] <= head['before']
    for row, row_before in zip(results['summary'], before['summary']):
        assert row | {'probe': None, 'adversary': None} == row_before
    assert results['summary'][1]['probe']['speaker']['chance'] == 0.5
    check_representations(workdir)
    stamp = (workdir / 'results.json').stat().st_mtime_ns
    assert prober.probe_sweep(workdir)['runs'] == results['runs']
    assert (workdir / 'results.json').stat().st_mtime_ns == stamp


def test_the_progress_bar_of_predicting_counts_all_utterances(swept, monkeypatch):
    """A large corpus is predicted for minutes before the first question is answered."""
    bars = []
    make_bar = distributed.progress_bar

    def keep_bar(total, unit, **options):
        bars.append(make_bar(total, unit, **options))
        return bars[-1]

    monkeypatch.setattr(distributed, 'progress_bar', keep_bar)
    trainer, group, variables = next(restore.restored_groups(Workdir.open(swept)))
    restore.predict_part(trainer, group, variables, 'used_rows')
    (bar,) = bars
    assert bar.n == bar.total > 0


def check_representations(workdir) -> None:
    """Asserts that representations.npz has both settings, and the test part of predictions.csv."""
    with open(workdir / 'predictions.csv', newline='') as file:
        lines = [line.split(',') for line in file.read().splitlines()]
    tested = {line[2] for line in lines if line[1] == '0'}
    with np.load(workdir / 'representations.npz', allow_pickle=False) as arrays:
        assert arrays['setting'].tolist() == ['lam=0', 'lam=0.5']
        for n in range(2):
            assert arrays[f'z_{n}'].dtype == np.float16
            assert arrays[f'z_{n}'].shape == (48, 8)
            part_N = arrays[f'part_{n}']
            assert sorted(np.unique(part_N)) == ['dev', 'test', 'train']
            test_rows = arrays[f'row_{n}'][part_N == 'test']
            assert set(arrays['utterance'][test_rows].tolist()) == tested
        assert not np.array_equal(arrays['z_0'], arrays['z_1'])


def test_withheld_utterances_are_not_stored_as_training_data():
    """In representations.npz, where a map of the training data would otherwise show them."""
    table = probing.make_table(withhold=True)
    fold = table.folds[0]
    rows = fold.used_rows
    representations = tracking.Collected(np.zeros(1, int))
    representations.add(rows[None], np.zeros((1, len(rows), 2)))
    samples = sampler.RepresentationSampler([{'seed': 0, 'fold': 0}])
    group = SimpleNamespace(runs=[{'seed': 0, 'fold': 0}], subset_fold_N=[0])
    samples.add(group, representations, [fold])
    part_N = samples.to_arrays(table.utterances.text)['part_0']
    assert set(rows[part_N == 'withheld']) == set(fold.attacker_test)
    assert set(rows[part_N == 'train']) == set(fold.train)


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(UserError, match='contains no sweep'):
        prober.probe_sweep(tmp_path)
