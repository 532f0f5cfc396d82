"""What a frozen representation still tells: fresh classifiers for speaker, sex, language, corpus and emotion, and verification.

  python -m jaxser.probe --workdir runs/dann_demo [--data data] [--upstream FOLDER]

asks a finished sweep, run by run, and writes the answers into its results.json; training does the same at its end. The
classifiers (jaxser/classifiers.py) know nothing of the training-time heads. As a reference the input is asked too: mean and
standard deviation of every band over an utterance.
"""

from data_pipelines.errors import exit_on_user_error
from jaxser import distributed
from jaxser.cli import make_workdir_parser
from jaxser.probing.prober import probe_sweep
from jaxser.reporting import page, terminal


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    asked = make_workdir_parser('jaxser.probe', __doc__).parse_args()
    distributed.configure_jax()
    with exit_on_user_error():
        terminal.print_results(
            probe_sweep(asked.workdir, asked.data, asked.upstream), asked.workdir
        )
        if distributed.is_main_process():
            page.write_report(asked.workdir)


if __name__ == '__main__':
    main()
