"""Tests of a whole sweep in one process, over the tiny corpus and eight fake devices."""

import contextlib
import csv
import io
import json
import shutil
import signal
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from helpers import tiny_config

from data_pipelines.batching import plan
from data_pipelines.errors import UserError
from data_pipelines.protocols import audit
from jaxser import distributed
from jaxser.configuration import resolve
from jaxser.methods import leace
from jaxser.reporting import terminal
from jaxser.serving import bundling, model
from jaxser.training import experiment, loop, memory, parallel, task, tracking, validate
from jaxser.training.checkpoints import Checkpoints
from jaxser.training.trainer import Trainer
from jaxser.workdir import describe_saved


def sweep(data: Path, path: Path, **changes) -> dict:
    """Runs two epochs of the tiny sweep with some keys changed; returns results.json."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(data), 'train.epochs': 2, **changes})
    return experiment.run_experiment(config, path)


def interrupt_sweep(monkeypatch, data: Path, path: Path, epoch: int, **changes) -> None:
    """Runs the sweep up to the end of an epoch, as if SIGTERM arrived in it."""

    def is_requested(self, reached_epoch):
        return reached_epoch == epoch

    with monkeypatch.context() as patch:
        patch.setattr(distributed.Termination, 'is_requested', is_requested)
        with pytest.raises(distributed.Preempted, match=f'after epoch {epoch} of 2'):
            sweep(data, path, **changes)


@pytest.fixture(scope='module')
def plain(swept):
    """results.json and workdir of the sweep as configured: resident, jit, a device for each run."""
    return json.loads((swept / 'results.json').read_text()), swept


def read_predictions(path: Path) -> tuple[list[str], np.ndarray]:
    """Returns names (run, fold, utterance, speaker, truth) and posteriors of predictions.csv."""
    names = []
    posteriors = []
    for line in (path / 'predictions.csv').read_text().splitlines()[1:]:
        row = line.split(',')
        names.append(','.join(row[:5]))
        posteriors.append([float(p) for p in row[5:]])
    return names, np.array(posteriors)


def assert_same_predictions(path: Path, other: Path, tolerance: float) -> None:
    """Asserts that two sweeps predict the same, with an absolute tolerance on posteriors."""
    names, p_NxC = read_predictions(path)
    other_names, other_p_NxC = read_predictions(other)
    assert names == other_names
    np.testing.assert_allclose(p_NxC, other_p_NxC, atol=tolerance, rtol=0)


def use_one_device(monkeypatch) -> None:
    """Makes sweeps use the first device only."""
    layout = parallel.Layout

    def one_device_layout(*arguments, **options):
        return layout(*arguments, **{'devices': jax.devices()[:1], **options})

    monkeypatch.setattr(parallel, 'Layout', one_device_layout)


def test_streamed_features_give_the_same_predictions(data, plain, tmp_path, capsys):
    """To 1e-6 on posteriors after two epochs.

    The features and their order are the same; the scored batches, and so the padding, are others.
    """
    sweep(data, tmp_path, **{'data.resident': 'off', 'data.eval_batch': 3})
    assert 'are read again from the shards' in capsys.readouterr().out
    assert_same_predictions(tmp_path, plain[1], 1e-6)


def test_one_step_for_each_dispatch_changes_no_bit(data, plain, tmp_path, monkeypatch):
    """Slow steps are dispatched one by one, for the progress bar, by the same program."""
    dispatched = []
    add = tracking.EpochMetrics.add

    def record_and_add(self, metrics, steps):
        dispatched.append(steps)
        add(self, metrics, steps)

    monkeypatch.setattr(loop, 'TARGET_DISPATCH_SECONDS', 0.0)
    monkeypatch.setattr(tracking.EpochMetrics, 'add', record_and_add)
    sweep(data, tmp_path)
    epoch = [slice(n, n + 1) for n in range(len(dispatched) // 2)]
    assert len(epoch) > 1
    assert dispatched == 2 * epoch
    for name in ('predictions.csv', 'metrics.jsonl'):
        assert (tmp_path / name).read_bytes() == (plain[1] / name).read_bytes()


@pytest.fixture
def default_sigint():
    """Ctrl-C raises KeyboardInterrupt; in the workers of pytest-xdist it may be ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures('default_sigint')
@pytest.mark.parametrize('checkpoint_seconds', [0, 1000])
def test_an_interrupt_that_python_ignored_ends_training(
    data, tmp_path, monkeypatch, checkpoint_seconds
):
    """At the next item of work, as when it was raised in a callback of the garbage collector."""
    end_epoch = loop.GroupLoop._end_epoch

    def press_ctrl_c(self):
        end_epoch(self)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop.GroupLoop, '_end_epoch', press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        sweep(data, tmp_path, **{'train.checkpoint_seconds': checkpoint_seconds})
    saved = describe_saved(tmp_path, 2)
    expected = 'No checkpoint' if checkpoint_seconds else 'Saved: a checkpoint after epoch 1 of 2.'
    assert saved.startswith(expected)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_pmap_gives_the_predictions_of_jit(data, plain, tmp_path):
    """config.parallel=pmap: to 1e-5 on posteriors after two epochs."""
    sweep(data, tmp_path, parallel='pmap')
    assert_same_predictions(tmp_path, plain[1], 1e-5)


def test_a_batch_divided_over_two_devices_gives_the_same_predictions(data, plain, tmp_path):
    """config.data_devices=2, with BatchNorm over both: to 1e-5 on posteriors after two epochs."""
    sweep(data, tmp_path, data_devices=2)
    assert_same_predictions(tmp_path, plain[1], 1e-5)


@pytest.fixture(scope='module')
def diverging(data, tmp_path_factory):
    """results.json, workdir and output of a sweep with a profile, half of whose runs diverge."""
    path = tmp_path_factory.mktemp('diverging')
    output = io.StringIO()
    config = tiny_config.get_config()
    config.update_from_flattened_dict(
        {'data.dir': str(data), 'train.epochs': 2, 'sweep.lam': (0.0, 1e38)}
    )
    with contextlib.redirect_stdout(output):
        results = experiment.run_experiment(config, path, profile=True)
        bundling.bundle_model(path)
        terminal.print_results(results, path)
    return results, path, output.getvalue()


def test_a_run_that_diverges_is_reported_and_does_not_change_the_others(plain, diverging):
    """lam = 1e38 ends its runs at that step; lam = 0 gives the same results as without it."""
    results, path, output = diverging
    assert 'nonfinite from step' in output
    finite = []
    for run in results['runs']:
        if run['hyper']['lam'] > 0:
            assert run['status'] == 'nonfinite'
            assert run['test'] is None
            assert run['step'] >= 0
        else:
            finite.append(run)
    assert finite == [run for run in plain[0]['runs'] if run['hyper']['lam'] == 0]
    assert model.read_model(path).metadata['runs'] == [run['hyper'] for run in finite]


def test_a_profile_is_written_on_request(diverging):
    """For TensorBoard and Perfetto. The test above shows that it changes no result."""
    _, path, output = diverging
    assert 'ui.perfetto.dev' in output
    assert list((path / 'profile').rglob('*.xplane.pb'))
    assert list((path / 'profile').rglob('perfetto_trace.json.gz'))


def test_runs_that_do_not_fit_train_in_groups_of_one_program(
    data, plain, tmp_path, monkeypatch, capsys
):
    """One device that fits four runs of six: the same predictions to 1e-5, and two compilations."""
    compile_for = Trainer._compile
    compiled = []

    def record_and_compile(self, group, built):
        R = group.layout.R
        compiled.append(R)
        # A program of six runs is never used, so that there is nothing to compile.
        return compile_for(self, group, built) if R < 6 else None

    use_one_device(monkeypatch)
    monkeypatch.setattr(Trainer, '_compile', record_and_compile)
    monkeypatch.setattr(memory, 'required_bytes', lambda program, extra: 10 * compiled[-1])
    monkeypatch.setattr(memory, 'memory_limit', lambda devices: 49)
    monkeypatch.setattr(task, 'RESIDENT_MEMORY_FRACTION', 1e9)
    sweep(data, tmp_path)
    assert '6 runs do not fit at once: 2 groups' in capsys.readouterr().out
    assert compiled == [6, 3]
    choices = json.loads((tmp_path / 'choices.json').read_text())
    assert choices == {'resident': True, 'runs_per_group': {'0': 3}}
    assert_same_predictions(tmp_path, plain[1], 1e-5)


def test_two_methods_are_two_programs_in_one_table(data, plain, tmp_path):
    """Plain training has one run for all coefficients, and equals the adversary at lam = 0."""
    results = sweep(data, tmp_path, **{'sweep.method': ('erm', 'dann')})
    assert [(r['method'], r['lam']) for r in results['summary']] == [
        ('erm', None),
        ('dann', 0.0),
        ('dann', 0.5),
    ]
    assert [r['delta_uar'] is None for r in results['summary']] == [True, True, False]
    tested = {key: [] for key in ((None, 'erm'), (0.0, 'dann'), (0.5, 'dann'))}
    for run in results['runs']:
        tested[run['hyper'].get('lam'), run['hyper']['method']].append(run['test'])
    assert tested[None, 'erm'] == tested[0.0, 'dann']
    assert [r['test'] for r in plain[0]['runs'] if r['hyper']['lam']] == tested[0.5, 'dann']
    entropy = {r['hyper']['method']: r['entropy'] for r in results['runs']}
    # Two training speakers have the same number of utterances.
    assert entropy == {'erm': {}, 'dann': {'speaker': pytest.approx(np.log(2))}}
    terminal.print_results(results, tmp_path)
    assert (tmp_path / 'sweep.png').exists()


def test_an_unlabelled_target_changes_no_emotion_loss(data, tmp_path):
    """One language is the target, which fills half of every batch.

    `dann` at lam = 0 equals `erm`, and every speaker of the target is tested.
    """
    across = {
        'protocol.name': 'leave_one_language_out',
        'protocol.adapt': 'others',
        'domain': 'speaker+language',
    }
    results = sweep(
        data, tmp_path, **across, **{'sweep.method': ('erm', 'dann'), 'sweep.lam': (0.0,)}
    )
    erm = [r for r in results['runs'] if r['hyper']['method'] == 'erm']
    dann = [r for r in results['runs'] if r['hyper']['method'] == 'dann']
    assert [r['test'] for r in erm] == [r['test'] for r in dann]
    # Three folds for each of two languages. The training data contain two speakers of the source
    # and two of the target.
    assert [r['selected']['language_count'] for r in dann] == [2.0] * 6
    assert [r['selected']['speaker_count'] for r in dann] == [4.0] * 6
    names, _ = read_predictions(tmp_path)
    assert len({n.split(',')[2] for n in names}) == 48
    assert 'adapts to other speakers of the target' in results['protocol']


@pytest.fixture(scope='module')
def corpora(data, tmp_path_factory) -> Path:
    """The tiny corpus as two: four speakers of `a`; two of `b`, whose emotions have no class."""
    from data_pipelines.features.log_mel import LogMel
    from data_pipelines.storage.preparation import prepare_corpus

    with open(data.parent / 'list.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row['corpus'] = 'b' if row['speaker'] in ('s4', 's5') else 'a'
        row['emotion'] = 'other' if row['corpus'] == 'b' else row['emotion']
    with open(data.parent / 'two.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    folder = tmp_path_factory.mktemp('two')
    prepare_corpus('folder', data.parent / 'two.csv', folder, LogMel(), workers=1)
    return folder


IDENTITY = {'protocol.identity': ('b',), 'sweep.method': ('speaker_norm',), 'sweep.fold': (0,)}


@pytest.fixture(scope='module')
def normalised(corpora, tmp_path_factory):
    """results.json and workdir of speaker_norm with identity batches of another corpus."""
    path = tmp_path_factory.mktemp('normalised')
    return sweep(corpora, path, **IDENTITY), path


def test_identity_batches_may_be_of_another_corpus(corpora, normalised, tmp_path):
    """The protocol names it, its two speakers are removed, and plain training raises UserError."""
    results, path = normalised
    assert results['protocol'] == 'speaker_folds, identity batches from b'
    assert results['classes'] == ['angry', 'sad']
    assert [r['selected']['speaker_count'] for r in results['runs']] == [2.0, 2.0]
    assert [r['selected']['ascent'] > 0 for r in results['runs']] == [False, True]
    names, _ = read_predictions(path)
    assert {n.split(',')[2].split('_')[0] for n in names} <= set('0123')
    plain_training = {'sweep.method': ('erm',), 'sweep.fold': (0,), 'sweep.lam': ()}
    with pytest.raises(
        UserError, match=r'config\.protocol\.identity is b, and erm takes no identity batches'
    ):
        sweep(corpora, tmp_path / 'refused', **IDENTITY | plain_training)


@pytest.mark.slow
@pytest.mark.parametrize(
    'changes', [{'data.resident': 'off'}, {'data_devices': 2}], ids=['streamed', 'two devices']
)
def test_identity_batches_are_the_same_streamed_or_divided(corpora, normalised, tmp_path, changes):
    """To 1e-5 on posteriors after two epochs."""
    sweep(corpora, tmp_path, **IDENTITY, **changes)
    assert_same_predictions(tmp_path, normalised[1], 1e-5)


@pytest.mark.slow
def test_without_other_corpora_identity_batches_have_the_training_speakers(data, tmp_path):
    """TAP, SNP and plain training in one table; TAP at lam = 0 equals `erm`."""
    changes = {
        'sweep.method': ('erm', 'speaker_norm'),
        'sweep.speaker_norm': ('tap', 'snp'),
        'sweep.fold': (0,),
        'sweep.lam': (0.0, 0.01),
    }
    results = sweep(data, tmp_path, **changes)
    runs = {
        tuple(r['hyper'].get(k) for k in ('method', 'speaker_norm', 'lam')): r
        for r in results['runs']
    }
    assert runs['erm', 'tap', None]['test'] == runs['speaker_norm', 'tap', 0.0]['test']
    assert {r['selected'].get('speaker_count') for k, r in runs.items() if 'erm' not in k} == {2.0}


def test_subsets_of_the_training_part_are_one_program(data, plain, tmp_path, monkeypatch, capsys):
    """A subset with all utterances equals training without subsets to the bit.

    Only the subsets are read. Streamed features give the same predictions, to 1e-6.
    """
    changes = {'sweep.per_class': (5, 99), 'sweep.lam': (0.5,)}
    planned = []
    training_items = plan.training_items

    def record_and_plan(folds, *arguments):
        planned.append(folds)
        return training_items(folds, *arguments)

    monkeypatch.setattr(plan, 'training_items', record_and_plan)
    results = sweep(data, tmp_path / 'resident', **changes)
    output = capsys.readouterr().out
    assert output.count('config.sweep.per_class=99: training has only 8 angry, 8 sad') == 1
    assert '6 runs in 1 program: 3 folds, 2 per_class' in output
    assert {len(fold.train) for fold in planned[0]} == {10, 16}
    assert [(r['per_class'], r['lam']) for r in results['summary']] == [(5, 0.5), (99, 0.5)]
    full = [r for r in results['runs'] if r['hyper']['per_class'] == 99]
    small = [r for r in results['runs'] if r['hyper']['per_class'] == 5]
    expected = [r for r in plain[0]['runs'] if r['hyper']['lam']]
    for key in ('dev', 'test', 'selected'):
        assert [r[key] for r in full] == [r[key] for r in expected]
    assert [r['selected'] for r in small] != [r['selected'] for r in expected]
    sweep(data, tmp_path / 'streamed', **changes, **{'data.resident': 'off'})
    assert_same_predictions(tmp_path / 'streamed', tmp_path / 'resident', 1e-6)


def test_a_subset_of_one_speaker_raises_a_user_error(data, tmp_path):
    """Before training: there is no speaker to remove."""
    with pytest.raises(UserError, match='contain only one speaker'):
        sweep(data, tmp_path, **{'sweep.speakers': (1, 2)})


@pytest.mark.parametrize(
    ('changes', 'domain'),
    [
        ({'protocol.name': 'leave_one_language_out', 'domain': 'language'}, 'language'),
        ({'sweep.speakers': (2,), 'sweep.confounded': (1.0,)}, 'speaker'),
    ],
)
def test_a_domain_that_no_emotion_has_twice_is_refused_within_emotions(
    changes, domain, data, tmp_path
):
    """Conditional similarity would be 0, and cdann's heads would learn nothing.

    The target has another language, but no emotions; each of two speakers has one emotion.
    """
    changes = {**changes, 'protocol.adapt': 'transductive'}
    if domain == 'speaker':
        changes['protocol.adapt'] = 'none'
    message = f'for each emotion, labelled utterances of only one {domain}.* Set '
    remedies = {'similarity': 'config.similarity=unconditional', 'cdann': 'config.method=dann'}
    for method, remedy in remedies.items():
        with pytest.raises(UserError, match=message + remedy):
            sweep(data, tmp_path, **changes, method=method)
    sweep(data, tmp_path, **changes, method='similarity', similarity='unconditional')


def test_a_finished_group_is_not_trained_again(data, plain, tmp_path, monkeypatch):
    """If the last group is finished and the results are not, the same command only merges."""
    copy = shutil.copytree(plain[1], tmp_path / 'copy')
    (copy / 'results.json').unlink()
    (copy / 'groups' / '0' / 'predictions.csv').write_bytes((copy / 'predictions.csv').read_bytes())
    monkeypatch.setattr(loop.GroupLoop, 'run', lambda self: pytest.fail('it was trained'))
    monkeypatch.setattr(audit, 'inspect_folds', lambda *_: pytest.fail('it was audited'))
    again = sweep(data, copy)
    assert again['audit'] == plain[0]['audit']
    assert again['runs'] == plain[0]['runs']
    # The seconds of earlier processes count too.
    assert again['seconds'] > sum(group['seconds'] for group in plain[0]['groups'])


def test_a_sweep_can_be_resumed_on_other_devices(data, plain, tmp_path, monkeypatch):
    """Started on eight devices, resumed on one: the same predictions to 1e-5."""
    interrupt_sweep(monkeypatch, data, tmp_path, epoch=1)
    use_one_device(monkeypatch)
    sweep(data, tmp_path)
    assert_same_predictions(tmp_path, plain[1], 1e-5)


ERASURE = {'method': 'leace', 'sweep.lam': (), 'sweep.fold': (0, 2)}


@pytest.fixture(scope='module')
def erased(data, tmp_path_factory):
    """results.json and workdir of a method with a fit, and the arguments of the fit of each run."""
    path = tmp_path_factory.mktemp('erased')
    arguments = []
    fit_eraser = leace.fit_eraser

    def record_and_fit(z_NxD, index):
        arguments.append((z_NxD, index))
        return fit_eraser(z_NxD, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leace, 'fit_eraser', record_and_fit)
        results = sweep(data, path, **ERASURE)
    return results, path, arguments


def newest_checkpoint(path: Path, runs: int) -> tuple[list[int], list]:
    """Returns the epochs of the checkpoints, and each run's (params, batch_stats) in the last."""
    checkpoints = Checkpoints(path / 'groups' / '0' / 'checkpoints')
    epochs = sorted(checkpoints.manager.all_steps())
    best = checkpoints.manager.restore(epochs[-1])['arrays']['best']
    checkpoints.close()
    by_run = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:runs], best)
    selected = [jax.tree.map(lambda x, n=n: np.asarray(x[n]), by_run) for n in range(runs)]
    return epochs, selected


def test_the_fit_changes_only_the_test_predictions(data, erased, tmp_path):
    """Training and selection are those of erm, to the bit."""
    results, path, _ = erased
    plain = sweep(data, tmp_path, **ERASURE | {'method': 'erm'})
    for run, plain_run in zip(results['runs'], plain['runs'], strict=True):
        for key in ('epoch', 'dev', 'selected'):
            assert run[key] == plain_run[key]
    names, p_NxC = read_predictions(path)
    plain_names, plain_p_NxC = read_predictions(tmp_path)
    assert names == plain_names
    assert np.abs(p_NxC - plain_p_NxC).max() > 1e-3
    epochs, selected = newest_checkpoint(path, 2)
    _, plain_selected = newest_checkpoint(tmp_path, 2)
    assert epochs == [2, 3]
    for (params, batch_stats), variables in zip(selected, plain_selected, strict=True):
        params.pop('eraser')
        chex.assert_trees_all_equal((params, batch_stats), tuple(variables))


def test_the_fit_uses_the_training_data_of_the_own_fold(erased):
    """What it returns is saved; test speakers and what attackers are tested on are not in it."""
    results, path, arguments = erased
    names, _ = read_predictions(path)
    _, selected = newest_checkpoint(path, 2)
    for run, (params, _), (z_NxD, index) in zip(results['runs'], selected, arguments, strict=True):
        A_DxD, mean_D = leace.fit_eraser(z_NxD, index)
        np.testing.assert_array_equal(params['eraser']['A'], np.float32(A_DxD))
        np.testing.assert_array_equal(params['eraser']['mean'], np.float32(mean_D))
        assert list(index) == ['speaker']
        # Two of six speakers train. Attackers are tested on two of the eight utterances of each.
        assert np.bincount(index['speaker'], minlength=6).tolist().count(6) == 2
        fold = str(run['hyper']['fold'])
        tested = {name.split(',')[3] for name in names if name.split(',')[1] == fold}
        assert not {f's{speaker}' for speaker in index['speaker']} & tested


@pytest.mark.slow
@pytest.mark.parametrize(
    'changes', [{'data.resident': 'off'}, {'data_devices': 2}], ids=['streamed', 'two devices']
)
def test_a_fit_is_the_same_streamed_or_divided(data, erased, tmp_path, changes):
    """To 1e-5 on posteriors, as without a fit."""
    sweep(data, tmp_path, **ERASURE | changes)
    assert_same_predictions(tmp_path, erased[1], 1e-5)


def test_a_sweep_interrupted_before_its_fit_resumes_to_the_same_bits(
    data, erased, tmp_path, monkeypatch
):
    """The checkpoint of the last epoch has no fit."""
    interrupt_sweep(monkeypatch, data, tmp_path, epoch=2, **ERASURE)
    sweep(data, tmp_path, **ERASURE)
    assert_same_predictions(tmp_path, erased[1], 0)


def test_a_sweep_interrupted_after_its_fit_is_not_fitted_again(data, erased, tmp_path, monkeypatch):
    """The checkpoint beyond the last epoch has the fit: the same predictions to the bit."""
    copy = shutil.copytree(erased[1], tmp_path / 'copy')
    for name in ('results.json', 'groups/0/outcome.json'):
        (copy / name).unlink()
    monkeypatch.setattr(leace, 'fit_eraser', lambda *_: pytest.fail('it was fitted'))
    sweep(data, copy, **ERASURE)
    assert_same_predictions(copy, erased[1], 0)


WRONG = {
    'parallel': ('shard', 'jit'),
    'data.resident': ('yes', 'auto'),
    'data_devices': (3, 'multiple'),
}


@pytest.mark.parametrize('key', WRONG)
def test_an_unknown_choice_raises_a_user_error(key, data, tmp_path):
    """Its message lists the possible choices."""
    value, expected = WRONG[key]
    with pytest.raises(UserError, match=expected):
        sweep(data, tmp_path, **{key: value})


def test_the_forecast_of_memory_counts_selected_parameters_and_a_copy_of_the_state(data):
    """Both are on the device outside the program while a step is measured."""
    config = tiny_config.get_config()
    config.data.dir = str(data)
    config = resolve.resolve_config(config)
    programs = validate.plan_programs(config)
    trainer = Trainer(programs[0], task.Task(config, programs), None, None)
    layout = trainer.groups[0].layout
    state = trainer.functions.init(layout.put_runs_on_devices(trainer.groups[0].hyper_DxR))
    arrays = jax.tree.leaves((state, state.params, state.batch_stats))
    bytes_on_a_device = sum(array.addressable_shards[0].data.nbytes for array in arrays)
    assert bytes_on_a_device > 0
    assert trainer.memory_bytes == memory.required_bytes(trainer.train_chunk) + bytes_on_a_device
