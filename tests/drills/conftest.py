"""Prints the table of the drills and the seed: `python -m pytest -m drill -s -n 0`.

DRILL_SEED=N repeats the drill with that seed, DRILL_SHARE=0.1 tries a tenth of the cases, and
DRILL_CASE=N only the case of that number.
"""

from drills import drill


def pytest_terminal_summary(terminalreporter) -> None:
    """Prints the table of all drills."""
    if not drill.Drill.table:
        return
    write = terminalreporter.write_line
    write(f'DRILL_SEED={drill.SEED}')
    write(f'{"drill":32} {"tried":>6} {"held":>6} {"refused":>8} {"accepted":>9}')
    for row in drill.Drill.table:
        write(row.line)
