"""60 kills of prepare, training, probe, bundle, report and export: a repetition ends as without.

Each round kills the command at random times, three times over what the last one has left, and then
lets it end.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from drills import damage
from drills.drill import SEED, SHARE, Drill

pytestmark = [pytest.mark.drill, pytest.mark.filterwarnings('default')]
ROOT = Path(__file__).parent.parent.parent
KILLS_PER_ROUND = 3
KILLS = 60
END_SECONDS = 240
# Of JSON files: durations, and the state of the checkout, in which somebody may work.
LEFT_OUT = ('seconds', 'seconds_of_training', 'groups', 'git_commit', 'facts_sha256')


class Round(NamedTuple):
    """A command, the folder that it writes into, and the folder with which it begins, or none."""

    command: str
    arguments: tuple[str, ...]
    folder: Path
    source: Path | None


def start(task: Round) -> subprocess.Popen:
    """Starts the command, and waits until it is ready to work."""
    path = f'{ROOT}{os.pathsep}{ROOT / "tests"}'
    environment = os.environ | {'JAX_NUM_CPU_DEVICES': '1', 'PYTHONPATH': path}
    process = subprocess.Popen(
        [sys.executable, '-m', 'drills.killed', task.command, *task.arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,  # what follows `ready` is left for communicate()
        start_new_session=True,
    )
    while process.poll() is None and process.stdout.readline() != b'ready\n':
        pass
    return process


def run_to_end(task: Round) -> tuple[int, str, float]:
    """Runs the command; returns its status, its output and the seconds of its work."""
    process = start(task)
    start_time = time.monotonic()
    try:
        output, _ = process.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return -1, f'took more than {END_SECONDS} s', END_SECONDS
    return process.returncode, output.decode(errors='replace'), time.monotonic() - start_time


def kill_after(task: Round, seconds: float) -> None:
    """Starts the command and kills it, with its children, after so many seconds of work."""
    process = start(task)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def without_times(value):
    """Returns a JSON value without `LEFT_OUT`."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in LEFT_OUT}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def fingerprint(folder: Path) -> dict[str, str]:
    """Returns the digests of the files that must be the same, hidden and partial ones included.

    A JSON file has one for each of its keys.
    """
    digests = {}
    for path in sorted(folder.rglob('*')):
        name = str(path.relative_to(folder))
        is_other = name.startswith('tensorboard') or '/checkpoints/' in name or path.name == '.lock'
        # report.html, the card and these facts say how long the training took.
        is_other = is_other or path.name in ('report.html', 'checksums.json')
        if not path.is_file() or is_other:
            continue
        content = path.read_bytes()
        if path.suffix == '.json':
            for key, value in without_times(json.loads(content)).items():
                digests[f'{name}:{key}'] = json.dumps(value)
        else:
            digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def make_rounds(data: Path, swept: Path, folder: Path) -> list[Round]:
    """Returns one round of each command, all of which write below `folder`."""
    workdir = folder / 'sweep'
    at_work = ('--workdir', str(workdir))
    with_data = (*at_work, '--data', str(data))
    train = ('--config=tests/helpers/tiny_config.py', f'--config.data.dir={data}')
    train += (f'--workdir={workdir}', '--config.train.epochs=6')
    prepare = ('folder', '--source', str(data.parent / 'list.csv'), '--workers', '2')
    prepare += ('--out', str(workdir / 'data'))
    export = ('--workdir', str(swept), '--out', str(workdir / 'exported'))
    return [
        Round('prepare', prepare, workdir, None),
        Round('train', train, workdir, None),
        Round('probe', with_data, workdir, swept),
        Round('bundle', with_data, workdir, swept),
        Round('report', at_work, workdir, swept),
        Round('export', export, workdir, None),
    ]


def begin(task: Round) -> None:
    """Makes the folder as it is before the command."""
    if task.source:
        damage.replace_by_copy(task.source, task.folder)
        if task.command == 'bundle':
            shutil.rmtree(task.folder / 'model')
        return
    shutil.rmtree(task.folder, ignore_errors=True)
    task.folder.mkdir(parents=True)


def test_a_repetition_after_kills_gives_the_same_files(data, swept, tmp_path):
    drill = Drill('kills')
    rounds = make_rounds(data, swept, tmp_path)
    right, seconds = {}, {}
    for task in rounds:
        begin(task)
        status, output, seconds[task.command] = run_to_end(task)
        assert status == 0, output
        right[task.command] = fingerprint(task.folder)
    print(f'\nDRILL_SEED={SEED}; seconds of work: {seconds}; SHARE={SHARE}')
    for number, random in drill.cases(KILLS // KILLS_PER_ROUND):
        task = rounds[number % len(rounds)]
        begin(task)
        times = random.uniform(0.05, 1, KILLS_PER_ROUND) * seconds[task.command]
        for after in times:
            kill_after(task, after)
        status, output, _ = run_to_end(task)
        digests = fingerprint(task.folder)
        drill.tried += len(times)
        case = f'case {number}: {task.command} killed after {times.round(2)} s'
        # An export that was killed after its end is refused, because the folder exists.
        is_complete = task.command == 'export' and 'exists already' in output
        if (status != 0 and not is_complete) or 'Traceback' in output:
            drill.fail(case, f'status {status}: {output[-500:]}')
        elif digests != right[task.command]:
            names = {n for n, _ in digests.items() ^ right[task.command].items()}
            drill.fail(case, f'other files: {", ".join(sorted(names)[:8])}')
    drill.fail_if_any()
