"""Tests of the words in messages."""

import pytest

from data_pipelines.wording import join_first


@pytest.mark.parametrize(
    ('texts', 'expected'),
    [([], ''), (['a'], 'a'), (['a', 'b'], 'a, b'), (['a', 'b', 'c'], 'a, b, and 1 more')],
)
def test_of_long_lists_the_first_are_named_and_the_others_counted(texts, expected):
    assert join_first(texts, 2) == expected
