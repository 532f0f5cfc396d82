"""The folder of a sweep: one process writes in it, and what it never began leaves nothing."""

import json
import subprocess
import sys

import pytest

from configs import base
from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser.workdir import Workdir

ANOTHER = """
import fcntl, sys
file = open(sys.argv[1], 'w')
fcntl.flock(file, fcntl.LOCK_EX)
print('held', flush=True)
sys.stdin.read()
"""


def test_two_processes_never_write_in_one_folder(tmp_path):
    """The second is told so, and may come when the first has gone; one process may open its folder twice."""
    first = Workdir(tmp_path, base.get_config())
    assert Workdir(tmp_path, base.get_config()).lock is first.lock
    del first
    words = [sys.executable, '-c', ANOTHER, str(tmp_path / '.lock')]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b'held\n'
        with pytest.raises(UserError, match=f'Another process is using {tmp_path}'):
            Workdir(tmp_path, base.get_config())
        other.kill()
    Workdir(tmp_path, base.get_config())


def test_a_folder_is_forsaken_only_if_nothing_is_in_it(tmp_path):
    """What is in it may be a person's."""
    place = Workdir(tmp_path / 'new', base.get_config())
    place.remove_if_empty()
    assert not (tmp_path / 'new').exists()
    place = Workdir(tmp_path / 'new', base.get_config())
    (tmp_path / 'new' / 'notes').touch()
    place.remove_if_empty()
    assert (tmp_path / 'new' / 'notes').exists()


BREAKS = ('\r', '\n', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\x85', '\u2028', '\u2029')


def concluded(place: Workdir, group: int, lam: float, names: list[str]) -> list[dict]:
    """Ends a group of one run; returns its rows."""
    columns = {'run': f'lam={lam:g} seed=0', 'fold': '0'}
    rows = [
        columns | {'utterance': name, 'speaker': name, 'truth': 'sad', 'sad': '0.5'}
        for name in names
    ]
    place.save_outcome(group, {'runs': [{'hyper': {'lam': lam, 'seed': 0, 'fold': 0}}]}, rows)
    return rows


def test_predictions_of_all_groups_are_gathered_whatever_their_names(tmp_path):
    """A name may hold what ends a line elsewhere; a group of runs that all diverged has no rows."""
    place, names = Workdir(tmp_path, base.get_config()), [f's{b}1' for b in BREAKS]
    rows = concluded(place, 0, 0.1, names)
    place.save_outcome(1, {'runs': []}, [])
    rows += concluded(place, 2, 0.3, ['plain', *names])
    assert list(place.merge_predictions(3)) == rows
    assert (tmp_path / 'predictions.csv').read_bytes().decode() == csv_files.format_rows(rows)


def test_lines_end_with_a_newline_alone(tmp_path):
    """Those of metrics.jsonl: another program may have written U+2028 as it is."""
    lines = [json.dumps({'run': f's{b}1'}, ensure_ascii=False) + '\n' for b in BREAKS]
    (tmp_path / 'metrics.jsonl').write_bytes(''.join(lines).encode())
    place = Workdir(tmp_path, base.get_config())
    assert place.read_lines('metrics.jsonl') == lines
    assert place.read_lines('nowhere.jsonl') == []
