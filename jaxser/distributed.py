"""One process or many: JAX's own runtime joins them; process 0 speaks and writes."""

import os
import signal
import sys
import threading
import uuid
from pathlib import Path

import jax
import tqdm
from jax.experimental import multihost_utils

from data_pipelines import progress
from data_pipelines.errors import UserError

RESUME_EXIT_STATUS = 75  # the exit status after SIGTERM: a checkpoint is saved and the same command goes on (EX_TEMPFAIL)


class Preempted(Exception):
    """SIGTERM arrived, and a checkpoint has been saved."""


def configure_jax() -> None:
    """Keeps what is compiled on disk, and makes every core a device; what the user has set in the environment stands."""
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'jaxser' / 'xla'
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    wanted = {
        'jax_compilation_cache_dir': str(cache),
        'jax_persistent_cache_min_compile_time_secs': 0.5,
        'jax_num_cpu_devices': cores,  # runs side by side use two cores better than one product spread over both
    }
    for name, value in wanted.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)


def join_processes() -> None:
    """Makes this process one of several: SLURM, TPU pods and Open MPI are recognised; elsewhere the environment says it."""
    if jax.config.jax_platforms == 'cpu':
        jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    names = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
    address, processes, number = (os.environ.get(n) for n in names)
    try:
        given = {
            'num_processes': processes and int(processes),
            'process_id': number and int(number),
        }
        jax.distributed.initialize(address, **given)
    except (ValueError, RuntimeError) as e:
        said = ', '.join(f'{n}={os.environ.get(n)}' for n in names)
        raise UserError(f'--distributed: the processes could not be joined: {e} ({said})') from None


def is_main_process() -> bool:
    """Whether this is the process that speaks and writes."""
    return jax.process_index() == 0


def log(*words: object) -> None:
    """Prints, once, beside a progress bar if there is one."""
    if is_main_process():
        with tqdm.tqdm.external_write_mode():
            print(*words, flush=True)


def progress_bar(total: int, unit: str) -> tqdm.tqdm:
    """A bar, where this is the process that speaks."""
    return progress.progress_bar(total=total, unit=unit, disable=not is_main_process())


def skip_steps(bar: tqdm.tqdm, count: int) -> None:
    """Moves a bar over what was done before, which is no measure of the speed."""
    if not bar.disable:
        bar.initial += count
        bar.n += count
        bar.refresh()


def wait_for_all(barrier: str) -> None:
    """Until all processes are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(barrier)


def broadcast_from_main(number: int) -> int:
    """What process 0 has."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(number))


def check_shared_folder(folder) -> None:
    """Refuses a workdir that not all processes see."""
    if jax.process_count() == 1:
        return
    token = f'.shared-{broadcast_from_main(uuid.uuid4().int >> 97)}'
    if is_main_process():
        (folder / token).write_text('')
    wait_for_all('token')
    seen = multihost_utils.process_allgather(int((folder / token).exists()))
    wait_for_all('seen')
    if is_main_process():
        (folder / token).unlink()
    if not seen.all():
        missing = [n for n, there in enumerate(seen.ravel()) if not there]
        raise UserError(
            f'{folder} is not shared: process(es) {missing} of {len(seen)} do not see what process 0 writes there. '
            'Choose a --workdir on a file system that all share, or gs://BUCKET/PATH.'
        )


class Termination:
    """Whether SIGTERM has arrived while this is entered; with several processes, agreed on by all."""

    def __enter__(self) -> 'Termination':
        self.asked, self.before = False, None
        if (
            jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
        ):  # Python asks for it
            self.before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_) -> None:
        if self.before is not None:
            signal.signal(signal.SIGTERM, self.before)

    def _ask(self, *_) -> None:
        self.asked = True
        print(
            '\nSIGTERM: stops with a checkpoint at the end of this epoch.',
            file=sys.stderr,
            flush=True,
        )

    def is_requested(self, epoch: int) -> bool:
        """To be called by all processes at the same epochs."""
        if jax.process_count() == 1:
            return self.asked
        try:
            return multihost_utils.reached_preemption_sync_point(epoch)
        except RuntimeError:  # the preemption service is switched off
            return False
