"""Writes the tables of several finished sweeps as one Markdown file, coefficients chosen on dev.

  python -m jaxser.compare runs/A runs/B ... [--whole runs/C ...] [--unmeasured configs]
      [--out RESULTS.md [--figures docs/figures]]

A sweep is described by its config.json and results.json, which contain what was changed on the
command line. A row is a method under a setting (structural keys, and the subset of the training
part). The coefficient is chosen in every fold separately, by the best dev UAR (mean over seeds):
the dev speakers of one fold are tested in another. lam = 0 has a row of its own.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

from data_pipelines.arguments import local_path
from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize
from jaxser.cli import any_path
from jaxser.reporting.markdown import FIGURES, RESULTS_INTRODUCTION, render_results
from jaxser.workdir_files import WorkdirFiles, read_regular, write_named, write_whole


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.compare', description=__doc__.splitlines()[0]
    )
    parser.add_argument('workdir', nargs='*', type=any_path, help='workdir of a finished sweep')
    parser.add_argument(
        '--whole',
        nargs='+',
        type=any_path,
        default=[],
        help='workdirs of sweeps that get a row for every coefficient',
    )
    parser.add_argument(
        '--unmeasured',
        type=local_path,
        metavar='FOLDER',
        help='list the configurations in this folder that none of the sweeps ran',
    )
    parser.add_argument(
        '--out',
        type=local_path,
        help='the file to write, e.g. RESULTS.md; without it, the text is printed',
    )
    parser.add_argument(
        '--figures',
        type=local_path,
        metavar='FOLDER',
        help='show the figures of every sweep (leakage, enrolment), copied into this folder',
    )
    return parser


def main() -> None:
    """Parses the command line and runs the command."""
    parser = _make_parser()
    arguments = parser.parse_args()
    if arguments.figures and not arguments.out:
        parser.error('--figures needs --out, the file that shows them')
    sweeps = len(arguments.workdir) + len(arguments.whole)
    if not sweeps:
        parser.error('name one or more workdirs, e.g. runs/dann_demo')
    with exit_on_user_error():
        command = f'python -m jaxser.compare {shlex.join(sys.argv[1:])}'
        if arguments.out:
            _check_replaceable(arguments.out)
        figures = {}
        if arguments.figures:
            paths = [*arguments.workdir, *arguments.whole]
            figures = _copy_figures(paths, arguments.figures, arguments.out)
        text = render_results(
            arguments.workdir, arguments.whole, arguments.unmeasured, command, figures
        )
        if arguments.out:
            write_named(arguments.out, text)
            print(f'{arguments.out}: {pluralize(sweeps, "sweep")}.')
        else:
            print_text(text, kept='\n\t')


def _copy_figures(workdirs: list, folder: Path, file: Path) -> dict[str, dict[str, str]]:
    """Copies the figures of the workdirs into a folder; returns links to them from `file`.

    The links are {name: link} by workdir. What was not measured has no figure.
    """
    links: dict[str, dict[str, str]] = {}
    for workdir in workdirs:
        for name in FIGURES:
            if not WorkdirFiles(workdir).exists(name):
                continue
            folder.mkdir(parents=True, exist_ok=True)
            copy = folder / f'{workdir.name}_{name}'
            write_whole(copy, _read_figure(workdir / name))
            link = Path(os.path.relpath(copy, file.parent)).as_posix()
            links.setdefault(str(workdir), {})[name] = link
    return links


def _read_figure(file: Path) -> bytes:
    return read_regular(file, 'Copy it again, or remove it: then the comparison does without it.')


def _check_replaceable(file: Path) -> None:
    """Raises UserError when a file exists that this command has not written."""
    if not file.is_file():  # to read a pipe would block
        return
    own_beginning = RESULTS_INTRODUCTION.partition('{')[0]
    if not file.read_text(errors='replace').startswith(own_beginning):
        raise UserError(
            f'{file} exists and was not written by jaxser.compare. Choose another --out, or remove '
            'the file.'
        )


if __name__ == '__main__':
    main()
