"""Writes report.html of a finished sweep, a page that loads no other file, and compares sweeps.

  python -m jaxser.report --workdir runs/A [runs/B ...]

The page begins with the results; the evidence for them and the details follow. Training writes it
at its end, together with summary.csv, the table of settings. If there are several workdirs, each
gets its page, and the first also gets comparison.html.

The page is about the setting with the best dev UAR of those that are compared with plain training;
test data choose nothing.
"""

import argparse

from data_pipelines.errors import exit_on_user_error
from jaxser.analysis.finished import check_finished
from jaxser.cli import any_path
from jaxser.reporting.comparison_page import write_comparison
from jaxser.reporting.page import write_report


def main() -> None:
    """Parses the command line and runs the command."""
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.report', description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        '--workdir',
        nargs='+',
        required=True,
        type=any_path,
        help='workdir of a finished sweep, or several of them',
    )
    arguments = parser.parse_args()
    with exit_on_user_error():
        for path in arguments.workdir:
            check_finished(path)  # all of them, before anything is written
        files = [write_report(path) for path in arguments.workdir]
        if len(files) > 1:
            files.append(write_comparison(arguments.workdir))
        for file in files:
            print(file)


if __name__ == '__main__':
    main()
