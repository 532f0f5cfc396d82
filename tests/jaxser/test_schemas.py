import pytest

from jaxser.schemas import Number, find_violation

SCHEMA = {
    'classes': [str],
    'speakers?': {str: Number(low=1, is_whole=True)},
    'temperature': Number(above=0),
    'resident': bool,
}
FITTING = {'classes': ['A'], 'temperature': 1, 'resident': True, 'more': None}


@pytest.mark.parametrize('extra', [{}, {'speakers': None}, {'speakers': {'a?': 2}}])
def test_what_fits_has_no_violation(extra):
    assert find_violation(FITTING | extra, SCHEMA) is None


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        ([], 'its content is []; expected a dictionary'),
        ({'classes': []}, 'it lacks temperature'),
        (FITTING | {'classes': 'A'}, "classes is 'A'; expected a list"),
        (FITTING | {'classes': ['A', 1]}, 'classes[1] is 1; expected a text'),
        (FITTING | {'temperature': True}, 'temperature is True; expected a finite number above 0'),
        (FITTING | {'temperature': float('nan')}, 'temperature is nan; expected a finite'),
        (FITTING | {'temperature': -0.4}, 'temperature is -0.4; expected a finite number above 0'),
        (FITTING | {'resident': 1}, 'resident is 1; expected true or false'),
        (FITTING | {'speakers': {'a': 0.5}}, 'speakers.a is 0.5; expected a whole number of 1'),
        (FITTING | {'speakers': {'a': 0}}, 'speakers.a is 0; expected a whole number of 1 or more'),
    ],
)
def test_a_violation_names_the_value_and_what_is_expected(value, message):
    assert find_violation(value, SCHEMA).startswith(message)
