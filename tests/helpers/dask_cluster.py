"""A Dask cluster on this machine: a scheduler and workers, each a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

WITHOUT_DASHBOARD = ('--dashboard-address', ':0', '--no-dashboard')


@contextlib.contextmanager
def start_cluster(folder: Path, workers: int) -> Iterator[str]:
    """Context of a cluster; yields the path of its scheduler file, which is in `folder`."""
    file = folder / 'scheduler.json'
    processes = []
    try:
        with (folder / 'cluster.log').open('w') as log:
            processes.append(
                _start('dask_scheduler', file, log, '--port', '0', '--host', '127.0.0.1')
            )
            for n in range(workers):
                local = folder / f'worker-{n}'
                processes.append(
                    _start('dask_worker', file, log, '--nthreads', '1', '--local-directory', local)
                )
            _wait_for_workers(file, workers)
            yield str(file)
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)  # with the process of a worker that it watches
            process.wait()


def _start(program: str, scheduler_file: Path, log, *options) -> subprocess.Popen:
    """Starts a program of Dask's command line."""
    command = [sys.executable, '-m', f'distributed.cli.{program}', *WITHOUT_DASHBOARD]
    command += ['--scheduler-file', scheduler_file, *options]
    return subprocess.Popen(
        command, stdout=log, stderr=log, cwd=scheduler_file.parent, start_new_session=True
    )


def _wait_for_workers(scheduler_file: Path, workers: int) -> None:
    import distributed

    with distributed.Client(scheduler_file=str(scheduler_file), set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=60)


def worker_processes(scheduler_file: str) -> list[int]:
    """Returns the process ids of the cluster's workers."""
    import distributed

    with distributed.Client(scheduler_file=scheduler_file, set_as_default=False) as client:
        return list(client.run(os.getpid).values())
