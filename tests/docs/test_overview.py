"""Protects the overview of results: its figures are those of the tables that it is read from."""

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / 'docs' / 'overview.py'

spec = importlib.util.spec_from_file_location('overview', SCRIPT)
overview = importlib.util.module_from_spec(spec)
spec.loader.exec_module(overview)

TABLE = """
## runs/other

| method | chosen | UAR | - plain |  |
|---|---|---|---|---|
| erm |  | 0.111 |  |  |

## runs/mine

`python -m jaxser.main --config=configs/forgetting.py:mine`

| method | chosen | UAR (pooled) | ± | - plain |  | leakage of training speakers |
|---|---|---|---|---|---|---|
| erm |  | 0.888 | 0.004 |  |  | 0.413 (MLP) [0.325, 0.501], chance 0.167 |
| dann | lam 0.03 | 0.898 | 0.001 | +0.010 | [+0.004, +0.012] | 0.287 (RBF), chance 0.167 |
| dann | lam 0.3 | 0.886 | 0.004 | -0.002 | [-0.009, +0.006] | 0.489 (MLP), chance 0.167 |

| method | chosen |
|---|---|
| leace | the next table is not read |
"""


def test_the_page_and_the_figures_are_those_of_the_tables():
    """`python docs/overview.py` was run after the last change of a table."""
    page = overview.PAGE.read_text()
    assert overview.replace_overview(page) == page
    for name, tasks in {'within': overview.WITHIN, 'across': overview.ACROSS}.items():
        figure = ROOT / 'docs' / 'figures' / f'overview_{name}.svg'
        assert figure.read_text() == overview.forest_plot(tasks)


def test_a_sweep_is_read_from_its_own_first_table():
    """Of several coefficients of a method, the first counts."""
    sweep = overview.read_sweep(TABLE, 'mine')
    assert sweep.command == 'python -m jaxser.main --config=configs/forgetting.py:mine'
    assert set(sweep.results) == {'erm', 'dann'}
    assert sweep.results['dann'] == overview.Result(
        coefficient='lam 0.03',
        uar=0.898,
        difference=0.010,
        interval=(0.004, 0.012),
        leakage=(0.287, None),
        chance=(0.167, None),
    )
    assert sweep.results['erm'].difference is None
    with pytest.raises(ValueError, match='no sweep runs/none'):
        overview.read_sweep(TABLE, 'none')


def test_a_table_of_ratings_is_refused():
    """Differences in CCC and in UAR do not belong in one table."""
    table = TABLE.replace('UAR', 'CCC')
    with pytest.raises(ValueError, match=r'no column UAR, but method, chosen, CCC .pooled.'):
        overview.read_sweep(table, 'mine')


@pytest.mark.parametrize(
    ('interval', 'text'),
    [
        ((0.001, 0.02), '**+0.010**'),
        ((-0.03, -0.001), '**+0.010**'),
        ((-0.01, 0.02), '+0.010'),
        (None, '+0.010'),
    ],
)
def test_a_difference_is_bold_if_its_interval_excludes_0(interval, text):
    """Without an interval nothing is shown, so it is not bold."""
    result = overview.Result('', 0.9, 0.01, interval, (None, None), (None, None))
    assert overview.format_difference(result) == text
    assert overview.format_difference(result._replace(is_fallback=True)) == text + r' \*'


def test_every_result_is_a_line_in_the_forest_plot():
    """A point is where its difference is; what is beyond the axis has an arrow."""
    _, results = overview.read_task(overview.WITHIN[2])
    shapes, _ = overview.draw_panel(overview.WITHIN[2])
    panel = ElementTree.fromstring(f'<g>{shapes}</g>')
    points = [float(circle.get('cx')) for circle in panel.iter('circle')]
    methods = [method for method in overview.METHODS if method in results]
    assert points == [overview.position(results[method].difference) for method in methods]
    left, middle, right = (overview.position(x) for x in (-0.2, 0.0, 0.2))
    assert middle == pytest.approx((left + right) / 2, abs=0.1)
    far = overview.Result('', 0.9, 0.3, (0.1, 0.5), (None, None), (None, None))
    assert len(overview.draw_estimate(far, 0)) == 2  # a line and an arrow, and no point
