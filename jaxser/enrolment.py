"""Measures UAR or CCC, and leakage, by the number of enrolled utterances of each tested speaker.

  python -m jaxser.enrolment --workdir runs/NAME [--draws 10] [--data data] [--upstream FOLDER]

For finished sweeps with config.data.normalise=speaker_enrolled. Nothing is trained: the selected
parameters of every run predict the test part with 0, 1, 2, 4, 8, 16 and all utterances of each
tested speaker enrolled. These are of any emotion, of one emotion, or neutral ones. --draws is the
number of random choices of the enrolled utterances. For ratings it is CCC, with utterances of any
kind enrolled. The results are added to results.json, to the
model and to the report. Training does the same at its end.
"""

from data_pipelines.errors import exit_on_user_error
from jaxser import distributed
from jaxser.cli import make_workdir_parser
from jaxser.probing import enrolment_curve
from jaxser.reporting import page, terminal
from jaxser.serving import bundling

MAX_DRAWS = 1000  # each takes as long as a test of every run


def main() -> None:
    """Parses the command line, measures and prints the curve, and writes the report."""
    parser = make_workdir_parser('jaxser.enrolment', __doc__)
    parser.add_argument(
        '--draws',
        type=int,
        help='the number of random choices of the enrolled utterances (default: '
        f'{enrolment_curve.DRAWS})',
    )
    arguments = parser.parse_args()
    if arguments.draws is not None and not 1 <= arguments.draws <= MAX_DRAWS:
        parser.error(f'--draws is {arguments.draws}; expected a number from 1 to {MAX_DRAWS}')
    distributed.configure_jax()
    with exit_on_user_error():
        results = enrolment_curve.run_curve(
            arguments.workdir,
            arguments.data,
            arguments.upstream,
            arguments.draws or enrolment_curve.DRAWS,
        )
        print_reused(results, arguments.draws)
        bundling.bundle_model(arguments.workdir, arguments.data, upstream=arguments.upstream)
        terminal.print_enrolment(results)
        if distributed.is_main_process():
            page.write_report(arguments.workdir)


def print_reused(results: dict, draws: int | None) -> None:
    """Says that --draws is not used where the curve was measured with more; None: not given."""
    measured = results.get('enrolment', {}).get('draws', 0)
    if draws is not None and measured > draws:
        print(f'Already measured with {measured} draws: --draws {draws} is not used.')


if __name__ == '__main__':
    main()
