"""Checks that a value from a JSON file has the expected types, keys and ranges.

A schema is one of these:
  a type, or a tuple of types: the value is an instance. A truth value is no number.
  [schema]: a list, each item of which fits the schema.
  {'key': schema, 'other?': schema}: a dictionary with these keys; `?` marks those it may lack, or
    have as null. It may have others.
  {str: schema}: a dictionary whose values fit the schema.
  Number(...): a number in a range.
"""

import math
from typing import NamedTuple

TYPE_NAMES = {
    str: 'a text',
    dict: 'a dictionary',
    list: 'a list',
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    type(None): 'null',
}
MAX_SHOWN = 60  # characters of a value in a message


class Number(NamedTuple):
    """A finite number from `low` to `high`."""

    low: float = -math.inf
    high: float = math.inf
    is_whole: bool = False
    above: float = -math.inf  # the number is larger than this

    def __str__(self) -> str:
        words = ['a whole number' if self.is_whole else 'a finite number']
        if self.low > -math.inf:
            words.append(f'of {self.low:g} or more')
        if self.above > -math.inf:
            words.append(f'above {self.above:g}')
        if self.high < math.inf:
            words.append(f'up to {self.high:g}')
        return ' '.join(words)

    def accepts(self, value) -> bool:
        """Returns whether the value is such a number."""
        if isinstance(value, bool) or not isinstance(value, int if self.is_whole else (int, float)):
            return False
        is_finite = isinstance(value, int) or math.isfinite(value)
        return is_finite and self.low <= value <= self.high and value > self.above


def find_violation(value, schema, name: str = '') -> str | None:
    """Returns what is wrong with a value as a clause, or None if it fits the schema.

    `name` is the name of the value in its file, such as runs[3].hyper.
    """
    if isinstance(schema, Number):
        return None if schema.accepts(value) else _describe(name, value, str(schema))
    if isinstance(schema, list):
        return _find_in_list(value, schema[0], name)
    if isinstance(schema, dict):
        return _find_in_dict(value, schema, name)
    types = schema if isinstance(schema, tuple) else (schema,)
    is_wrong_truth = isinstance(value, bool) and bool not in types
    if not isinstance(value, types) or is_wrong_truth:
        return _describe(name, value, ' or '.join(map(TYPE_NAMES.__getitem__, types)))
    return None


def _find_in_list(value, schema, name: str) -> str | None:
    if not isinstance(value, list):
        return _describe(name, value, 'a list')
    for n, item in enumerate(value):
        violation = find_violation(item, schema, f'{name}[{n}]')
        if violation:
            return violation
    return None


def _find_in_dict(value, schema: dict, name: str) -> str | None:
    if not isinstance(value, dict):
        return _describe(name, value, 'a dictionary')
    prefix = f'{name}.' if name else ''
    if list(schema) == [str]:
        schema = dict.fromkeys(value, schema[str])
    for key, part in schema.items():
        is_optional = key not in value and key.endswith('?')
        key = key.removesuffix('?') if is_optional else key
        if is_optional and value.get(key) is None:
            continue
        if key not in value:
            return f'it lacks {prefix}{key}'
        violation = find_violation(value[key], part, f'{prefix}{key}')
        if violation:
            return violation
    return None


def _describe(name: str, value, expected: str) -> str:
    shown = repr(value)
    if len(shown) > MAX_SHOWN:
        shown = f'{shown[:MAX_SHOWN]}...'
    return f'{name or "its content"} is {shown}; expected {expected}'
