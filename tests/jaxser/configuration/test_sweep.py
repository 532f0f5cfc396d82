"""Which runs a configuration means, and what it may not say."""

import sys

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from configs import base
from data_pipelines.errors import UserError
from data_pipelines.protocols.subsets import Subset
from jaxser.configuration import sweep
from jaxser.runs import format_value, run_label, varying_keys

HYPER = {'dann': {'lam': 0.3, 'domain_weight': 1.0}, 'erm': {}}


def describe_method(config) -> sweep.MethodFacts:
    """Returns the facts of a method with the hyper-parameters above."""
    return sweep.MethodFacts(HYPER[config.method])


def made(config) -> list[sweep.Program]:
    """The parts of a configuration, for methods with the knobs above."""
    return sweep.make_programs(config, describe_method)


def parts(**changes) -> list[sweep.Program]:
    """Of configs/base.py, with dann, where config.sweep has been replaced by a plain dictionary."""
    config = base.get_config()
    config.sweep = changes
    return made(config)


def variants(**changes) -> list[dict]:
    """Of a sweep that is one program."""
    (part,) = parts(**changes)
    return part.variants


def test_the_runs_are_the_product_and_the_seed_varies_fastest():
    """Every combination once."""
    runs = variants(lam=(0.0, 1.0), seed=(3, 5), weight_decay=(0.1, 0.2))
    expected = [(m, w, s) for m in (0.0, 1.0) for w in (0.1, 0.2) for s in (3, 5)]
    assert [(r['lam'], r['weight_decay'], r['seed']) for r in runs] == expected


def test_an_empty_tuple_is_the_default_of_the_method():
    """() leaves a knob to the method that has it; other methods never see it."""
    (run,) = variants(lam=())
    assert (run['lam'], run['domain_weight']) == (0.3, 1.0)
    (run,) = variants(lam=(), method='erm')
    assert set(run) == {'method', 'lr', 'weight_decay', 'dropout', 'time_mask', 'band_mask', 'seed'}


def test_a_run_may_set_a_knob_that_no_file_lists(monkeypatch):
    """A method of one's own with a knob of its own: nothing but its file is needed to sweep it."""
    monkeypatch.setitem(HYPER, 'dann', {'lam': 0.3, 'beta': 0.1})
    runs = variants(runs=({'beta': 0.0}, {'beta': 0.5}))
    assert [(r['lam'], r['beta']) for r in runs] == [(0.3, 0.0), (0.3, 0.5)]
    with pytest.raises(UserError, match=r'config\.sweep\.runs: beta'):
        variants(runs=({'method': 'erm', 'beta': 0.5},))


def test_a_single_value_is_a_sweep_of_one():
    """A number does as well as a tuple of one, and a word of the command line as a tuple."""
    (run,) = variants(lam=0.5, seed=7)
    assert (run['lam'], run['seed']) == (0.5, 7)


def test_a_replaced_sweep_has_the_defaults_of_base():
    """A configuration may set config.sweep as a whole: what it does not say is as if it had changed one key."""
    changed = base.get_config()
    changed.sweep.lam = (0.0, 0.5)
    (replaced,), (expected,) = parts(lam=(0.0, 0.5)), made(changed)
    assert replaced.variants == expected.variants
    assert [r['lr'] for r in replaced.variants] == [*base.get_config().sweep.lr] * 2


def test_listed_runs_are_crossed_with_the_rest():
    """What a run of the list says is fixed there; all else that is swept varies, the seed fastest."""
    runs = variants(runs=({'lam': 0.1, 'lr': 1e-3}, {'lam': 1.0}), seed=(0, 1), lr=(0.1, 0.2))
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
    """A part for each; the method without the knob has one run for all its values."""
    erm, dann = parts(method=('erm', 'dann'), lam=(0.0, 0.1, 0.3), seed=(0, 1))
    assert (erm.structure, erm.config.method) == ({'method': 'erm'}, 'erm')
    assert (dann.structure, dann.config.method) == ({'method': 'dann'}, 'dann')
    assert [(r['method'], r['seed']) for r in erm.variants] == [('erm', 0), ('erm', 1)]
    assert all('lam' not in r for r in erm.variants)
    assert [(r['method'], r['lam'], r['seed']) for r in dann.variants] == [
        ('dann', m, s) for m in (0.0, 0.1, 0.3) for s in (0, 1)
    ]


def test_listed_runs_may_name_their_method():
    """Plain training beside some adversaries."""
    erm, dann = parts(
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
    """The configuration of a part has it, and the one it was made from is left alone."""
    config = base.get_config()
    config.sweep = changes
    narrow, wide = made(config)
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
def test_structural_keys_are_set_on_the_command_line(argument, structures, monkeypatch):
    """Words and numbers, separated by commas."""
    monkeypatch.setattr(sys, 'argv', ['jaxser', argument])  # where ml_collections looks
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_dict('config', base.get_config(), flag_values=values)
    values(sys.argv)
    assert [p.structure for p in made(config.value)] == structures


def test_runs_are_the_variants_on_every_fold():
    """Fold by fold, so that a device needs the data of few."""
    (part,) = parts(lam=(0.0, 1.0))
    assert [(r['fold'], r['lam']) for r in sweep.make_runs(part, [1, 4])] == [
        (1, 0.0),
        (1, 1.0),
        (4, 0.0),
        (4, 1.0),
    ]


def test_a_listed_run_may_name_its_fold():
    """It is on that fold alone, and a run that names none is on all; a fold that is not run is refused."""
    (part,) = parts(runs=({'lam': 0.1, 'fold': 2}, {'lam': 0.3}))
    assert [(r['fold'], r['lam']) for r in sweep.make_runs(part, [0, 2])] == [
        (0, 0.3),
        (2, 0.1),
        (2, 0.3),
    ]
    with pytest.raises(UserError, match=r'no fold 2; the folds to run are 0, 1'):
        sweep.make_runs(part, [0, 1])


def test_every_traced_hyper_parameter_is_an_array_of_runs():
    """Whole numbers are int32 and the others float32; structural keys are no arrays."""
    (part,) = parts(method='dann', lam=(0.0, 1.0), seed=(3, 5))
    table = sweep.hyper_arrays(sweep.make_runs(part, [1, 4, 2]), part)
    assert 'method' not in table
    assert {k for k, x in table.items() if x.dtype == np.int32} == {'seed', 'fold'}
    assert {x.dtype for k, x in table.items() if k not in ('seed', 'fold')} == {
        np.dtype(np.float32)
    }
    np.testing.assert_array_equal(table['fold'], [1] * 4 + [4] * 4 + [2] * 4)
    np.testing.assert_array_equal(table['lam'], [0, 0, 1, 1] * 3)
    np.testing.assert_array_equal(table['seed'], [3, 5, 3, 5] * 3)


def test_runs_are_named_by_what_differs():
    """And by coefficient and seed where they have them; never by the fold, which a name is shared by."""
    plain = {'method': 'erm', 'width': 64, 'lr': 1e-3, 'seed': 0}
    adversary = plain | {
        'method': 'dann',
        'lam': 0.3,
        'domain_weight': 1.0,
    }  # what a run has not, it does not differ in
    assert varying_keys([r | {'fold': f} for r in (plain, adversary) for f in (0, 1)]) == [
        'method',
        'seed',
        'lam',
    ]
    assert varying_keys([plain | {'fold': 0}]) == ['seed']
    assert varying_keys([plain, plain | {'lr': 0.1}, plain | {'width': 32}]) == [
        'width',
        'lr',
        'seed',
    ]
    assert run_label(adversary, ['method', 'seed', 'lam']) == 'method=dann seed=0 lam=0.3'
    assert run_label(plain, ['method', 'lr', 'lam']) == 'method=erm lr=0.001'


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (0.3, '0.3'),
        (0.0, '0'),
        (1e-5, '1e-05'),
        (1_000_000, '1e+06'),
        (7, '7'),
        (20261128, '20261128'),
        (1 / 3, '0.3333333333333333'),
        (1e-3 * (1 + 1e-6), '0.001000001'),
        (np.float64(0.1) + 0.2, '0.30000000000000004'),
        ('dann', 'dann'),
        (None, ''),
    ],
)
def test_a_value_is_written_in_full(value, text):
    """In six digits where they are exact, as names have always been; else in as many as it takes."""
    assert format_value(value) == text


def test_values_that_share_six_digits_have_names_of_their_own():
    """Seeds that are dates, and learning rates that are nearly equal."""
    seeds, rates = (20261128, 20261129), (1e-3, 1e-3 * (1 + 1e-6))
    runs = variants(lam=(0.1,), seed=seeds, lr=rates)
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
def test_values_that_are_equal_in_float32_are_refused(changes, key):
    """They would train the same run twice."""
    with pytest.raises(
        UserError, match=rf'config\.sweep\.{key}: .* are the same number in float32'
    ):
        parts(**changes)


def test_values_that_differ_in_float32_are_runs():
    """However little."""
    assert [r['lr'] for r in variants(lam=0.1, lr=(1e-3, 1e-3 * (1 + 1e-6)))] == [
        1e-3,
        1e-3 * (1 + 1e-6),
    ]


def test_a_name_of_two_runs_is_refused(monkeypatch):
    """Before training, whatever the cause: results are kept by names."""
    monkeypatch.setattr('jaxser.runs.format_value', lambda value: f'{value:.1g}')
    with pytest.raises(UserError, match=r"two runs have the name 'lam=0\.1 seed=0'"):
        parts(lam=(0.11, 0.12), lr=1e-3)


def test_the_training_part_is_varied_slowest_and_by_every_method():
    """Its dials stand first in a run of any method, are no traced arrays, and are always in the run's name."""
    erm, dann = parts(
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


def test_by_default_the_whole_training_part_trains():
    """A run that says nothing of it has no dial, so that names and tables are as they were."""
    (run,) = variants(lam=0.3)
    assert not set(run) & set(Subset._fields)
    assert sweep.run_subset(run) == Subset()


WRONG = {
    'an utterance of a class in part': (
        {'per_class': (2.5,)},
        'config.sweep.per_class',
        '2.5 is not an integer from 1 up',
    ),
    'no speaker at all': (
        {'speakers': (0, 4)},
        'config.sweep.speakers',
        '0 is not an integer from 1 up',
    ),
    'more than wholly confounded': (
        {'confounded': (1.5,)},
        'config.sweep.confounded',
        '1.5 is not a number from 0 to 1',
    ),
    'more than all of a loss': (
        {'alpha': (2.0,)},
        'config.sweep.alpha',
        '2.0 is not a number from 0 to 1',
    ),
    'a dial that only some runs have': (
        {'runs': ({'per_class': 5}, {'lam': 1.0})},
        'config.sweep.runs',
        'only some runs set per_class',
    ),
    'a knob of another method': (
        {'method': 'erm', 'lam': (0.1,)},
        'config.sweep.lam',
        'erm has no such hyper-parameter',
    ),
    'a name nobody knows': (
        {'lamb': (0.1,)},
        'config.sweep.lamb',
        "no such hyper-parameter. Did you mean 'lam'?",
    ),
    'a name nobody knows in a run': (
        {'runs': ({'sed': 1},)},
        'config.sweep.runs: sed',
        "Did you mean 'seed'?",
    ),
    'a structural name nobody knows': (
        {'model': {'widht': (8,)}},
        'config.sweep.model.widht',
        "Did you mean 'model.width'?",
    ),
    'a structural name nobody knows in a run': (
        {'runs': ({'model.dims': 8},)},
        'model.dims',
        "Did you mean 'model.dim'?",
    ),
    'a structural value of the wrong kind': (
        {'model': {'width': ('wide',)}},
        'config.sweep.model.width',
        'int',
    ),
    'a structural value twice': ({'method': ('erm', 'erm')}, 'config.sweep.method', 'twice'),
    'text for a number': ({'lam': (0.1, 'much')}, 'config.sweep.lam', "'much' is not a number"),
    'text for a number in a run': (
        {'runs': ({'lam': 'much'},)},
        'config.sweep.runs: lam',
        "'much' is not a number",
    ),
    'several numbers in a run': (
        {'runs': ({'lam': (0.1, 0.2)},)},
        'config.sweep.runs: lam',
        'is not a number',
    ),
    'a truth value for a number': ({'lr': True}, 'config.sweep.lr', 'True is not a number'),
    'less than nothing': ({'lr': -1.0}, 'config.sweep.lr', '-1.0 is not a number from 0 up'),
    'not a number': ({'lam': float('nan')}, 'config.sweep.lam', 'nan is not a number from 0 up'),
    'a word among numbers': (
        {'lam': ('0', 'abc')},
        'config.sweep.lam',
        "'abc' is not a number from 0 up",
    ),
    'a fraction for a seed': ({'seed': (1, 2.5)}, 'config.sweep.seed', '2.5 is not an integer'),
    'a seed beyond 32 bits': (
        {'seed': (0, 2**31)},
        'config.sweep.seed',
        '2147483648 is not an integer from 0 to 2147483647',
    ),
    'a seed in a run beyond 32 bits': (
        {'runs': ({'seed': 2**40},)},
        'config.sweep.runs: seed',
        f'{2**40} is not an integer from 0 to 2147483647',
    ),
    'a value twice': ({'lam': (0.1, 0.3, 0.1)}, 'config.sweep.lam', 'twice'),
    'a value twice as 0 and 0.0': ({'lam': (0, 0.0)}, 'config.sweep.lam', 'twice'),
    'a run twice': ({'runs': ({'lam': 0.1}, {'lam': 0.1})}, 'config.sweep.runs', 'twice'),
    'runs that are no dictionaries': (
        {'runs': (0.1, 0.3)},
        'config.sweep.runs',
        'a tuple of dictionaries',
    ),
    'nothing for what every method needs': ({'lr': ()}, 'config.sweep.lr', 'empty'),
}


def test_the_largest_seed_is_kept():
    """2^31 - 1 is the largest 32-bit integer, and reaches the program unchanged."""
    (part,) = parts(seed=2**31 - 1)
    assert sweep.hyper_arrays(part.variants, part)['seed'].tolist() == [2**31 - 1]


@pytest.mark.parametrize(('changes', 'key', 'what'), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused_by_name(changes, key, what):
    """The key and the mistake stand in the sentence."""
    with pytest.raises(UserError) as refusal:
        parts(**changes)
    assert key in str(refusal.value)
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
    assert sweep.select_folds(fold, 5) == expected


@pytest.mark.parametrize(
    ('fold', 'what'),
    [
        (7, 'no fold 7'),
        ((0, -1), 'no fold -1'),
        ('0,5', 'no fold 5'),
        ('first', 'config.sweep.fold'),
        ('', 'config.sweep.fold'),
    ],
)
def test_a_fold_that_is_not_there_is_refused(fold, what):
    """The folds there are stand in the sentence."""
    with pytest.raises(UserError, match=what) as refusal:
        sweep.select_folds(fold, 5)
    assert '0 to 4' in str(refusal.value)


def test_no_two_networks_share_a_name():
    """A structural key that one run of the list names is named by all, with the configuration's own value."""
    config = base.get_config()
    config.sweep.runs = ({'lam': 0.1, 'model.width': 32}, {'lam': 0.1})
    made = sweep.make_programs(config, describe_method)
    assert [p.variants[0]['model.width'] for p in made] == [32, 64]


@pytest.mark.parametrize('name', ['dropout', 'time_mask', 'band_mask'])
def test_a_share_is_below_one(name):
    """Dropping or masking everything is no training."""
    config = base.get_config()
    config.sweep[name] = (0.5, 1.5)
    with pytest.raises(UserError, match=f'config.sweep.{name}: 1.5 is not a number from 0 to below 1'):
        sweep.make_programs(config, describe_method)
