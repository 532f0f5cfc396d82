"""Builds the leaderboard from a folder of submissions: a page without scripts, and a JSON file.

  python -m jaxser.leaderboard submissions --out leaderboard [--split TASK=split.csv ...]

A submission is a folder submissions/TASK/SYSTEM with system.json, predictions.csv, and results.json
of jaxser.score. Systems are ranked by the measure of their task, and those that are tied with the
best are marked. Figures are computed again, and a submission whose figures differ is refused. With
the split file of a task, they are computed from its predictions.
"""

import argparse
import json
from pathlib import Path

from data_pipelines.arguments import local_path
from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize
from jaxser.scoring.leaderboard_page import leaderboard_json, leaderboard_page
from jaxser.scoring.ranking import RankedSystem, rank_systems
from jaxser.scoring.submissions import read_submissions
from jaxser.workdir_files import write_whole

PAGE, JSON = 'index.html', 'leaderboard.json'


def main() -> None:
    """Parses the command line, checks and ranks the submissions, and writes the leaderboard."""
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.leaderboard', description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        'submissions', type=local_path, help='the folder with TASK/SYSTEM/ for each submission'
    )
    parser.add_argument('--out', type=local_path, required=True, help='the folder to write')
    parser.add_argument(
        '--split',
        nargs='+',
        default=[],
        metavar='TASK=split.csv',
        help='the split files of tasks, to score their predictions again',
    )
    arguments = parser.parse_args()
    with exit_on_user_error():
        ranked = build_leaderboard(arguments.submissions, parse_splits(arguments.split))
        write_whole(arguments.out / PAGE, leaderboard_page(ranked))
        write_whole(arguments.out / JSON, format_json(ranked))
        for name, systems in ranked.items():
            print_text(describe_ranking(name, systems))
        print_text(f'{arguments.out / PAGE}, {arguments.out / JSON}')


def parse_splits(texts: list[str]) -> dict[str, Path]:
    """Returns the split files by task; UserError for a text that is not TASK=split.csv."""
    splits = {}
    for text in texts:
        task, equals, path = text.partition('=')
        if not (task and equals and path):
            raise UserError(f'--split is {text!r}; expected TASK=split.csv, e.g. emodb_four=a.csv.')
        splits[task] = Path(path)
    return splits


def build_leaderboard(root: Path, splits: dict[str, Path]) -> dict[str, list[RankedSystem]]:
    """Returns the ranked systems of each task; UserError for a submission that is not valid."""
    ranked = {}
    for name, submissions in read_submissions(root, splits).items():
        print_text(f'{name}: comparing {pluralize(len(submissions), "system")} ...')
        ranked[name] = rank_systems(submissions)
    return ranked


def format_json(ranked: dict[str, list[RankedSystem]]) -> str:
    """Returns the text of leaderboard.json."""
    return json.dumps(leaderboard_json(ranked), indent=1, ensure_ascii=False) + '\n'


def describe_ranking(name: str, systems: list[RankedSystem]) -> str:
    """Returns the best system of a task, and those that are tied with it, in one line."""
    best, *others = systems
    measure = best.submission.measure
    tied = [system.submission.name for system in others if system.tied_with_best]
    ties = f'; tied with it: {"; ".join(tied)}' if tied else ''
    return f'{name}: best {measure.title} {best.estimate.value:.3f}: {best.submission.name}{ties}.'


if __name__ == '__main__':
    main()
