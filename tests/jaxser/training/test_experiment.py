"""A whole sweep in one process, in every way that must not matter: the tiny corpus, eight fake devices."""

import contextlib
import csv
import io
import json
import math
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import tiny_config

from data_pipelines.batching import plan
from data_pipelines.errors import UserError
from jaxser import distributed
from jaxser.configuration import resolve
from jaxser.methods import leace
from jaxser.reporting import terminal
from jaxser.serving import bundling, model
from jaxser.training import experiment, loop, memory, parallel, task, tracking, validate
from jaxser.training.checkpoints import Checkpoints
from jaxser.training.trainer import Trainer


def sweep(data: Path, path: Path, **changes) -> dict:
    """Two epochs of the tiny sweep with some keys changed; results.json."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(data), 'train.epochs': 2, **changes})
    return experiment.run_experiment(config, path)


def interrupted(monkeypatch, data: Path, path: Path, epoch: int, **changes) -> None:
    """The sweep up to the end of an epoch."""
    with monkeypatch.context() as patch:
        patch.setattr(
            distributed.Termination, 'is_requested', lambda self, reached: reached == epoch
        )
        with pytest.raises(distributed.Preempted, match=f'after epoch {epoch} of 2'):
            sweep(data, path, **changes)


@pytest.fixture(scope='module')
def plain(swept):
    """The sweep as the configuration has it: resident, jit, as many devices as runs."""
    return json.loads((swept / 'results.json').read_text()), swept


def table(path: Path) -> tuple[list[str], np.ndarray]:
    """predictions.csv: names and posteriors."""
    rows = [line.split(',') for line in (path / 'predictions.csv').read_text().splitlines()[1:]]
    return [','.join(r[:5]) for r in rows], np.array([[float(x) for x in r[5:]] for r in rows])


def same(path: Path, other: Path, tolerance: float) -> None:
    """The predictions of two sweeps."""
    (names, p), (other_names, q) = table(path), table(other)
    assert names == other_names
    np.testing.assert_allclose(p, q, atol=tolerance, rtol=0)


def test_streaming_and_resident_are_the_same(data, plain, tmp_path, capsys):
    """The same quantised features in the same order, scored in other batches, hence with other padding.

    1e-6 on posteriors after two epochs (two programs, two roundings).
    """
    sweep(data, tmp_path, **{'data.resident': 'off', 'data.eval_batch': 3})
    assert 'are streamed' in capsys.readouterr().out
    same(tmp_path, plain[1], 1e-6)


def test_a_step_a_dispatch_is_an_epoch_a_dispatch(data, plain, tmp_path, monkeypatch):
    """Where steps are slow they go one by one, that the bar moves: through the same program, to the same bit, metrics too."""
    dispatched, add = [], tracking.EpochMetrics.add
    monkeypatch.setattr(loop, 'TARGET_DISPATCH_SECONDS', 0.0)
    monkeypatch.setattr(
        tracking.EpochMetrics,
        'add',
        lambda self, metrics, steps: dispatched.append(steps) or add(self, metrics, steps),
    )
    sweep(data, tmp_path)
    epoch = [slice(n, n + 1) for n in range(len(dispatched) // 2)]
    assert len(epoch) > 1
    assert dispatched == 2 * epoch
    assert (tmp_path / 'predictions.csv').read_bytes() == (
        plain[1] / 'predictions.csv'
    ).read_bytes()
    rows = [
        [json.loads(r) for r in (p / 'metrics.jsonl').read_text().splitlines()]
        for p in (tmp_path, plain[1])
    ]
    assert rows[0] == rows[1]


def test_pmap_is_jit(data, plain, tmp_path):
    """config.parallel = 'pmap': 1e-5 on posteriors after two epochs."""
    sweep(data, tmp_path, parallel='pmap')
    same(tmp_path, plain[1], 1e-5)


def test_a_batch_over_two_devices_is_a_batch(data, plain, tmp_path):
    """config.data_devices = 2, with BatchNorm over both: 1e-5 on posteriors after two epochs."""
    sweep(data, tmp_path, data_devices=2)
    same(tmp_path, plain[1], 1e-5)


@pytest.fixture(scope='module')
def wild(data, tmp_path_factory):
    """A sweep half of whose runs diverge, with a profile; and what was said."""
    path, said = tmp_path_factory.mktemp('wild'), io.StringIO()
    config = tiny_config.get_config()
    config.update_from_flattened_dict(
        {'data.dir': str(data), 'train.epochs': 2, 'sweep.lam': (0.0, 1e38)}
    )
    with contextlib.redirect_stdout(said):
        results = experiment.run_experiment(config, path, profile=True)
        bundling.bundle_model(path)
        terminal.print_results(results, path)
    return results, path, said.getvalue()


def test_a_run_that_diverges_is_reported_and_the_others_are_not_touched(plain, wild):
    """lam = 1e38 ends its own runs with the step; lam = 0 gives what it gives without it, and the model."""
    results, path, said = wild
    assert 'nonfinite from step' in said
    calm, diverged = (
        [r for r in results['runs'] if (r['hyper']['lam'] > 0) == big] for big in (False, True)
    )
    assert {r['status'] for r in diverged} == {'nonfinite'}
    assert all(r['test'] is None and r['step'] >= 0 for r in diverged)
    assert calm == [r for r in plain[0]['runs'] if r['hyper']['lam'] == 0]
    assert model.read_model(path).metadata['runs'] == [r['hyper'] for r in calm]


def test_a_profile_is_written_on_request(wild):
    """--profile: something that TensorBoard and Perfetto open; that it changes no result the test above has seen."""
    _, path, said = wild
    assert 'ui.perfetto.dev' in said
    assert list((path / 'profile').rglob('*.xplane.pb'))
    assert list((path / 'profile').rglob('perfetto_trace.json.gz'))


def test_what_does_not_fit_goes_in_groups_through_one_program(
    data, plain, tmp_path, monkeypatch, capsys
):
    """On one device that holds four runs of six: the same runs (1e-5), at most three compilations, and the choice is kept."""
    whole, compile_for, compiled = parallel.Layout, Trainer._compile, []
    monkeypatch.setattr(
        parallel, 'Layout', lambda *a, **k: whole(*a, **{'devices': jax.devices()[:1], **k})
    )
    # What does not fit is never run: for six there is nothing to compile.
    one = lambda self, R: compiled.append(R) or (compile_for(self, R) if R < 6 else None)  # noqa: E731
    monkeypatch.setattr(Trainer, '_compile', one)
    monkeypatch.setattr(memory, 'required_bytes', lambda program, beside: 10 * compiled[-1])
    monkeypatch.setattr(memory, 'memory_limit', lambda devices: 49)
    monkeypatch.setattr(task, 'RESIDENT_MEMORY_FRACTION', 1e9)
    sweep(data, tmp_path)
    assert '6 runs do not fit at once: 2 groups' in capsys.readouterr().out
    assert compiled == [6, 3]
    assert json.loads((tmp_path / 'choices.json').read_text()) == {
        'resident': True,
        'runs_per_group': {'0': 3},
    }
    same(tmp_path, plain[1], 1e-5)


def test_structural_keys_are_programs_in_one_table(data, plain, tmp_path):
    """Two methods are two programs; plain training has one run for all coefficients, and is the adversary at lam = 0."""
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
    assert entropy == {'erm': {}, 'dann': {'speaker': pytest.approx(np.log(2))}}, (
        'two training speakers who say as much'
    )
    terminal.print_results(results, tmp_path)
    assert (tmp_path / 'sweep.png').exists()


def test_an_unlabelled_target_is_heard_and_teaches_no_emotion(data, tmp_path):
    """Languages out, half of every batch the target's: `dann` at lam = 0 still is `erm`, and every target speaker is tested."""
    across = {
        'protocol.name': 'leave_one_language_out',
        'protocol.adapt': 'others',
        'domain': 'speaker+language',
    }
    results = sweep(
        data, tmp_path, **across, **{'sweep.method': ('erm', 'dann'), 'sweep.lam': (0.0,)}
    )
    erm, dann = ([r for r in results['runs'] if r['hyper']['method'] == m] for m in ('erm', 'dann'))
    assert [r['test'] for r in erm] == [r['test'] for r in dann]
    assert [r['selected']['language_count'] for r in dann] == [2.0] * 6, (
        'two languages, three folds each'
    )
    assert [r['selected']['speaker_count'] for r in dann] == [4.0] * 6, (
        'of the source two train, of the target two are heard'
    )
    names, _ = table(tmp_path)
    assert len({n.split(',')[2] for n in names}) == 48
    assert 'adapts to other speakers of the target' in results['protocol']


@pytest.fixture(scope='module')
def corpora(data, tmp_path_factory) -> Path:
    """The tiny corpus as two: four speakers of `a`, two of `b`, whose emotions no label space knows."""
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
    """speaker_norm whose identity batches are of another corpus, resident."""
    path = tmp_path_factory.mktemp('normalised')
    return sweep(corpora, path, **IDENTITY), path


def test_identity_batches_of_another_corpus_forget_its_speakers(corpora, normalised, tmp_path):
    """K = 2 speakers, one of which no emotion is known; the protocol is named so, and plain training refuses it."""
    results, path = normalised
    assert results['protocol'] == 'speaker_folds, identity batches from b'
    assert results['classes'] == ['angry', 'sad']
    assert [r['selected']['speaker_count'] for r in results['runs']] == [2.0, 2.0]
    assert [r['selected']['ascent'] > 0 for r in results['runs']] == [False, True]
    names, _ = table(path)
    assert {n.split(',')[2].split('_')[0] for n in names} <= set('0123')
    beside = {'sweep.method': ('erm',), 'sweep.fold': (0,), 'sweep.lam': ()}
    with pytest.raises(
        UserError, match=r'config\.protocol\.identity is b, and erm takes no identity batches'
    ):
        sweep(corpora, tmp_path / 'refused', **IDENTITY | beside)


@pytest.mark.slow
@pytest.mark.parametrize(
    'way', [{'data.resident': 'off'}, {'data_devices': 2}], ids=['streamed', 'two devices']
)
def test_identity_batches_are_the_same_streamed_and_shared_out(corpora, normalised, tmp_path, way):
    """1e-5 on posteriors after two epochs."""
    sweep(corpora, tmp_path, **IDENTITY, **way)
    same(tmp_path, normalised[1], 1e-5)


@pytest.mark.slow
def test_without_other_corpora_identity_batches_hold_the_training_speakers(data, tmp_path):
    """TAP and SNP beside plain training in one table: K is the fold's own; TAP at lam = 0 is `erm`."""
    both = {
        'sweep.method': ('erm', 'speaker_norm'),
        'sweep.speaker_norm': ('tap', 'snp'),
        'sweep.fold': (0,),
        'sweep.lam': (0.0, 0.01),
    }
    results = sweep(data, tmp_path, **both)
    runs = {
        tuple(r['hyper'].get(k) for k in ('method', 'speaker_norm', 'lam')): r
        for r in results['runs']
    }
    assert runs['erm', 'tap', None]['test'] == runs['speaker_norm', 'tap', 0.0]['test']
    assert {r['selected'].get('speaker_count') for k, r in runs.items() if 'erm' not in k} == {2.0}


def test_parts_of_the_training_part_are_one_program(data, plain, tmp_path, monkeypatch, capsys):
    """Resident and streamed alike (1e-6); a part that is everything is plain training to the bit; only what is kept is read."""
    dials = {'sweep.per_class': (5, 99), 'sweep.lam': (0.5,)}
    read = []
    training = plan.training_items
    monkeypatch.setattr(
        plan, 'training_items', lambda folds, *rest: (read.append(folds), training(folds, *rest))[1]
    )
    results = sweep(data, tmp_path / 'resident', **dials)
    said = capsys.readouterr().out
    assert 'config.sweep.per_class=99: training has only 8 angry, 8 sad, all of which are used.' in said
    assert '6 runs in 1 program: 3 folds, 2 per_class' in said
    assert {len(f.train) for f in read[0]} == {10, 16}
    assert [(r['per_class'], r['lam']) for r in results['summary']] == [(5, 0.5), (99, 0.5)]
    full = [r for r in results['runs'] if r['hyper']['per_class'] == 99]
    expected = [r for r in plain[0]['runs'] if r['hyper']['lam']]
    for key in ('dev', 'test', 'selected'):
        assert [r[key] for r in full] == [r[key] for r in expected]
    assert [r['selected'] for r in results['runs'] if r not in full] != [
        r['selected'] for r in expected
    ]
    sweep(data, tmp_path / 'streamed', **dials, **{'data.resident': 'off'})
    same(tmp_path / 'streamed', tmp_path / 'resident', 1e-6)


def test_a_part_of_one_speaker_has_none_to_forget(data, tmp_path):
    """An adversary that a subset leaves nothing to tell apart is refused before training."""
    with pytest.raises(UserError, match='contain only one speaker'):
        sweep(data, tmp_path, **{'sweep.speakers': (1, 2)})


def test_a_finished_group_is_not_computed_again(data, plain, tmp_path, monkeypatch):
    """Killed between the last group and the results: the same command only gathers."""
    copy = shutil.copytree(plain[1], tmp_path / 'copy')
    (copy / 'results.json').unlink()
    (copy / 'groups' / '0' / 'predictions.csv').write_bytes((copy / 'predictions.csv').read_bytes())
    monkeypatch.setattr(loop.GroupLoop, 'run', lambda self: pytest.fail('it was trained'))
    again = sweep(data, copy)
    assert again['runs'] == plain[0]['runs']
    assert again['seconds'] > sum(g['seconds'] for g in plain[0]['groups']), (
        'what was done before counts too'
    )


def test_resuming_on_other_devices(data, plain, tmp_path, monkeypatch):
    """Begun on eight devices and gone on with on one: 1e-5 on posteriors."""
    interrupted(monkeypatch, data, tmp_path, epoch=1)
    whole = parallel.Layout
    monkeypatch.setattr(
        parallel, 'Layout', lambda *a, **k: whole(*a, **{'devices': jax.devices()[:1], **k})
    )
    sweep(data, tmp_path)
    same(tmp_path, plain[1], 1e-5)


ERASURE = {'method': 'leace', 'sweep.lam': (), 'sweep.fold': (0, 2)}


@pytest.fixture(scope='module')
def erased(data, tmp_path_factory):
    """A sweep of a method that fits after training, and the z and the indices that each run was fitted on."""
    path, fitted, eraser = tmp_path_factory.mktemp('erased'), [], leace.fit_eraser
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            leace,
            'fit_eraser',
            lambda z_NxD, index: fitted.append((z_NxD, index)) or eraser(z_NxD, index),
        )
        results = sweep(data, path, **ERASURE)
    return results, path, fitted


def selected(path: Path, runs: int) -> tuple[list[int], list]:
    """The checkpoints of a finished sweep, and (params, batch_stats) of each run in the newest."""
    checkpoints = Checkpoints(path / 'groups' / '0' / 'checkpoints')
    epochs = sorted(checkpoints.manager.all_steps())
    best = checkpoints.manager.restore(epochs[-1])['arrays']['best']
    checkpoints.close()
    by_run = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:runs], best)
    return epochs, [jax.tree.map(lambda x, n=n: np.asarray(x[n]), by_run) for n in range(runs)]


def test_what_is_fitted_after_training_is_what_is_tested(data, erased, tmp_path):
    """Selected as erm, to the bit; fitted on all that each run's own fold trains on; saved; and test alone is scored by it."""
    results, path, fitted = erased
    plain = sweep(data, tmp_path, **ERASURE | {'method': 'erm'})
    for mine, erms in zip(results['runs'], plain['runs']):
        assert [mine[k] for k in ('epoch', 'dev', 'selected')] == [
            erms[k] for k in ('epoch', 'dev', 'selected')
        ]
    names, p = table(path)
    assert names == table(tmp_path)[0]
    assert np.abs(p - table(tmp_path)[1]).max() > 1e-3
    (epochs, mine), (_, erms) = (selected(folder, 2) for folder in (path, tmp_path))
    assert epochs == [2, 3]
    for run, (params, batch_stats), (erm_params, erm_stats), (z_NxD, index) in zip(
        results['runs'], mine, erms, fitted
    ):
        made = params.pop('eraser')
        jax.tree.map(np.testing.assert_array_equal, (params, batch_stats), (erm_params, erm_stats))
        A_DxD, mean_D = leace.fit_eraser(z_NxD, index)
        np.testing.assert_array_equal(made['A'], np.float32(A_DxD))
        np.testing.assert_array_equal(made['mean'], np.float32(mean_D))
        tested = {n.split(',')[3] for n in names if n.split(',')[1] == str(run['hyper']['fold'])}
        assert list(index) == ['speaker']
        assert np.bincount(index['speaker'], minlength=6).tolist().count(8) == 2, (
            'two of six train, eight utterances each'
        )
        assert not {f's{k}' for k in index['speaker']} & tested


@pytest.mark.slow
@pytest.mark.parametrize(
    'way', [{'data.resident': 'off'}, {'data_devices': 2}], ids=['streamed', 'two devices']
)
def test_a_fit_is_the_same_however_its_data_come(data, erased, tmp_path, way):
    """Streamed, or a run's batch over two devices: 1e-5 on posteriors, as without a fit."""
    sweep(data, tmp_path, **ERASURE | way)
    same(tmp_path, erased[1], 1e-5)


def test_a_fit_is_done_once(data, erased, tmp_path, monkeypatch):
    """Stopped between training and the fit, or after it: the same predictions to the bit, and nothing is erased twice."""
    _, path, _ = erased
    interrupted(monkeypatch, data, tmp_path / 'before', epoch=2, **ERASURE)
    sweep(data, tmp_path / 'before', **ERASURE)
    same(tmp_path / 'before', path, 0)
    shutil.copytree(path, tmp_path / 'after')
    for name in ('results.json', 'groups/0/outcome.json'):
        (tmp_path / 'after' / name).unlink()
    monkeypatch.setattr(leace, 'fit_eraser', lambda *a: pytest.fail('it was fitted'))
    sweep(data, tmp_path / 'after', **ERASURE)
    same(tmp_path / 'after', path, 0)


WRONG = {
    'parallel': ('shard', 'jit'),
    'data.resident': ('yes', 'auto'),
    'data_devices': (3, 'multiple'),
}


@pytest.mark.parametrize('key', WRONG)
def test_a_wrong_choice_is_refused(key, data, tmp_path):
    """By name, with what is known."""
    value, expected = WRONG[key]
    with pytest.raises(UserError, match=expected):
        sweep(data, tmp_path, **{key: value})


OUT_OF_RANGE = [
    ('train.epochs', 0, '1 or more'),
    ('train.select_from', 1.5, 'a number from 0 to 1'),
    ('train.select_from', -0.1, 'a number from 0 to 1'),
    ('train.select_from', math.nan, 'a number from 0 to 1'),
    ('train.clip', -5.0, 'a number above 0'),
    ('train.clip', 0.0, 'a number above 0'),
    ('train.clip', math.inf, 'a number above 0'),
    ('train.clip', math.nan, 'a number above 0'),
    ('train.warmup', 2.0, 'a number from 0 to below 1'),
    ('train.warmup', 1.0, 'a number from 0 to below 1'),
    ('train.warmup', -0.1, 'a number from 0 to below 1'),
    ('train.warmup', math.nan, 'a number from 0 to below 1'),
    ('train.warmup', math.inf, 'a number from 0 to below 1'),
    ('train.checkpoint_seconds', -1.0, '0 or more'),
    ('train.checkpoint_seconds', math.nan, '0 or more'),
    ('data.order_seed', -1, 'a number from 0 to 2147483647'),
    ('data.order_seed', 2**31, 'a number from 0 to 2147483647'),
    ('model.upstream_rate', 0.0, 'a number above 0'),
    ('model.upstream_rate', math.nan, 'a number above 0'),
    ('model.layer_decay', 0.0, 'a number above 0, up to 1'),
    ('model.layer_decay', 1.5, 'a number above 0, up to 1'),
]


@pytest.mark.parametrize(('key', 'value', 'expected'), OUT_OF_RANGE)
def test_a_number_out_of_range_is_refused(key, value, expected):
    """By key and value, with what is expected, before any data is read."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError) as refusal:
        validate.validate(config)
    assert str(refusal.value) == f'config.{key} is {value}; expected {expected}.'


IN_RANGE = [
    ('train.select_from', 0.0),
    ('train.select_from', 1.0),
    ('train.clip', 1e9),
    ('train.warmup', 0.0),
    ('train.warmup', 0.99),
    ('train.checkpoint_seconds', 0.0),
    ('data.order_seed', 2**31 - 1),
    ('model.layer_decay', 1.0),
]


@pytest.mark.parametrize(('key', 'value'), IN_RANGE)
def test_the_ends_of_a_range_are_allowed(key, value):
    """The largest and the smallest values that make sense."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict({key: value})
    assert validate.validate(config)


def test_the_forecast_of_memory_counts_the_selected_parameters_and_a_copy_of_the_state(data):
    """Both lie beside the program while a step is measured: the bytes of real arrays."""
    config = tiny_config.get_config()
    config.data.dir = str(data)
    config = resolve.resolve_config(config)
    parts = validate.validate(config)
    trainer = Trainer(parts[0], task.Task(config, parts), None, None)
    layout = trainer.groups[0].layout
    state = trainer.functions.init(layout.put_runs_on_devices(trainer.groups[0].hyper_DxR))
    beside = jax.tree.leaves((state, state.params, state.batch_stats))
    on_a_device = sum(x.addressable_shards[0].data.nbytes for x in beside)
    assert on_a_device > 0
    assert trainer.memory_bytes == memory.required_bytes(trainer.train_chunk) + on_a_device
