"""Tests of sweeps on the votes of raters: the same code path as training on classes."""

import csv
import functools
import json
import shutil
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from helpers import tiny_config
from ml_collections import ConfigDict

from data_pipelines import pack
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import npz, prepared
from jaxser import distributed, plugins
from jaxser.interfaces import Sizes
from jaxser.nn.output_head import make_output_head
from jaxser.training import experiment, step, validate

SOFT = {'train.soft_labels': True, 'train.annotator_dropout': 0.3}
METHODS = ('dann', 'similarity', 'crossgrad')  # they use the loss of the task in different ways


def write_votes(data: Path, folder: Path, votes_by_class: dict[str, str], undecided: int) -> Path:
    """Writes the prepared corpus with votes as a pack into `folder`, and returns it.

    The last `undecided` utterances of each speaker have no class.
    """
    source = prepared.find_dataset(data, 'folder', LogMel())
    target = npz.npz_path(folder, 'folder', LogMel())
    target.parent.mkdir(parents=True)
    pack.write_npz(source, target)
    with np.load(target) as content:
        columns = dict(content)
    emotion_N = columns['text_emotion'].astype('<U9')
    votes = [votes_by_class[word] for word in emotion_N.tolist()]
    columns['text_votes'] = np.array(votes, dtype='<U40')
    speaker_N = columns['text_speaker']
    for speaker in np.unique(speaker_N):
        rows = np.flatnonzero(speaker_N == speaker)[::2][:undecided]
        emotion_N[rows] = 'other'
        columns['text_votes'][rows] = 'angry=1;other=3;sad=1'
    columns['text_emotion'] = emotion_N
    np.savez(target, **columns)
    return folder


@pytest.fixture(scope='module')
def voted(data, once) -> Path:
    """Returns the data folder of the tones with three votes each; some have no class."""
    votes = {'angry': 'angry=2;sad=1', 'sad': 'fear=1;sad=2'}
    return once('voted', lambda path: write_votes(data, path / 'data', votes, 2)) / 'data'


@pytest.fixture(scope='module')
def agreed(data, once) -> Path:
    """Returns the data folder of the tones with one vote each, for their class."""
    votes = {'angry': 'angry=1', 'sad': 'sad=1'}
    return once('agreed', lambda path: write_votes(data, path / 'data', votes, 0)) / 'data'


def sweep(data: Path, path: Path, **changes) -> dict:
    """Runs two epochs of the tiny sweep with some keys changed; returns results.json."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(data), 'train.epochs': 2, **changes})
    return experiment.run_experiment(config, path)


def read_predictions(path: Path) -> list[dict]:
    with open(path / 'predictions.csv', newline='') as file:
        return list(csv.DictReader(file))


def read_losses(path: Path) -> list[float]:
    """Returns the emotion loss of every run and epoch."""
    lines = (path / 'metrics.jsonl').read_text().splitlines()
    return [json.loads(line)['emotion_loss'] for line in lines]


@pytest.fixture(scope='module')
def soft(voted, once) -> Path:
    """Returns the workdir of a sweep with soft labels and annotator dropout."""
    return once('soft', lambda path: sweep(voted, path, **SOFT))


@pytest.mark.slow
def test_one_vote_for_each_class_trains_as_the_classes_do(agreed, tmp_path):
    """To 1e-6 on posteriors and losses: XLA may compile the two losses to other roundings."""
    sweep(agreed, tmp_path / 'hard')
    sweep(agreed, tmp_path / 'soft', **{'train.soft_labels': True})
    hard, soft = (read_predictions(tmp_path / name) for name in ('hard', 'soft'))
    names = ('run', 'fold', 'utterance', 'truth')
    assert [[row[name] for name in names] for row in soft] == [
        [row[name] for name in names] for row in hard
    ]
    for name in ('angry', 'sad'):
        posteriors = [[float(row[name]) for row in rows] for rows in (soft, hard)]
        np.testing.assert_allclose(*posteriors, atol=1e-6, rtol=0)
    losses = [read_losses(tmp_path / name) for name in ('soft', 'hard')]
    np.testing.assert_allclose(*losses, atol=1e-6, rtol=0)


def test_utterances_without_a_class_train_and_are_not_tested(soft, voted, tmp_path):
    results = json.loads((soft / 'results.json').read_text())
    tested = {row['utterance'] for row in read_predictions(soft)}
    hard = sweep(voted, tmp_path)
    assert tested == {row['utterance'] for row in read_predictions(tmp_path)}
    assert hard['left_out'] == {'other': 12}
    assert results['left_out'] == {}
    note = "trained on the raters' votes, of which 30 % are dropped at random in each step; 12 utt"
    assert note in results['protocol']
    assert "raters' votes" not in hard['protocol']
    assert results['split_sha256'] != hard['split_sha256']
    assert results['classes'] == hard['classes'] == ['angry', 'sad']


def test_the_divergence_of_a_posterior_from_its_votes_is_written_in_nats(soft):
    """Votes for a class that no utterance has do not count."""
    rows = read_predictions(soft)
    for row in rows:
        p_angry, p_sad = float(row['angry']), float(row['sad'])
        expected = -np.log(p_sad)
        if row['truth'] == 'angry':
            expected = 2 / 3 * np.log(2 / 3 / p_angry) + 1 / 3 * np.log(1 / 3 / p_sad)
        assert float(row['vote_kl']) == pytest.approx(expected, rel=1e-6, abs=1e-8)
    results = json.loads((soft / 'results.json').read_text())
    assert all(row['vote_kl'] > 0 for row in results['summary'])


@pytest.mark.slow
def test_a_resumed_sweep_drops_the_same_votes(soft, voted, tmp_path, monkeypatch):
    """To the bit."""

    def is_requested(self, reached_epoch):
        return reached_epoch == 1

    with monkeypatch.context() as patch:
        patch.setattr(distributed.Termination, 'is_requested', is_requested)
        with pytest.raises(distributed.Preempted):
            sweep(voted, tmp_path, **SOFT)
    sweep(voted, tmp_path, **SOFT)
    for name in ('predictions.csv', 'metrics.jsonl'):
        assert (tmp_path / name).read_bytes() == (soft / name).read_bytes()


@pytest.mark.slow
def test_votes_and_ratings_train_together(voted, tmp_path):
    folder = shutil.copytree(voted, tmp_path / 'data')
    file = npz.npz_path(folder, 'folder', LogMel())
    with np.load(file) as content:
        columns = dict(content)
    shape = columns['rating_NxA'].shape
    ratings_NxA = np.random.default_rng(0).uniform(-1, 1, shape)
    columns['rating_NxA'] = ratings_NxA.astype(np.float32)
    np.savez(file, **columns)
    changes = SOFT | {'task': 'emotion+ratings', 'data.ratings': ('valence',)}
    results = sweep(folder, tmp_path / 'run', **changes)
    assert {run['status'] for run in results['runs']} == {'ok'}
    row = read_predictions(tmp_path / 'run')[0]
    assert list(row)[-3:] == ['truth_valence', 'valence', 'vote_kl']


# Steps of single methods.
B, T, M, C = 8, 12, 6, 3
SIZES = Sizes(M, C, {'speaker': 4, 'language': 2, 'corpus': 2}, steps=20, votes=5)


def make_config(name: str, dropout: float = 0.4) -> ConfigDict:
    config = tiny_config.get_config()
    config.method = name
    config.train.soft_labels = True
    config.train.annotator_dropout = dropout
    return config


def make_batch(seed: int = 0) -> dict[str, np.ndarray]:
    """Returns a batch in which some examples have no class, and the last one is padding."""
    random = np.random.default_rng(seed)
    frames_B = random.integers(6, T + 1, B).astype(np.int32)
    frames_B[-1] = 0
    votes_BxC = random.integers(0, 6, (B, C)).astype(np.float32)
    votes_BxC[:, 0] += 1
    votes_BxC[-1] = 0
    batch = {
        'mel_BxTxM': random.normal(size=(B, T, M)).astype(np.float16),
        'frames_B': frames_B,
        'mean_BxM': np.zeros((B, M), np.float32),
        'scale_BxM': np.ones((B, M), np.float32),
        'emotion_B': np.array([0, 1, 2, -1, 0, 1, -1, -1], np.int32),
        'labelled_B': np.array([1, 2, 1, 0.5, 1, 1, 1, 0], np.float32),
        'target_B': np.zeros(B, np.float32),
        'votes_BxC': votes_BxC,
    }
    for domain, count in SIZES.domains.items():
        batch[f'{domain}_B'] = random.integers(0, count, B).astype(np.int32)
        batch[f'{domain}_seen_K'] = np.ones(count, np.float32)
    return batch


def make_hyper(method, seed: int, lam: float = 0.2) -> dict:
    hyper = dict(method.hyper)
    if 'lam' in hyper:
        hyper['lam'] = lam
    masks = {'time_mask': 0.0, 'band_mask': 0.0, 'dropout': 0.1, 'weight_decay': 0.01, 'lr': 1e-2}
    hyper = {key: np.float32(value) for key, value in (hyper | masks).items()}
    return hyper | {'seed': np.int32(seed), 'fold': np.int32(0)}


def train(functions: step.Step, hyper: dict, steps: int = 3):
    """Returns the parameters after some steps of a run, or of runs with a first axis."""
    state = functions.init(hyper)
    for number in range(steps):
        state, metrics = functions.update(state, make_batch(number), hyper)
    return jax.device_get((state.params, metrics))


@functools.cache
def plain_params():
    """Returns the parameters after plain training with the seed 0."""
    config = make_config('erm')
    encoder, method = plugins.make_method(config, SIZES)
    functions = step.make_step(encoder, method, SIZES, config.train)
    params, _ = train(step.Step(*map(jax.jit, functions)), make_hyper(method, 0))
    return params


@pytest.mark.parametrize(
    'name', [n if n == 'dann' else pytest.param(n, marks=pytest.mark.slow) for n in METHODS]
)
def test_a_vmapped_run_equals_that_run_by_itself_and_lam_0_is_plain_training(name):
    """With annotator dropout."""
    config = make_config(name)
    encoder, method = plugins.make_method(config, SIZES)
    functions = step.make_step(encoder, method, SIZES, config.train)
    single = step.Step(*map(jax.jit, functions))
    runs = [make_hyper(method, 0, lam=0.0), make_hyper(method, 1), make_hyper(method, 2)]
    stacked = jax.tree.map(lambda *values: np.stack(values), *runs)
    mapped = step.Step(
        jax.jit(jax.vmap(functions.init)),
        jax.jit(jax.vmap(functions.update, in_axes=(0, None, 0))),
        None,
    )
    params_R, _ = train(mapped, stacked)
    for run, hyper in enumerate(runs):
        params, metrics = train(single, hyper)
        own = jax.tree.map(lambda array, run=run: array[run], params_R)
        chex.assert_trees_all_close(own, params, rtol=1e-4, atol=1e-5)
        assert np.isfinite(metrics['emotion_loss'])
    if 'lam' in method.hyper:
        params = plain_params()
        own = jax.tree.map(lambda array: array[0], params_R)
        for branch in params:
            chex.assert_trees_all_close(own[branch], params[branch], rtol=1e-4, atol=1e-5)


def head_loss(batch: dict, key, dropout: float = 0.4) -> float:
    """Returns the loss of the head for a fixed representation of each example."""
    head = make_output_head(make_config('erm', dropout), SIZES)
    random = np.random.default_rng(5)
    z_BxD = random.normal(size=(64, 4)).astype(np.float32)[: len(batch['votes_BxC'])]
    params = head.init(jax.random.PRNGKey(1), z_BxD[:1])
    value, _ = head.loss(params, z_BxD, batch, key)
    return float(value)


def test_padding_changes_no_loss_and_no_dropped_vote():
    batch = make_batch()
    rows = {key: batch[key] for key in ('emotion_B', 'labelled_B', 'votes_BxC')}
    key = jax.random.PRNGKey(2)
    alone = {name: values[:-1] for name, values in rows.items()}
    assert head_loss(rows, key) == pytest.approx(head_loss(alone, key), rel=1e-6)


def test_votes_are_dropped_anew_by_every_key_and_not_without_dropout():
    batch = make_batch()
    keys = [jax.random.PRNGKey(number) for number in range(3)]
    assert len({head_loss(batch, key) for key in keys}) == 3
    assert head_loss(batch, keys[0]) == head_loss(batch, keys[0])
    assert len({head_loss(batch, key, dropout=0.0) for key in keys}) == 1


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'method': 'cdann'}, 'cdann needs one class of each utterance'),
        ({'method': 'didan'}, 'didan needs one class of each utterance'),
        ({'task': 'ratings'}, 'config.task=ratings has none'),
        ({'data.labels': 'rated_valence'}, 'makes classes of mean ratings'),
    ],
)
def test_what_has_no_use_for_votes_is_refused_by_name(changes, message):
    config = tiny_config.get_config()
    config.update_from_flattened_dict({'train.soft_labels': True, **changes})
    with pytest.raises(UserError, match=message):
        validate.plan_programs(config)


def test_annotator_dropout_without_soft_labels_is_refused():
    config = tiny_config.get_config()
    config.train.annotator_dropout = 0.2
    with pytest.raises(UserError, match='there are no votes to drop'):
        validate.plan_programs(config)
