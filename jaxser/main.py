"""Trains and tests the sweep of a configuration.

  python -m jaxser.main --config=configs/dann_demo.py [--workdir=runs/dann_demo]
                        [--config.KEY=VALUE ...]

  --allow_leak=speaker,audio   train although the parts of a fold share speakers or audio; the
                               results say so
  --drop_copies                train without copies: of each group of identical or nearly identical
                               recordings one is kept
  --profile                    write a trace of one epoch, for TensorBoard or ui.perfetto.dev, to
                               WORKDIR/profile
  --distributed                this process is one of several. SLURM, TPU pods and Open MPI are
                               recognised. Elsewhere set JAX_COORDINATOR_ADDRESS,
                               JAX_NUM_PROCESSES and JAX_PROCESS_ID.

The results are written to --workdir, by default runs/ and the name of the configuration. The same
command resumes an interrupted sweep. configs/base.py explains every KEY. Examples:

  --config.train.epochs=10 --config.sweep.lam=0,0.1,1 --config.data.dir=data
"""

import sys
import time

from absl import flags

from configs import command
from configs.loading import default_workdir
from data_pipelines.arguments import check_length
from data_pipelines.errors import exit_on_user_error

PROFILE = flags.DEFINE_bool('profile', False, 'Write a trace of one epoch.')
DISTRIBUTED = flags.DEFINE_bool('distributed', False, 'This process is one of several.')


def main() -> None:
    """Parses the command line and runs the command."""
    start_time = time.time()
    with exit_on_user_error('If a checkpoint has been saved, the same command resumes from it.'):
        if {'--help', '-h', '-help'} & set(sys.argv[1:]):
            print(__doc__)
            return
        config = command.parse_flags(sys.argv, 'jaxser.main')
        # JAX is imported only when the flags are right.
        from jaxser import distributed, stages
        from jaxser.workdir import describe_saved

        distributed.configure_jax()
        if DISTRIBUTED.value:
            distributed.join_processes()
        workdir = command.WORKDIR.value
        if workdir is None:
            workdir = default_workdir(flags.FLAGS['config'].config_filename)
        check_length(workdir, '--workdir')
        try:
            stages.run_stages(config, workdir, PROFILE.value, start_time)
        except distributed.Preempted as preempted:
            distributed.log(f'{preempted} The same command resumes from there.')
            sys.exit(distributed.RESUME_EXIT_STATUS)
        except KeyboardInterrupt:
            saved = describe_saved(workdir, config.train.epochs)
            print(f'\nInterrupted. {saved}', file=sys.stderr)
            sys.exit(130)


if __name__ == '__main__':
    main()
