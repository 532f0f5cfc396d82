"""Which runs of a sweep make its model, and which of their arrays."""

import re

import jax
import numpy as np
import pytest
from helpers import models

from jaxser import plugins
from jaxser.serving.ensemble import choose_setting, find_setting, required_arrays
from jaxser.serving.model import read_model


def make_row(lam: float, dev_uar: float | None, uar: float | None) -> dict:
    return {'lam': lam, 'seeds': 2, 'dev_uar': dev_uar, 'uar': uar, 'probe': None}


def make_run(lam: float, seed: int, fold: int, status: str = 'ok') -> dict:
    return {'hyper': {'lam': lam, 'lr': 0.1, 'seed': seed, 'fold': fold}, 'status': status}


def test_the_setting_is_chosen_by_dev_uar_and_never_by_test_uar():
    """With all its runs that did not diverge."""
    runs = [make_run(lam, seed, fold) for lam in (0.0, 0.3) for seed in (0, 1) for fold in (0, 1)]
    diverged = make_run(0.3, 2, 0, 'nonfinite')
    rows = [make_row(0.0, 0.5, 0.9), make_row(0.3, 0.6, 0.1)]
    setting = choose_setting({'summary': rows, 'runs': [*runs, diverged]})
    assert setting.row['lam'] == 0.3
    assert setting.runs == [run['hyper'] for run in runs[4:]]


def test_a_model_of_ratings_is_chosen_by_dev_ccc():
    """A model of both is chosen by the measure that selects the epoch."""
    runs = [make_run(lam, 0, 0) for lam in (0.0, 0.3)]
    rows = [make_row(0.0, 0.9, None), make_row(0.3, 0.1, None)]
    rows[0]['dev_ccc'], rows[1]['dev_ccc'] = 0.2, 0.4
    results = {'summary': rows, 'runs': runs}
    both = results | {'task': 'emotion+ratings'}
    assert choose_setting(results | {'task': 'ratings'}).row is rows[1]
    assert choose_setting(both | {'selection': 'best dev CCC'}).row is rows[1]
    assert choose_setting(both | {'selection': 'best dev UAR'}).row is rows[0]


@pytest.mark.parametrize(('dev_uar', 'chosen'), [(0.5, 0.3), (None, -0.3)])
def test_a_setting_that_keeps_the_domain_is_chosen_only_if_all_others_diverged(dev_uar, chosen):
    runs = [make_run(lam, 0, 0) for lam in (-0.3, 0.3)]
    rows = [make_row(-0.3, 0.6, None), make_row(0.3, dev_uar, None)]
    assert choose_setting({'summary': rows, 'runs': runs}).row['lam'] == chosen


def test_if_every_seed_lost_a_fold_the_remaining_runs_are_taken():
    """No setting has a dev UAR then; a model of few runs is better than none."""
    runs = [
        make_run(0.0, 0, 0, 'nonfinite'),
        make_run(0.0, 0, 1, 'nonfinite'),
        make_run(0.3, 0, 0),
        make_run(0.3, 0, 1, 'nonfinite'),
    ]
    rows = [make_row(0.0, None, None), make_row(0.3, None, None)]
    setting = choose_setting({'summary': rows, 'runs': runs})
    assert setting.runs == [runs[2]['hyper']]


def test_the_number_of_enrolled_utterances_is_not_chosen():
    """Training is the same: the runs with the most are taken, even if dev prefers another number.

    A method without other numbers is still a candidate.
    """
    rows, runs = [], []
    for lam, enrol, dev_uar in ((0.0, 0, 0.9), (0.0, 4, 0.5), (0.0, 'all', 0.6), (0.3, 2, 0.4)):
        rows.append({'lam': lam, 'enrol': enrol} | make_row(lam, dev_uar, None))
        runs.append({'hyper': {'lam': lam, 'enrol': enrol, 'fold': 0}, 'status': 'ok'})
    assert choose_setting({'summary': rows, 'runs': runs}).row is rows[2]
    rows[3]['dev_uar'] = 0.7
    assert choose_setting({'summary': rows, 'runs': runs}).row is rows[3]


def test_a_setting_has_the_method_of_the_runs():
    """A single swept method is in no row, and config.method may be another one."""
    runs = [{'hyper': {'method': 'erm', 'fold': 0}, 'status': 'ok'}]
    results = {'summary': [make_row(None, 0.5, None)], 'runs': runs}
    del results['summary'][0]['lam']
    config = {'method': 'dann', 'speaker_norm': None, 'similarity': 'conditional'}
    assert find_setting(results, config, 'erm').runs == [runs[0]['hyper']]


def array_names(tree) -> set[str]:
    return {jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(tree)}


def select_like(tree, like):
    """The part of a tree that has its counterpart in another."""
    if not isinstance(like, dict):
        return tree
    return {key: select_like(tree[key], value) for key, value in like.items()}


@pytest.mark.parametrize('name', [*plugins.plugin_names('methods'), 'snp'])
def test_a_model_has_no_heads_that_only_training_reads(name):
    """The same arrays and the same program predict; nothing left is named after a domain."""
    keys = {'method': name, 'domain': 'speaker+language'}
    if name == 'snp':
        keys = {'method': 'speaker_norm', 'speaker_norm': 'snp'}
    run_step, model = models.make_random_model(**keys)
    arrays = model.arrays
    required = required_arrays(run_step.predict, arrays, models.BANDS)
    assert not re.search('speaker|language|corpus', ' '.join(array_names(required)))
    assert {'encoder', 'emotion'} <= {*required['params']}
    if name == 'snp':
        assert 'layer' in required['params']
    for dropped in array_names(arrays) - array_names(required):
        assert re.match(r"\['params'\]\['(speaker|language)'\]", dropped)
    for key in required:
        expected = select_like(arrays[key], required[key])
        jax.tree.map(np.testing.assert_array_equal, required[key], expected)
    batch = {
        'mel_BxTxM': np.zeros((3, 20, models.BANDS), np.float16),
        'frames_B': np.int32([20, 3, 11]),
        'target_B': np.ones(3, np.float32),
        'mean_BxM': np.zeros((3, models.BANDS), np.float32),
        'scale_BxM': np.ones((3, models.BANDS), np.float32),
    }

    def run_scores(run):
        return run_step.predict(run['params'], run['batch_stats'], batch)[1]

    scores = jax.jit(jax.vmap(run_scores))
    assert scores.lower(required).as_text() == scores.lower(arrays).as_text()


def test_the_model_of_a_sweep_has_no_adversary(swept):
    """That of dann is in the checkpoints only."""
    assert {*read_model(swept).arrays['params']} == {'encoder', 'emotion'}
