"""Trains and evaluates the sweep of a configuration.

  python -m jaxser.main --config=configs/dann_demo.py [--workdir=runs/dann_demo] [--config.KEY=VALUE ...]

  [--allow_leak=speaker,audio]   trains although the parts of a fold share speakers or audio; the results say so
  [--profile]       a trace of an epoch, for TensorBoard or ui.perfetto.dev, into WORKDIR/profile
  [--distributed]   this process is one of several: under SLURM and on TPU pods by itself, elsewhere by JAX_COORDINATOR_ADDRESS,
                    JAX_NUM_PROCESSES and JAX_PROCESS_ID

The results go to --workdir, by default runs/ and the configuration's name; the same command resumes what was interrupted.
Every KEY is explained in configs/base.py, e.g. --config.train.epochs=10 --config.sweep.lam=0,0.1,1 --config.data.dir=data
"""

import sys
import time
from pathlib import Path

from absl import flags
from etils import epath

from configs import command
from data_pipelines.errors import exit_on_user_error

PROFILE = flags.DEFINE_bool('profile', False, 'Writes a trace of an epoch.')
DISTRIBUTED = flags.DEFINE_bool('distributed', False, 'This process is one of several.')


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    began = time.time()
    if {'--help', '-h', '-help'} & set(sys.argv[1:]):
        print(__doc__)
        return
    with exit_on_user_error(
        'The same command goes on from the last checkpoint, if there is one already.'
    ):
        config = command.parse_flags(sys.argv, 'jaxser.main')
        from jaxser import distributed
        from jaxser.probing import prober  # JAX is imported once the flags are right
        from jaxser.reporting import page, terminal
        from jaxser.serving import bundling
        from jaxser.training import experiment

        distributed.configure_jax()
        if DISTRIBUTED.value:
            distributed.join_processes()
        file, _, argument = flags.FLAGS['config'].config_filename.partition('.py:')
        name = '_'.join(filter(None, (Path(file).stem, argument)))
        try:
            workdir = command.WORKDIR.value or Path('runs') / name
            results = experiment.run_experiment(config, workdir, PROFILE.value, began)
            if config.probe:
                results = prober.probe_sweep(workdir, config.data.dir, config.model.upstream)
            bundling.bundle_model(workdir, config.data.dir, upstream=config.model.upstream)
            if distributed.is_main_process():
                terminal.print_results(results, epath.Path(workdir))
                page.write_report(epath.Path(workdir))
                print(
                    f'Of your own files: python -m jaxser.predict --workdir {workdir} FILE_OR_FOLDER ...'
                )
        except distributed.Preempted as preempted:
            distributed.log(f'{preempted} The same command goes on from there.')
            sys.exit(distributed.RESUME_EXIT_STATUS)


if __name__ == '__main__':
    main()
