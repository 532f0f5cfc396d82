"""Which runs a configuration means, and what it may not say."""

import numpy as np
import pytest

from configs import base
from data_pipelines.refusal import Refusal
from jaxser import sweep

KNOBS = {'lam': 0.3, 'domain_weight': 1.0}


def given(**changes) -> dict:
    """The sweep of configs/base.py with some values changed."""
    return base.get_config().sweep.to_dict() | changes


def test_the_runs_are_the_product_and_the_last_varies_fastest():
    """Every combination once; the seed is the fastest."""
    runs = sweep.variants(sweep.values(given(lam=(0.0, 1.0), seed=(3, 5), lr=(0.1, 0.2)), KNOBS))
    assert [(r['lam'], r['lr'], r['seed']) for r in runs] == [(a, b, s) for a in (0.0, 1.0) for b in (0.1, 0.2) for s in (3, 5)]


def test_an_empty_tuple_is_the_default_of_the_method():
    """() leaves a knob to the method that has it; other methods never see it."""
    assert sweep.values(given(), KNOBS)['lam'] == (0.3,)
    assert 'lam' not in sweep.values(given(), {})
    assert {'lr', 'weight_decay', 'dropout', 'time_mask', 'band_mask', 'seed'} == set(sweep.values(given(), {}))


def test_a_single_value_is_a_sweep_of_one():
    """A number does as well as a tuple of one."""
    assert sweep.values(given(lam=0.5, seed=7), KNOBS)['lam'] == (0.5,)
    assert len(sweep.variants(sweep.values(given(), KNOBS))) == 1


def test_every_hyper_parameter_is_an_array_of_folds_by_variants():
    """Whole numbers are int32 and the others float32; the fold varies over the first axis."""
    runs = sweep.variants(sweep.values(given(lam=(0.0, 1.0), seed=(3, 5)), KNOBS))
    table = sweep.hyper(runs, [1, 4, 2])
    assert {x.shape for x in table.values()} == {(3, 4)}
    assert {k for k, x in table.items() if x.dtype == np.int32} == {'seed', 'fold'}
    assert {x.dtype for k, x in table.items() if k not in ('seed', 'fold')} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(table['fold'], [[1] * 4, [4] * 4, [2] * 4])
    np.testing.assert_array_equal(table['lam'], [[0, 0, 1, 1]] * 3)
    np.testing.assert_array_equal(table['seed'], [[3, 5, 3, 5]] * 3)


WRONG = {
    'a knob of another method': ({'lam': (0.1,)}, {}, 'config.sweep.lam', 'no such'),
    'a name nobody knows': ({'lamb': (0.1,)}, KNOBS, 'config.sweep.lamb', 'no such'),
    'text for a number': ({'lam': (0.1, 'much')}, KNOBS, 'config.sweep.lam', "'much' is not a number"),
    'a truth value for a number': ({'lr': True}, KNOBS, 'config.sweep.lr', 'True is not a number'),
    'a fraction for a seed': ({'seed': (1, 2.5)}, KNOBS, 'config.sweep.seed', '2.5 is not an integer'),
    'a value twice': ({'lam': (0.1, 0.3, 0.1)}, KNOBS, 'config.sweep.lam', 'twice'),
    'a value twice as 0 and 0.0': ({'lam': (0, 0.0)}, KNOBS, 'config.sweep.lam', 'twice'),
    'nothing for what every method needs': ({'lr': ()}, KNOBS, 'config.sweep.lr', 'empty'),
}


@pytest.mark.parametrize(('changes', 'knobs', 'key', 'what'), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused_by_name(changes, knobs, key, what):
    """The key and the mistake stand in the sentence."""
    with pytest.raises(Refusal) as refusal:
        sweep.values(given(**changes), knobs)
    assert f'{key}' in str(refusal.value)
    assert what in str(refusal.value)


@pytest.mark.parametrize(
    ('fold', 'expected'),
    [
        ('all', [0, 1, 2, 3, 4]),
        ((), [0, 1, 2, 3, 4]),
        ((0, 2), [0, 2]),
        ('0,2', [0, 2]),
        (3, [3]),
        ('3', [3]),
        (('4', '1'), [4, 1]),
    ],
)
def test_folds_are_all_one_or_several(fold, expected):
    """As a configuration file or the command line writes them."""
    assert sweep.folds(fold, 5) == expected


@pytest.mark.parametrize(
    ('fold', 'what'),
    [(7, 'no fold 7'), ((0, -1), 'no fold -1'), ('0,5', 'no fold 5'), ('first', 'config.sweep.fold'), ('', 'config.sweep.fold')],
)
def test_a_fold_that_is_not_there_is_refused(fold, what):
    """The folds there are stand in the sentence."""
    with pytest.raises(Refusal, match=what) as refusal:
        sweep.folds(fold, 5)
    assert '0 to 4' in str(refusal.value)
