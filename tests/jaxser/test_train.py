"""A whole sweep in one process, in every way that must not matter: the tiny corpus, eight fake devices."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from data_pipelines import batches
from data_pipelines.refusal import Refusal
from jaxser import memory, parallel, train

sys.path.insert(0, str(Path(__file__).parent.parent))
import tiny_config


def sweep(data: Path, path: Path, **changes) -> dict:
    """Two epochs of the tiny sweep with some keys changed; results.json."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(data), 'train.epochs': 2, **changes})
    return train.run(config, path)


@pytest.fixture(scope='module')
def plain(data, tmp_path_factory):
    """The sweep as the configuration has it: resident, jit, as many devices as runs."""
    path = tmp_path_factory.mktemp('plain')
    return sweep(data, path), path


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
    """The same quantised features in the same order: 1e-6 on posteriors after two epochs (two programs, two roundings)."""
    sweep(data, tmp_path, **{'data.resident': 'off'})
    assert 'are streamed' in capsys.readouterr().out
    same(tmp_path, plain[1], 1e-6)


def test_pmap_is_jit(data, plain, tmp_path):
    """config.parallel = 'pmap': 1e-5 on posteriors after two epochs."""
    sweep(data, tmp_path, parallel='pmap')
    same(tmp_path, plain[1], 1e-5)


def test_a_batch_over_two_devices_is_a_batch(data, plain, tmp_path):
    """config.data_devices = 2, with BatchNorm over both: 1e-5 on posteriors after two epochs."""
    sweep(data, tmp_path, data_devices=2)
    same(tmp_path, plain[1], 1e-5)


def test_what_does_not_fit_goes_in_groups_through_one_program(data, tmp_path, monkeypatch, capsys):
    """On one device that holds four runs of six: the same runs, at most three compilations, and the choice is kept."""
    whole = parallel.Layout
    monkeypatch.setattr(parallel, 'Layout', lambda *a, **k: whole(*a, **{'devices': jax.devices()[:1], **k}))
    sweep(data, tmp_path / 'whole')
    compiled = []
    one = lambda self, R, compile_for=train.Trainer._compile: compiled.append(R) or compile_for(self, R)  # noqa: E731
    monkeypatch.setattr(train.Trainer, '_compile', one)
    monkeypatch.setattr(memory, 'needed', lambda program: 10 * compiled[-1])
    monkeypatch.setattr(memory, 'limit', lambda devices: 49)
    monkeypatch.setattr(train, 'RESIDENT_SHARE', 1e9)
    sweep(data, tmp_path / 'groups')
    assert '6 runs do not fit at once: 2 groups' in capsys.readouterr().out
    assert compiled == [6, 3]
    assert json.loads((tmp_path / 'groups' / 'choices.json').read_text()) == {'resident': True, 'runs_per_group': {'0': 3}}
    same(tmp_path / 'groups', tmp_path / 'whole', 1e-6)


def test_structural_keys_are_programs_in_one_table(data, plain, tmp_path):
    """Two methods are two programs; plain training has one run for all coefficients, and is the adversary at lam = 0."""
    results = sweep(data, tmp_path, **{'sweep.method': ('erm', 'dann')})
    assert [(r['method'], r['lam']) for r in results['summary']] == [('erm', None), ('dann', 0.0), ('dann', 0.5)]
    assert [r['delta_uar'] is None for r in results['summary']] == [True, True, False]
    tested = {key: [] for key in ((None, 'erm'), (0.0, 'dann'), (0.5, 'dann'))}
    for run in results['runs']:
        tested[run['hyper'].get('lam'), run['hyper']['method']].append(run['test'])
    assert tested[None, 'erm'] == tested[0.0, 'dann']
    assert [r['test'] for r in plain[0]['runs'] if r['hyper']['lam']] == tested[0.5, 'dann']
    assert (tmp_path / 'sweep.png').exists()


def test_an_unlabelled_target_is_heard_and_teaches_no_emotion(data, tmp_path):
    """Languages out, half of every batch the target's: `dann` at lam = 0 still is `erm`, and every target speaker is tested."""
    across = {'protocol.name': 'leave_one_language_out', 'protocol.adapt': 'others', 'domain': 'speaker+language'}
    results = sweep(data, tmp_path, **across, **{'sweep.method': ('erm', 'dann'), 'sweep.lam': (0.0,)})
    erm, dann = ([r for r in results['runs'] if r['hyper']['method'] == m] for m in ('erm', 'dann'))
    assert [r['test'] for r in erm] == [r['test'] for r in dann]
    assert [r['selected']['language_count'] for r in dann] == [2.0] * 6, 'two languages, three folds each'
    assert [r['selected']['speaker_count'] for r in dann] == [4.0] * 6, 'of the source two train, of the target two are heard'
    names, _ = table(tmp_path)
    assert len({n.split(',')[2] for n in names}) == 48
    assert 'adapts to other speakers of the target' in results['protocol']


def test_parts_of_the_training_part_are_one_program(data, plain, tmp_path, monkeypatch, capsys):
    """Resident and streamed alike (1e-6); a part that is everything is plain training to the bit; only what is kept is read."""
    dials = {'sweep.per_class': (5, 99), 'sweep.lam': (0.5,)}
    read = []
    training = batches.training
    monkeypatch.setattr(batches, 'training', lambda folds, *rest: (read.append(folds), training(folds, *rest))[1])
    results = sweep(data, tmp_path / 'resident', **dials)
    said = capsys.readouterr().out
    assert 'config.sweep.per_class=99: 8 angry, 8 sad are all that training has.' in said
    assert '6 runs in 1 program: 3 folds, 2 per_class' in said
    assert {len(f.train) for f in read[0]} == {10, 16}
    assert [(r['per_class'], r['lam']) for r in results['summary']] == [(5, 0.5), (99, 0.5)]
    full = [r for r in results['runs'] if r['hyper']['per_class'] == 99]
    expected = [r for r in plain[0]['runs'] if r['hyper']['lam']]
    for key in ('dev', 'test', 'selected'):
        assert [r[key] for r in full] == [r[key] for r in expected]
    assert [r['selected'] for r in results['runs'] if r not in full] != [r['selected'] for r in expected]
    sweep(data, tmp_path / 'streamed', **dials, **{'data.resident': 'off'})
    same(tmp_path / 'streamed', tmp_path / 'resident', 1e-6)


def test_a_part_of_one_speaker_has_none_to_forget(data, tmp_path):
    """An adversary that a subset leaves nothing to tell apart is refused before training."""
    with pytest.raises(Refusal, match='hears only one speaker'):
        sweep(data, tmp_path, **{'sweep.speakers': (1, 2)})


def test_a_finished_group_is_not_computed_again(data, plain, tmp_path, monkeypatch):
    """Killed between the last group and the results: the same command only gathers."""
    import shutil

    copy = shutil.copytree(plain[1], tmp_path / 'copy')
    (copy / 'results.json').unlink()
    (copy / 'groups' / '0' / 'predictions.csv').write_bytes((copy / 'predictions.csv').read_bytes())
    monkeypatch.setattr(train, 'train_group', lambda *a: pytest.fail('it was trained'))
    again = sweep(data, copy)
    assert again['runs'] == plain[0]['runs']


def test_resuming_on_other_devices(data, plain, tmp_path, monkeypatch):
    """Begun on eight devices and gone on with on one: 1e-5 on posteriors."""
    from jaxser import cluster

    with monkeypatch.context() as patch:
        patch.setattr(cluster.Termination, 'reached', lambda self, epoch: epoch == 1)
        with pytest.raises(cluster.Preempted, match='after epoch 1 of 2'):
            sweep(data, tmp_path)
    whole = parallel.Layout
    monkeypatch.setattr(parallel, 'Layout', lambda *a, **k: whole(*a, **{'devices': jax.devices()[:1], **k}))
    sweep(data, tmp_path)
    same(tmp_path, plain[1], 1e-5)


def test_a_profile_is_written_on_request(data, plain, tmp_path, capsys):
    """--profile: something that TensorBoard and Perfetto open, and the same results."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(data), 'train.epochs': 2})
    assert train.run(config, tmp_path, profile=True)['runs'] == plain[0]['runs']
    assert 'ui.perfetto.dev' in capsys.readouterr().out
    assert list((tmp_path / 'profile').rglob('*.xplane.pb'))
    assert list((tmp_path / 'profile').rglob('perfetto_trace.json.gz'))


WRONG = {
    'parallel': ('shard', 'jit'),
    'data.resident': ('yes', 'auto'),
    'data_devices': (3, 'multiple'),
}


@pytest.mark.parametrize('key', WRONG)
def test_a_wrong_choice_is_refused(key, data, tmp_path):
    """By name, with what is known."""
    value, expected = WRONG[key]
    with pytest.raises(Refusal, match=expected):
        sweep(data, tmp_path, **{key: value})
