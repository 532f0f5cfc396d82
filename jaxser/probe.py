"""Measures leakage: what a frozen representation contains of speaker, sex, language and corpus.

  python -m jaxser.probe --workdir runs/dann_demo [--data data] [--upstream FOLDER]

Fits attackers (jaxser/probing/attackers: four kinds of new classifiers) for these domains and for
the emotion on the representation of every run of a finished sweep, and verifies speakers with it.
The emotion is not attacked where only ratings are predicted. Where there are very many speakers or
utterances, attackers have a random sample of them, the same for all runs
(jaxser/probing/sampling.py).
Speakers of training and unseen speakers are probed. Attackers share nothing with the heads of the
training. For reference they also get the input (mean and standard deviation of every band over an
utterance), and the outputs alone: the emotion scores, the predicted ratings, or both. The results
are added to results.json.
Training does the same at its end.
"""

from data_pipelines.errors import exit_on_user_error
from jaxser import distributed
from jaxser.cli import make_workdir_parser
from jaxser.probing.prober import probe_sweep
from jaxser.reporting import page, terminal


def main() -> None:
    """Parses the command line, probes the sweep, prints its results and writes its report."""
    arguments = make_workdir_parser('jaxser.probe', __doc__).parse_args()
    distributed.configure_jax()
    with exit_on_user_error():
        results = probe_sweep(arguments.workdir, arguments.data, arguments.upstream)
        terminal.print_results(results, arguments.workdir)
        if distributed.is_main_process():
            page.write_report(arguments.workdir)


if __name__ == '__main__':
    main()
