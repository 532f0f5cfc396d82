"""Tests of the enrolment curve of a finished sweep: what is enrolled, scored and attacked."""

import json
import shutil

import numpy as np
import pytest
from helpers import tiny_config

from data_pipelines.batching.table import ExampleTable
from data_pipelines.errors import UserError
from jaxser import distributed, stages
from jaxser import enrolment as command
from jaxser.analysis import bootstrap, enrolment
from jaxser.analysis.enrolment import ENROLLED
from jaxser.probing import enrolment_curve, prober
from jaxser.probing.enrolment_curve import choose_runs, run_curve
from jaxser.reporting import page, terminal
from jaxser.serving import bundling
from jaxser.training import experiment, restore
from jaxser.workdir import Workdir
from jaxser.workdir_files import WorkdirFiles

UNSEEN_SPEAKERS = 4  # two of dev and two of the test part, in each of the three folds


@pytest.fixture(scope='session')
def enrolled(data, once):
    """Returns the workdir of a finished sweep whose speakers are enrolled: lam is 0 or 0.5."""

    def make(path) -> None:
        config = tiny_config.get_config()
        settings = {'data.dir': str(data), 'data.normalise': 'speaker_enrolled'}
        config.update_from_flattened_dict(settings | {'train.epochs': 12})
        config.protocol.enrol = 'all'
        experiment.run_experiment(config, path)

    return once('enrolled', make)


@pytest.fixture
def workdir(enrolled, tmp_path):
    """Returns a copy of the sweep, which a test may change."""
    shutil.copytree(enrolled, tmp_path / 'w')
    return tmp_path / 'w'


def read_results(workdir) -> dict:
    return json.loads((workdir / 'results.json').read_text())


def find_rows(results: dict, **values) -> list[dict]:
    """Returns the rows of the curve that have these values."""
    found = []
    for row in results['enrolment']['rows']:
        if values.items() <= row.items():
            found.append(row)
    return found


def test_the_curve_is_added_to_the_results_once(workdir):
    """A second call computes nothing; one with more draws measures again."""
    before = read_results(workdir)
    results = run_curve(workdir, draws=2)
    written = read_results(workdir)
    assert json.loads(json.dumps(results)) == written
    assert {key: written[key] for key in before} == before
    assert written['enrolment']['draws'] == 2
    sources = ('any', 'one')  # no utterance of the corpus is neutral
    assert len(written['enrolment']['rows']) == 2 * len(sources) * len(ENROLLED)
    for lam in (0.0, 0.5):
        for source in sources:
            curve = find_rows(written, lam=lam, enrol_from=source)
            assert [row['enrol'] for row in curve] == list(ENROLLED)
    stamp = (workdir / 'results.json').stat().st_mtime_ns
    assert run_curve(workdir, draws=2) == written
    assert (workdir / 'results.json').stat().st_mtime_ns == stamp
    assert run_curve(workdir, draws=3)['enrolment']['draws'] == 3


def mark_as_probed(workdir) -> None:
    """Gives every run an answer, as the probe does."""
    results = read_results(workdir)
    for run in results['runs']:
        run['probe'] = {'emotion': {}}
    WorkdirFiles(workdir).write('results.json', json.dumps(results))


def test_leakage_is_that_of_unseen_speakers_with_any_emotion_enrolled(workdir, quick_attackers):
    mark_as_probed(workdir)
    results = run_curve(workdir, draws=1)
    for row in find_rows(results, enrol_from='any'):
        answer = row['unseen_speaker']
        assert answer['chance'] == 1 / UNSEEN_SPEAKERS
        assert answer['strangers']
        assert 0 <= answer['strongest'] <= 1
    assert find_rows(results, enrol_from='one', unseen_speaker=None)
    assert len(find_rows(results, unseen_speaker=None)) == 2 * len(ENROLLED)


def test_leakage_is_measured_once_the_sweep_is_probed(workdir, quick_attackers):
    """Before, the curve has none; afterwards it is measured again, once."""
    results = run_curve(workdir, draws=1)
    assert len(find_rows(results, unseen_speaker=None)) == len(results['enrolment']['rows'])
    mark_as_probed(workdir)
    results = run_curve(workdir, draws=1)
    assert len(find_rows(results, unseen_speaker=None)) == len(results['enrolment']['rows']) / 2
    stamp = (workdir / 'results.json').stat().st_mtime_ns
    run_curve(workdir, draws=1)
    assert (workdir / 'results.json').stat().st_mtime_ns == stamp


def test_utterances_are_those_that_speakers_have(workdir):
    """Half of eight utterances may be enrolled; of one emotion there are fewer."""
    results = run_curve(workdir, draws=3)
    enrolled = [row['utterances'] for row in find_rows(results, lam=0.0, enrol_from='any')]
    assert enrolled == [0, 1, 2, 4, 4, 4, 4]
    of_one = [row['utterances'] for row in find_rows(results, lam=0.0, enrol_from='one')]
    assert of_one[:2] == [0, 1]
    assert 2 < of_one[-1] < 4


def test_with_the_utterances_of_the_training_the_curve_has_the_uar_of_the_summary(
    workdir, monkeypatch
):
    """With all enrolled. With none, it is that of the normalisation `global`."""
    monkeypatch.setattr(enrolment_curve, 'redraw_enrolment', keep_enrolment)
    results = run_curve(workdir, draws=2)
    uar_of_lam = global_uar(workdir)
    for row in results['summary']:
        (with_all,) = find_rows(results, lam=row['lam'], enrol_from='any', enrol='all')
        assert with_all['uar'] == pytest.approx(row['uar'])
        assert with_all['uar_ci95'] == pytest.approx(row['uar_ci95'])
        (with_none,) = find_rows(results, lam=row['lam'], enrol_from='any', enrol=0)
        assert with_none['uar'] == pytest.approx(uar_of_lam[row['lam']])
        assert with_all['delta_uar'] == pytest.approx(with_all['uar'] - with_none['uar'])


def keep_enrolment(utterances, fold, enrol_from, enrol, seed):
    """Returns the fold as it was in training, instead of another draw."""
    return fold


def global_uar(workdir) -> dict[float, float]:
    """Returns the pooled UAR of the trained runs under the normalisation `global`, by lam."""
    counts: dict[float, np.ndarray] = {}
    for trainer, group, variables in restore.restored_groups(Workdir.open(workdir)):
        task = trainer.task
        task.table = ExampleTable(task.utterances, task.subset_folds, 'global', True)
        _, outputs = restore.predict_part(trainer, group, variables, 'test')
        for n, hyper in enumerate(group.runs):
            count_CxC = outputs.confusion_matrix(n, task.table.emotion_N)
            counts[hyper['lam']] = counts.get(hyper['lam'], 0) + count_CxC
    uar = {}
    for lam, count_CxC in counts.items():
        uar[lam] = float(bootstrap.uar_from_counts(count_CxC))
    return uar


def test_all_numbers_of_enrolled_utterances_are_tested_on_the_same_others(workdir):
    """In each draw; the draws differ, and none changes what was trained on."""
    curve = make_curve(workdir, draws=2)
    tested: dict[int, set] = {}
    for condition in curve.conditions():
        for fold, trained in zip(condition.folds, curve.task.subset_folds):
            assert not np.isin(fold.enrolled, np.concatenate([fold.dev, fold.test])).any()
            np.testing.assert_array_equal(fold.train, trained.train)
        rows = tuple(fold.test.tobytes() for fold in condition.folds)
        tested.setdefault(condition.draw, set()).add(rows)
    assert [len(rows) for rows in tested.values()] == [1, 1]
    assert tested[0] != tested[1]


def test_what_is_counted_is_paired(workdir, monkeypatch):
    """In each draw, the counts of all numbers and sources are of the same utterances."""
    measured = {}

    def record_points(setting: dict, points: dict) -> list[dict]:
        measured.update(points)
        return []

    monkeypatch.setattr(enrolment, 'curve_rows', record_points)
    run_curve(workdir, draws=2)
    totals = []
    for point in measured.values():
        totals.append([counts.total_SxC for counts in point.statistics.by_draw])
    for total_ExSxC in totals:
        np.testing.assert_array_equal(total_ExSxC, totals[0])
    assert not np.array_equal(totals[0][0], totals[0][1]), 'draws differ'


def make_curve(workdir, draws: int) -> enrolment_curve.Curve:
    """Returns the curve of a sweep, not yet measured."""
    opened = Workdir.open(workdir)
    trainer, _, _ = next(restore.restored_groups(opened))
    return enrolment_curve.Curve(trainer.task, opened.config, draws, with_leakage=False)


def test_equal_enrolments_are_predicted_once(workdir, monkeypatch):
    """Speakers have four utterances to enrol: 4, 8, 16 and all are the same."""
    folds = []
    with_folds = enrolment_curve._with_folds

    def count_predictions(trainer, group, own_folds):
        folds.append(own_folds)
        return with_folds(trainer, group, own_folds)

    monkeypatch.setattr(enrolment_curve, '_with_folds', count_predictions)
    run_curve(workdir, draws=1)
    assert 4 <= len(folds) <= 8


def test_a_diverged_seed_has_no_part_in_the_curve(workdir):
    """A setting of which every seed has diverged has no rows."""
    results = read_results(workdir)
    for run in results['runs']:
        if run['hyper'] == {**run['hyper'], 'lam': 0.5, 'fold': 1}:
            run['status'] = 'nonfinite'
    WorkdirFiles(workdir).write('results.json', json.dumps(results))
    results = run_curve(workdir, draws=1)
    assert {row['lam'] for row in results['enrolment']['rows']} == {0.0}


def test_of_runs_that_differ_in_enrolled_utterances_one_is_measured():
    """That with the most, whatever the order: training is the same."""
    runs = []
    for fold in (0, 1):
        for enrol in (0, 'all', 8):
            runs.append({'hyper': {'lam': 0.3, 'seed': 0, 'enrol': enrol, 'fold': fold}})
    assert choose_runs(runs) == [runs[1], runs[4]]
    assert choose_runs([runs[2], runs[0]]) == [runs[2]]
    unswept = [{'hyper': {'lam': 0.3, 'seed': seed, 'fold': 0}} for seed in (0, 1)]
    assert choose_runs(unswept) == unswept


def test_a_sweep_that_enrols_no_speakers_is_refused(swept, tmp_path):
    shutil.copytree(swept, tmp_path / 'w')
    with pytest.raises(UserError, match='normalise=global'):
        run_curve(tmp_path / 'w')


def test_an_unfinished_sweep_is_refused(workdir):
    (workdir / 'results.json').unlink()
    with pytest.raises(UserError, match='contains no finished sweep'):
        run_curve(workdir)


def test_the_command_measures_and_writes_the_report(workdir, monkeypatch):
    arguments = ['enrolment', '--workdir', str(workdir), '--draws', '1']
    monkeypatch.setattr('sys.argv', arguments)
    monkeypatch.setattr(distributed, 'configure_jax', lambda: None)  # JAX has started already
    command.main()
    assert read_results(workdir)['enrolment']['draws'] == 1
    assert 'id="enrolment"' in (workdir / 'report.html').read_text()
    assert (workdir / 'enrolment.png').exists()


@pytest.mark.parametrize(
    ('draws', 'printed'),
    [
        (2, 'Already measured with 10 draws: --draws 2 is not used.\n'),
        (10, ''),
        (None, ''),
    ],
)
def test_the_command_says_where_draws_are_not_used(draws, printed, capsys):
    command.print_reused({'enrolment': {'draws': 10}}, draws)
    assert capsys.readouterr().out == printed


def test_the_command_refuses_no_draws(monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['enrolment', '--workdir', 'x', '--draws', '0'])
    with pytest.raises(SystemExit):
        command.main()
    assert '--draws is 0; expected a number from 1 to' in capsys.readouterr().err


def test_a_sweep_without_its_curve_says_what_is_to_do(workdir):
    assert 'measuring enrolment' in Workdir.open(workdir).list_missing_steps()
    run_curve(workdir, draws=1)
    assert 'measuring enrolment' not in Workdir.open(workdir).list_missing_steps()


@pytest.mark.parametrize(
    ('normalisation', 'is_measured'), [('speaker_enrolled', True), ('global', False)]
)
def test_training_measures_the_curve_after_the_leakage(
    monkeypatch, tmp_path, normalisation, is_measured
):
    """And before the model is saved, whose facts contain the curve."""
    steps = []

    def recorder(name: str):
        return lambda *arguments, **keywords: steps.append(name) or {}

    for module, name in (
        (experiment, 'run_experiment'),
        (prober, 'probe_sweep'),
        (enrolment_curve, 'run_curve'),
        (bundling, 'bundle_model'),
        (terminal, 'print_results'),
        (page, 'write_report'),
    ):
        monkeypatch.setattr(module, name, recorder(name))
    config = tiny_config.get_config()
    config.probe = True
    config.data.normalise = normalisation
    stages.run_stages(config, tmp_path)
    expected = ['run_experiment', 'probe_sweep', 'run_curve', 'bundle_model']
    if not is_measured:
        expected.remove('run_curve')
    assert steps[: len(expected)] == expected
