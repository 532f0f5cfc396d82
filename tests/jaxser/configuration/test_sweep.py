"""Tests of the programs and runs of a sweep, and of the errors in config.sweep."""

import sys

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from configs import base
from data_pipelines.errors import UserError
from data_pipelines.protocols.subsets import Subset
from jaxser.configuration import sweep
from jaxser.runs import run_label, varying_keys

HYPER = {'dann': {'lam': 0.3, 'domain_weight': 1.0}, 'confusion': {'lam': 0.3}, 'erm': {}}
MAY_BE_NEGATIVE = {'dann': ('lam',)}


def describe_method(config) -> sweep.MethodFacts:
    """Returns the facts of a method with the hyper-parameters above."""
    return sweep.MethodFacts(
        HYPER[config.method], may_be_negative=MAY_BE_NEGATIVE.get(config.method, ())
    )


def make_programs(config) -> list[sweep.Program]:
    """Returns the programs of a configuration, for methods with the hyper-parameters above."""
    return sweep.make_programs(config, describe_method)


def programs_of(**keys) -> list[sweep.Program]:
    """Returns the programs of configs/base.py with `keys` as config.sweep; the method is dann."""
    config = base.get_config()
    config.sweep = keys
    return make_programs(config)


def variants_of(**keys) -> list[dict]:
    """Returns the variants of a sweep that is one program."""
    (program,) = programs_of(**keys)
    return program.variants


def test_a_comma_at_the_end_of_a_list_of_words_adds_no_word():
    """As after a single number: --config.sweep.lam=0, is a list too."""
    methods = [program.config.method for program in programs_of(method='erm,')]
    assert methods == ['erm']


def test_the_runs_are_the_product_and_the_seed_varies_fastest():
    """Every combination is there once."""
    runs = variants_of(lam=(0.0, 1.0), seed=(3, 5), weight_decay=(0.1, 0.2))
    expected = [(m, w, s) for m in (0.0, 1.0) for w in (0.1, 0.2) for s in (3, 5)]
    assert [(r['lam'], r['weight_decay'], r['seed']) for r in runs] == expected


def test_an_empty_tuple_is_the_default_of_the_method():
    """Methods that do not have the hyper-parameter never see it."""
    (run,) = variants_of(lam=())
    assert (run['lam'], run['domain_weight']) == (0.3, 1.0)
    (run,) = variants_of(lam=(), method='erm')
    assert set(run) == {'method', 'lr', 'weight_decay', 'dropout', 'time_mask', 'band_mask', 'seed'}


def test_a_listed_run_may_set_a_hyper_parameter_that_base_does_not_list(monkeypatch):
    """So a new method with a hyper-parameter of its own needs only its file."""
    monkeypatch.setitem(HYPER, 'dann', {'lam': 0.3, 'beta': 0.1})
    runs = variants_of(runs=({'beta': 0.0}, {'beta': 0.5}))
    assert [(r['lam'], r['beta']) for r in runs] == [(0.3, 0.0), (0.3, 0.5)]
    with pytest.raises(UserError, match=r'config\.sweep\.runs: beta'):
        variants_of(runs=({'method': 'erm', 'beta': 0.5},))


def test_a_single_value_is_a_sweep_of_one():
    """It may be written without a tuple."""
    (run,) = variants_of(lam=0.5, seed=7)
    assert (run['lam'], run['seed']) == (0.5, 7)


def test_a_replaced_sweep_has_the_defaults_of_base():
    """A configuration may set config.sweep as a whole; other keys have the values of base."""
    changed = base.get_config()
    changed.sweep.lam = (0.0, 0.5)
    (replaced,) = programs_of(lam=(0.0, 0.5))
    (expected,) = make_programs(changed)
    assert replaced.variants == expected.variants
    assert [r['lr'] for r in replaced.variants] == [*base.get_config().sweep.lr] * 2


def test_listed_runs_are_crossed_with_the_rest():
    """Keys that a listed run sets are fixed in it; all other keys vary, the seed fastest."""
    runs = variants_of(runs=({'lam': 0.1, 'lr': 1e-3}, {'lam': 1.0}), seed=(0, 1), lr=(0.1, 0.2))
    expected = [
        (0.1, 1e-3, 0),
        (0.1, 1e-3, 1),
        (1.0, 0.1, 0),
        (1.0, 0.1, 1),
        (1.0, 0.2, 0),
        (1.0, 0.2, 1),
    ]
    assert [(r['lam'], r['lr'], r['seed']) for r in runs] == expected
    assert {r['domain_weight'] for r in runs} == {1.0}


def test_every_method_is_a_program_of_its_own():
    """A method without the hyper-parameter has one run for all its values."""
    erm, dann = programs_of(method=('erm', 'dann'), lam=(0.0, 0.1, 0.3), seed=(0, 1))
    assert (erm.structure, erm.config.method) == ({'method': 'erm'}, 'erm')
    assert (dann.structure, dann.config.method) == ({'method': 'dann'}, 'dann')
    assert [(r['method'], r['seed']) for r in erm.variants] == [('erm', 0), ('erm', 1)]
    assert all('lam' not in r for r in erm.variants)
    assert [(r['method'], r['lam'], r['seed']) for r in dann.variants] == [
        ('dann', m, s) for m in (0.0, 0.1, 0.3) for s in (0, 1)
    ]


def test_listed_runs_may_name_their_method():
    """For example plain training and two adversaries."""
    erm, dann = programs_of(
        runs=({'method': 'erm'}, {'method': 'dann', 'lam': 0.1}, {'method': 'dann', 'lam': 1.0}),
        seed=(0, 1),
    )
    assert len(erm.variants) == 2
    assert [(r['lam'], r['seed']) for r in dann.variants] == [
        (0.1, 0),
        (0.1, 1),
        (1.0, 0),
        (1.0, 1),
    ]


@pytest.mark.parametrize(
    'changes',
    [{'model': {'width': (8, 16)}}, {'runs': ({'model.width': 8}, {'model': {'width': 16}})}],
    ids=['product', 'list'],
)
def test_every_width_is_a_program_of_its_own(changes):
    """The configuration of a program has it; the configuration of the sweep does not change."""
    config = base.get_config()
    config.sweep = changes
    narrow, wide = make_programs(config)
    assert [(p.config.model.width, p.structure) for p in (narrow, wide)] == [
        (8, {'model.width': 8}),
        (16, {'model.width': 16}),
    ]
    assert [r['model.width'] for p in (narrow, wide) for r in p.variants] == [8, 16]
    assert config.model.width == base.get_config().model.width


@pytest.mark.parametrize(
    ('argument', 'structures'),
    [
        ('--config.sweep.method=erm,dann', [{'method': 'erm'}, {'method': 'dann'}]),
        ('--config.sweep.method=erm', [{'method': 'erm'}]),
        ('--config.sweep.model.width=8,16', [{'model.width': 8}, {'model.width': 16}]),
    ],
)
def test_structural_keys_can_be_swept_on_the_command_line(argument, structures, monkeypatch):
    """Their values are names or numbers, separated by commas."""
    monkeypatch.setattr(sys, 'argv', ['jaxser', argument])  # where ml_collections looks
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_dict('config', base.get_config(), flag_values=values)
    values(sys.argv)
    assert [p.structure for p in make_programs(config.value)] == structures


def test_runs_are_the_variants_on_every_fold():
    """They are ordered by fold, so that a device needs the data of few folds."""
    (program,) = programs_of(lam=(0.0, 1.0))
    assert [(r['fold'], r['lam']) for r in sweep.make_runs(program, [1, 4])] == [
        (1, 0.0),
        (1, 1.0),
        (4, 0.0),
        (4, 1.0),
    ]


def test_a_listed_run_may_name_its_fold():
    """It runs on that fold only; a fold that is not run raises UserError."""
    (program,) = programs_of(runs=({'lam': 0.1, 'fold': 2}, {'lam': 0.3}))
    assert [(r['fold'], r['lam']) for r in sweep.make_runs(program, [0, 2])] == [
        (0, 0.3),
        (2, 0.1),
        (2, 0.3),
    ]
    with pytest.raises(UserError, match=r'no fold 2; the folds to run are 0, 1'):
        sweep.make_runs(program, [0, 1])


def test_every_traced_hyper_parameter_is_an_array_of_runs():
    """Integers are int32, other numbers float32; structural keys are not among them."""
    (program,) = programs_of(method='dann', lam=(0.0, 1.0), seed=(3, 5))
    table = sweep.hyper_arrays(sweep.make_runs(program, [1, 4, 2]), program)
    assert 'method' not in table
    assert {k for k, x in table.items() if x.dtype == np.int32} == {'seed', 'fold'}
    assert {x.dtype for k, x in table.items() if k not in ('seed', 'fold')} == {
        np.dtype(np.float32)
    }
    np.testing.assert_array_equal(table['fold'], [1] * 4 + [4] * 4 + [2] * 4)
    np.testing.assert_array_equal(table['lam'], [0, 0, 1, 1] * 3)
    np.testing.assert_array_equal(table['seed'], [3, 5, 3, 5] * 3)


def test_values_that_share_six_digits_have_different_labels():
    """For example seeds that are dates, and learning rates that are nearly equal."""
    seeds, rates = (20261128, 20261129), (1e-3, 1e-3 * (1 + 1e-6))
    runs = variants_of(lam=(0.1,), seed=seeds, lr=rates)
    assert len({run_label(r, varying_keys(runs)) for r in runs}) == 4


@pytest.mark.parametrize(
    ('changes', 'key'),
    [
        ({'lr': (1e-3, 1e-3 * (1 + 1e-9))}, 'lr'),
        ({'lam': (0.0, 1e-60)}, 'lam'),
        ({'runs': ({'lr': 1e-3, 'lam': 0.1}, {'lr': 1e-3 * (1 + 1e-9), 'lam': 0.1})}, 'lr'),
    ],
    ids=['rates', 'nothing and nearly nothing', 'listed runs'],
)
def test_values_that_are_equal_in_float32_raise_a_user_error(changes, key):
    """Otherwise the same run would be trained twice."""
    with pytest.raises(
        UserError, match=rf'config\.sweep\.{key}: .* are the same number in float32'
    ):
        programs_of(**changes)


def test_values_that_differ_in_float32_are_runs():
    """This holds even if they differ very little."""
    rates = (1e-3, 1e-3 * (1 + 1e-6))
    assert [run['lr'] for run in variants_of(lam=0.1, lr=rates)] == list(rates)


def test_two_runs_of_the_same_name_raise_a_user_error(monkeypatch):
    """Before training, whatever the cause: results are stored by name."""
    monkeypatch.setattr('jaxser.runs.format_value', lambda value: f'{value:.1g}')
    with pytest.raises(UserError, match=r"two runs have the name 'lam=0\.1 seed=0'"):
        programs_of(lam=(0.11, 0.12), lr=1e-3)


def test_subsets_vary_slowest_and_for_every_method():
    """Their keys come first in a run, are not traced, and are always in its label."""
    erm, dann = programs_of(
        method=('erm', 'dann'), lam=(0.0, 1.0), seed=(0, 1), speakers=(4, 8), confounded=0.5
    )
    assert [(r['speakers'], r['seed']) for r in erm.variants] == [(4, 0), (4, 1), (8, 0), (8, 1)]
    assert [(r['speakers'], r['lam'], r['seed']) for r in dann.variants] == [
        (n, m, s) for n in (4, 8) for m in (0.0, 1.0) for s in (0, 1)
    ]
    assert {sweep.run_subset(r) for r in dann.variants} == {Subset(4, 0.5), Subset(8, 0.5)}
    assert not set(sweep.hyper_arrays(sweep.make_runs(dann, [0]), dann)) & set(Subset._fields)
    assert varying_keys(dann.variants) == ['speakers', 'confounded', 'lam', 'seed']
    assert (
        run_label(dann.variants[0], varying_keys(dann.variants))
        == 'speakers=4 confounded=0.5 lam=0 seed=0'
    )


def test_by_default_runs_use_the_whole_training_part():
    """The keys of the subset are not in the run, nor in its label."""
    (run,) = variants_of(lam=0.3)
    assert not set(run) & set(Subset._fields)
    assert sweep.run_subset(run) == Subset()


WRONG = {
    'a fraction of an utterance': (
        {'per_class': (2.5,)},
        'config.sweep.per_class',
        '2.5 is not an integer of at least 1',
    ),
    'no speakers': (
        {'speakers': (0, 4)},
        'config.sweep.speakers',
        '0 is not an integer of at least 1',
    ),
    'confounded above 1': (
        {'confounded': (1.5,)},
        'config.sweep.confounded',
        '1.5 is not a number from 0 to 1',
    ),
    'alpha above 1': (
        {'alpha': (2.0,)},
        'config.sweep.alpha',
        '2.0 is not a number from 0 to 1',
    ),
    'a subset in some of the runs': (
        {'runs': ({'per_class': 5}, {'lam': 1.0})},
        'config.sweep.runs',
        'only some runs set per_class',
    ),
    'a hyper-parameter of another method': (
        {'method': 'erm', 'lam': (0.1,)},
        'config.sweep.lam',
        'erm has no such hyper-parameter',
    ),
    'an unknown key': (
        {'lamb': (0.1,)},
        'config.sweep.lamb',
        "no such hyper-parameter. Did you mean 'lam'?",
    ),
    'an unknown key in a listed run': (
        {'runs': ({'sed': 1},)},
        'config.sweep.runs: sed',
        "Did you mean 'seed'?",
    ),
    'an unknown structural key': (
        {'model': {'widht': (8,)}},
        'config.sweep.model.widht',
        "Did you mean 'model.width'?",
    ),
    'an unknown structural key in a listed run': (
        {'runs': ({'model.dims': 8},)},
        'model.dims',
        "Did you mean 'model.dim'?",
    ),
    'a structural value of the wrong type': (
        {'model': {'width': ('wide',)}},
        'config.sweep.model.width',
        'int',
    ),
    'a structural value twice': ({'method': ('erm', 'erm')}, 'config.sweep.method', 'twice'),
    'text for a number': ({'lam': (0.1, 'much')}, 'config.sweep.lam', "'much' is not a number"),
    'text for a number in a listed run': (
        {'runs': ({'lam': 'much'},)},
        'config.sweep.runs: lam',
        "'much' is not a number",
    ),
    'several numbers in a listed run': (
        {'runs': ({'lam': (0.1, 0.2)},)},
        'config.sweep.runs: lam',
        'is not a number',
    ),
    'a bool for a number': ({'lr': True}, 'config.sweep.lr', 'True is not a number'),
    'a negative number': ({'lr': -1.0}, 'config.sweep.lr', '-1.0 is not a number of at least 0'),
    'NaN': ({'lam': float('nan')}, 'config.sweep.lam', 'nan is not a number that is finite'),
    'minus infinity': ({'lam': -np.inf}, 'config.sweep.lam', '-inf is not a number that is finite'),
    'a negative weight of the domain loss': (
        {'domain_weight': (-1.0,)},
        'config.sweep.domain_weight',
        '-1.0 is not a number of at least 0',
    ),
    'a negative lam of a method that adds a loss': (
        {'method': ('dann', 'confusion'), 'lam': (-1.0, 0.0)},
        'config.sweep.lam',
        '-1.0 is not a number of at least 0, which confusion needs. Only gradient reversal',
    ),
    'a negative lam in a listed run': (
        {'runs': ({'method': 'confusion', 'lam': -1.0},)},
        'config.sweep.lam',
        '-1.0 is not a number of at least 0, which confusion needs',
    ),
    'text among numbers': (
        {'lam': ('0', 'abc')},
        'config.sweep.lam',
        "'abc' is not a number that is finite",
    ),
    'a fraction for a seed': ({'seed': (1, 2.5)}, 'config.sweep.seed', '2.5 is not an integer'),
    'a seed beyond 32 bits': (
        {'seed': (0, 2**31)},
        'config.sweep.seed',
        '2147483648 is not an integer from 0 to 2147483647',
    ),
    'a seed in a listed run beyond 32 bits': (
        {'runs': ({'seed': 2**40},)},
        'config.sweep.runs: seed',
        f'{2**40} is not an integer from 0 to 2147483647',
    ),
    'a value twice': ({'lam': (0.1, 0.3, 0.1)}, 'config.sweep.lam', 'twice'),
    'a value twice as 0 and 0.0': ({'lam': (0, 0.0)}, 'config.sweep.lam', 'twice'),
    'a run twice': ({'runs': ({'lam': 0.1}, {'lam': 0.1})}, 'config.sweep.runs', 'twice'),
    'runs that are not dictionaries': (
        {'runs': (0.1, 0.3)},
        'config.sweep.runs',
        'a tuple of dictionaries',
    ),
    'no value for a key of every method': ({'lr': ()}, 'config.sweep.lr', 'empty'),
}


def test_the_largest_seed_is_2_to_the_31_minus_1():
    """It is an integer of 32 bits, and does not change."""
    (program,) = programs_of(seed=2**31 - 1)
    assert sweep.hyper_arrays(program.variants, program)['seed'].tolist() == [2**31 - 1]


@pytest.mark.parametrize('method', ['dann', ('erm', 'dann')])
def test_gradient_reversal_may_have_a_negative_lam(method):
    """One sweep through zero; a method without lam beside it has no sign to check."""
    programs = programs_of(method=method, lam=(-1.0, -0.3, 0.0, 0.3))
    assert [run['lam'] for run in programs[-1].variants] == [-1.0, -0.3, 0.0, 0.3]


@pytest.mark.parametrize(('changes', 'key', 'expected'), WRONG.values(), ids=WRONG)
def test_a_wrong_value_raises_a_user_error(changes, key, expected):
    """Its message has the key and the mistake."""
    with pytest.raises(UserError) as error:
        programs_of(**changes)
    assert key in str(error.value)
    assert expected in str(error.value)


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
    """A configuration file and the command line can write them."""
    assert sweep.select_folds(fold, 5) == expected


@pytest.mark.parametrize(
    ('fold', 'expected'),
    [
        (7, 'no fold 7'),
        ((0, -1), 'no fold -1'),
        ('0,5', 'no fold 5'),
        ('first', 'config.sweep.fold'),
        ('', 'config.sweep.fold'),
    ],
)
def test_an_unknown_fold_raises_a_user_error(fold, expected):
    """Its message lists the folds that exist."""
    with pytest.raises(UserError, match=expected) as error:
        sweep.select_folds(fold, 5)
    assert '0 to 4' in str(error.value)


def test_no_two_networks_share_a_label():
    """All runs have a structural key that one listed run sets, with the configuration's value."""
    config = base.get_config()
    config.sweep.runs = ({'lam': 0.1, 'model.width': 32}, {'lam': 0.1})
    programs = make_programs(config)
    assert [p.variants[0]['model.width'] for p in programs] == [32, 64]


@pytest.mark.parametrize('name', ['dropout', 'time_mask', 'band_mask'])
def test_dropout_and_masks_are_below_one(name):
    """Training that drops or masks everything learns nothing."""
    config = base.get_config()
    config.sweep[name] = (0.5, 1.5)
    with pytest.raises(
        UserError, match=f'config.sweep.{name}: 1.5 is not a number from 0 to below 1'
    ):
        make_programs(config)
