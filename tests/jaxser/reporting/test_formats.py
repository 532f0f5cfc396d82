"""Tests of numbers and verdicts as text."""

import pytest

from jaxser.analysis import adversary
from jaxser.reporting import formats


@pytest.mark.parametrize(
    ('p', 'text'),
    [(0.0, '< 0.001'), (0.0009, '< 0.001'), (0.001, '0.001'), (0.0728, '0.073'), (None, '')],
)
def test_a_small_p_value_is_not_zero(p, text):
    assert formats.format_p(p) == text


@pytest.mark.parametrize(
    ('share', 'text'),
    [(0.505, '50.5 %'), (0.905, '90.5 %'), (0.555, '55.5 %'), (0.2, '20 %'), (1.0, '100 %')],
)
def test_percent_has_the_digits_of_the_share(share, text):
    """So that the sentence and the table agree, whatever a half is rounded to."""
    assert formats.format_percent(share) == text


def test_verdicts_are_in_the_words_of_the_cards():
    text = formats.describe_verdicts({'balanced': 3, 'collapsed': 1})
    assert text == 'in part (3 of 4 runs), collapsed (1 of 4 runs)'
    assert formats.describe_verdicts(None) == ''


def test_every_verdict_has_words():
    lines = adversary.__doc__.splitlines()
    verdicts = {line.split()[0] for line in lines if line and '  ' in line}
    assert verdicts == set(formats.VERDICT_WORDS)


@pytest.mark.parametrize(
    ('interval', 'text'),
    [
        (None, ''),
        ((-0.5, 1.25), '[-0.50, 1.25]'),
        ((-3e6, 2e6), 'not estimable'),
        ((-1.5, 0.51), 'not estimable'),  # wider than log2(4)
    ],
)
def test_an_interval_of_bits_is_not_wider_than_the_possible_information(interval, text):
    assert formats.format_bits_interval({'bits_ci95': interval, 'classes': 4}) == text
