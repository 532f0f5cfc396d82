"""Words for the counts in messages."""


def pluralize(count: int, noun: str) -> str:
    """Returns a count with its noun: '1 run', '2 runs'."""
    ending = '' if count == 1 else 's'
    return f'{count} {noun}{ending}'
