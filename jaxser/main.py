"""Trains and tests the sweep of a configuration.

  python -m jaxser.main --config=configs/dann_demo.py [--workdir=runs/dann_demo]
                        [--config.KEY=VALUE ...]

  --allow_leak=speaker,audio   train although the parts of a fold share speakers or audio; the
                               results say so
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
from pathlib import Path

from absl import flags
from etils import epath

from configs import command
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
        from jaxser import distributed
        from jaxser.workdir import describe_saved

        distributed.configure_jax()
        if DISTRIBUTED.value:
            distributed.join_processes()
        workdir = command.WORKDIR.value
        if workdir is None:
            workdir = default_workdir(flags.FLAGS['config'].config_filename)
        check_length(workdir, '--workdir')
        try:
            run(config, workdir, start_time)
        except distributed.Preempted as preempted:
            distributed.log(f'{preempted} The same command resumes from there.')
            sys.exit(distributed.RESUME_EXIT_STATUS)
        except KeyboardInterrupt:
            saved = describe_saved(workdir, config.train.epochs)
            print(f'\nInterrupted. {saved}', file=sys.stderr)
            sys.exit(130)


def default_workdir(config_file: str) -> Path:
    """Returns runs/NAME for NAME.py, and runs/NAME_ARGUMENT for NAME.py:ARGUMENT."""
    file, _, argument = config_file.partition('.py:')
    name = Path(file).stem
    return Path('runs') / (f'{name}_{argument}' if argument else name)


def run(config, workdir, start_time: float) -> None:
    """Trains, measures leakage and enrolment if configured, saves the model, prints results."""
    from jaxser import distributed
    from jaxser.probing import enrolment_curve, prober
    from jaxser.reporting import page, terminal
    from jaxser.serving import bundling
    from jaxser.training import experiment

    results = experiment.run_experiment(config, workdir, PROFILE.value, start_time)
    data, encoder = config.data.dir, config.model.upstream
    if config.probe:
        results = prober.probe_sweep(workdir, data, encoder)
    if config.data.normalise == 'speaker_enrolled':
        results = enrolment_curve.run_curve(workdir, data, encoder)
    bundling.bundle_model(workdir, data, upstream=encoder)
    if distributed.is_main_process():
        terminal.print_results(results, epath.Path(workdir))
        page.write_report(epath.Path(workdir))
        print(
            'To predict your own files: '
            f'python -m jaxser.predict --workdir {workdir} FILE_OR_FOLDER ...'
        )


if __name__ == '__main__':
    main()
