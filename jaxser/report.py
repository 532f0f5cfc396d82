"""Writes report.html of a finished sweep, one page that needs nothing else, and compares several.

  python -m jaxser.report --workdir runs/A [runs/B ...]

The page is read from the top: what came out, the evidence for it, the details. Training writes it at its end; summary.csv beside
it has the table of settings. With several workdirs each gets its page, and the first comparison.html.

The setting of which the page speaks is the one with the best dev UAR of those that are compared with plain training; test chooses
nothing.
"""

import argparse

from etils import epath

from data_pipelines.errors import exit_on_user_error
from jaxser.reporting.comparison_page import write_comparison
from jaxser.reporting.page import write_report


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.report', description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        '--workdir',
        nargs='+',
        required=True,
        type=epath.Path,
        help='of a finished sweep, or of several',
    )
    asked = parser.parse_args()
    with exit_on_user_error():
        files = [write_report(path) for path in asked.workdir]
        if len(files) > 1:
            files.append(write_comparison(asked.workdir))
        print('\n'.join(map(str, files)))


if __name__ == '__main__':
    main()
