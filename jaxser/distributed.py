"""One process, or several that JAX joins; process 0, the main process, prints and writes."""

import os
import signal
import sys
import threading
import uuid

import jax
import tqdm
from jax.experimental import multihost_utils

from data_pipelines import progress
from data_pipelines.errors import UserError
from data_pipelines.surroundings import cache_folder
from data_pipelines.terminal import print_text

# The exit status after SIGTERM: a checkpoint is saved, and the same command resumes from it.
RESUME_EXIT_STATUS = 75  # EX_TEMPFAIL of sysexits.h


class Preempted(Exception):
    """SIGTERM arrived, and a checkpoint has been saved."""


def configure_jax() -> None:
    """Caches compiled programs on disk, and makes every CPU core a device.

    An environment variable of the same name as an option has precedence.
    """
    caches = cache_folder()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    options = {
        'jax_compilation_cache_dir': str(caches / 'jaxser' / 'xla') if caches else None,
        'jax_persistent_cache_min_compile_time_secs': 0.5,
        # Runs side by side use several cores better than one matrix product that all share.
        'jax_num_cpu_devices': cores,
    }
    for name, value in options.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)


def join_processes() -> None:
    """Joins the processes of one command.

    SLURM, TPU pods and Open MPI are recognised. Elsewhere the environment variables
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID describe them.
    """
    if jax.config.jax_platforms == 'cpu':
        jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    address = os.environ.get('JAX_COORDINATOR_ADDRESS')
    count = os.environ.get('JAX_NUM_PROCESSES')
    number = os.environ.get('JAX_PROCESS_ID')
    try:
        jax.distributed.initialize(
            address,
            num_processes=int(count) if count else None,
            process_id=int(number) if number else None,
        )
    except (ValueError, RuntimeError) as e:
        raise UserError(
            f'--distributed: the processes could not be joined: {e} '
            f'(JAX_COORDINATOR_ADDRESS={address}, JAX_NUM_PROCESSES={count}, '
            f'JAX_PROCESS_ID={number}). Set the three variables in every process, or leave '
            '--distributed out to run one process.'
        ) from None


def is_main_process() -> bool:
    """Returns whether this is the process that prints and writes."""
    return jax.process_index() == 0


def log(*words: object) -> None:
    """Prints in the main process, above a progress bar if there is one."""
    if is_main_process():
        with tqdm.tqdm.external_write_mode():
            print_text(' '.join(map(str, words)), kept='\n\t', flush=True)


def progress_bar(total: int, unit: str, **tqdm_options) -> tqdm.tqdm:
    """Returns a progress bar, which is shown in the main process; the options are tqdm's."""
    disable = not is_main_process()
    return progress.progress_bar(total=total, unit=unit, disable=disable, **tqdm_options)


def skip_steps(bar: tqdm.tqdm, count: int) -> None:
    """Moves a progress bar over steps that were done earlier; they do not count for its speed."""
    if not bar.disable:
        bar.initial += count
        bar.n += count
        bar.refresh()


def wait_for_all(barrier: str) -> None:
    """Waits until all processes have reached the barrier of this name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(barrier)


def broadcast_from_main(number: int) -> int:
    """Returns the `number` of the main process, in every process."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(number))


def check_shared_folder(folder) -> None:
    """Raises UserError unless all processes see what the main process writes in a folder."""
    if jax.process_count() == 1:
        return
    token = folder / f'.shared-{broadcast_from_main(uuid.uuid4().int >> 97)}'
    if is_main_process():
        token.write_text('')
    wait_for_all('token')
    visible = multihost_utils.process_allgather(int(token.exists())).ravel()
    wait_for_all('seen')
    if is_main_process():
        token.unlink()
    if not visible.all():
        missing = (visible == 0).nonzero()[0].tolist()
        raise UserError(
            f'{folder} is not shared: process(es) {missing} of {len(visible)} do not see what '
            'process 0 writes there. Choose a --workdir on a file system that all share, or '
            'gs://BUCKET/PATH.'
        )


class Termination:
    """A context that notices SIGTERM and Ctrl-C.

    Several processes notice SIGTERM at the same epoch. Ctrl-C raises KeyboardInterrupt as usual.
    Python ignores an exception that is raised in a callback of its garbage collector, such as
    JAX's. So Ctrl-C is also remembered, and `raise_if_interrupted` raises the exception again.
    """

    def __enter__(self) -> 'Termination':
        self.requested = False
        self.interrupted = False
        self.previous_handlers = {}
        # Python allows signal handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            if jax.process_count() == 1:  # with several processes JAX has its own handler
                self._handle(signal.SIGTERM, self._request)
            # Another handler means that Ctrl-C is ignored (nohup) or handled by the caller.
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._handle(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, error_type, *_) -> None:
        for number, handler in self.previous_handlers.items():
            signal.signal(number, handler)
        if error_type is None:
            self.raise_if_interrupted()

    def _handle(self, number: signal.Signals, handler) -> None:
        previous = signal.signal(number, handler)
        if previous is not None:  # None: the handler was not installed by Python
            self.previous_handlers[number] = previous

    def _interrupt(self, *_) -> None:
        self.interrupted = True
        raise KeyboardInterrupt

    def raise_if_interrupted(self) -> None:
        """Raises KeyboardInterrupt if Ctrl-C was pressed and its exception was ignored."""
        if self.interrupted:
            raise KeyboardInterrupt

    def _request(self, *_) -> None:
        self.requested = True
        message = '\nSIGTERM: training stops with a checkpoint at the end of this epoch.'
        print(message, file=sys.stderr, flush=True)

    def is_requested(self, epoch: int) -> bool:
        """Returns whether to stop; all processes must call it at the same epochs."""
        if jax.process_count() == 1:
            return self.requested
        try:
            return multihost_utils.reached_preemption_sync_point(epoch)
        except RuntimeError:  # the preemption service is switched off
            return False
