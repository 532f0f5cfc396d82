"""Formats numbers and intervals; a value that was not measured becomes an empty text."""

from jaxser.analysis.bootstrap import Estimate


def format_number(value: float | None, number_format: str = 'z.3f') -> str:
    """Returns a number as text; '' for None. The z of the format turns -0 into 0."""
    return '' if value is None else f'{value:{number_format}}'


def format_interval(ci95: tuple[float, float] | None, number_format: str = '.3f') -> str:
    """Returns an interval as text, e.g. '[0.511, 0.711]'; '' for None."""
    if not ci95:
        return ''
    low, high = ci95
    return f'[{low:{number_format}}, {high:{number_format}}]'


def format_estimate(estimate: Estimate | None, number_format: str = 'z.3f') -> tuple[str, str]:
    """Returns an estimate as two texts: its value and its interval; '' if there is none."""
    if estimate is None:
        return '', ''
    interval_format = number_format.replace('z', '')
    return (
        format_number(estimate.value, number_format),
        format_interval(estimate.ci95, interval_format),
    )


def split_cells(cells_by_row: list[list[tuple[str, object]]]) -> tuple[list[str], list[list]]:
    """Returns the headings and the rows of a table.

    A row of `cells_by_row` is a (heading, text) for every column; all rows have the same headings.
    """
    headings, _ = zip(*cells_by_row[0])
    rows = []
    for cells in cells_by_row:
        _, texts = zip(*cells)
        rows.append(list(texts))
    return list(headings), rows


def format_verdicts(counts: dict[str, int] | None) -> str:
    """Returns the number of runs by the verdict on their adversary, e.g. 'inert 3, balanced 1'."""
    if not counts:
        return ''
    return ', '.join(f'{verdict} {count}' for verdict, count in counts.items())
