"""Tests of the words in messages."""

import pytest

from data_pipelines.wording import join_first, pluralize


@pytest.mark.parametrize(
    ('texts', 'expected'),
    [([], ''), (['a'], 'a'), (['a', 'b'], 'a, b'), (['a', 'b', 'c'], 'a, b, and 1 more')],
)
def test_of_long_lists_the_first_are_named_and_the_others_counted(texts, expected):
    assert join_first(texts, 2) == expected


@pytest.mark.parametrize(
    ('count', 'noun', 'expected'),
    [
        (1, 'run', '1 run'),
        (0, 'run', '0 runs'),
        (1, 'class', '1 class'),
        (11, 'class', '11 classes'),
    ],
)
def test_nouns_of_counts_are_plural_unless_it_is_one(count, noun, expected):
    assert pluralize(count, noun) == expected
