"""Writes the tables of several finished sweeps, each method's coefficient chosen on dev, as one Markdown file.

  python -m jaxser.compare runs/A runs/B ... [--whole runs/C ...] [--unmeasured configs] [--out RESULTS.md]

What is said of a sweep is what its config.json and results.json say was run, with all that was changed on the command line.
A row is a method under a setting (structural keys, and what is trained on); of its coefficients that with the best dev UAR,
mean over seeds, is taken in every fold by itself: the dev speakers of one fold are tested in another. lam = 0 is a row of its
own.
"""

import argparse
import shlex
import sys
from pathlib import Path

from etils import epath

from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.wording import pluralize
from jaxser.reporting.markdown import RESULTS_INTRODUCTION, render_results


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.compare', description=__doc__.splitlines()[0]
    )
    parser.add_argument('workdir', nargs='*', type=epath.Path, help='of a finished sweep')
    parser.add_argument(
        '--whole',
        nargs='+',
        type=epath.Path,
        default=[],
        help='workdirs whose every coefficient has a row',
    )
    parser.add_argument(
        '--unmeasured',
        type=Path,
        metavar='FOLDER',
        help='list the configurations in it that no named sweep ran',
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='the file to write, e.g. RESULTS.md; without it the text is printed',
    )
    asked = parser.parse_args()
    if not (asked.workdir or asked.whole):
        parser.error('name one workdir or several, e.g. runs/dann_demo')
    with exit_on_user_error():
        command = f'python -m jaxser.compare {shlex.join(sys.argv[1:])}'
        text = render_results(asked.workdir, asked.whole, asked.unmeasured, command)
        if asked.out:
            if asked.out.exists() and not asked.out.read_text(errors='replace').startswith(
                RESULTS_INTRODUCTION.partition('{')[0]
            ):
                raise UserError(
                    f'{asked.out} is there and was not written by jaxser.compare: choose another --out, or remove it.'
                )
            asked.out.write_text(text)
            print(f'{asked.out}: {pluralize(len(asked.workdir) + len(asked.whole), "sweep")}.')
        else:
            print(text)


if __name__ == '__main__':
    main()
