"""Makes the model of a finished sweep: WORKDIR/model, which predicts without corpus or checkpoints.

  python -m jaxser.bundle --workdir runs/dann_demo
      [--data data] [--upstream FOLDER] [--carry_upstream] [--setting "dann, lam = 0.3"]

Training does this at its end; the command is for a sweep without a model, or to save another
setting. It takes the setting with the best mean dev UAR, or dev CCC for ratings (a setting is what
was swept, without seed and fold), or that of --setting, and all its runs that did not diverge. The
model averages their posteriors and ratings. Each run was trained without some of the speakers, so
the average has no dev part of its own: its results and its temperature are those of the single
runs. Ratings have no temperature.

model.safetensors   params/..., batch_stats/... and, under `global` normalisation, mean and scale;
                    under `speaker_enrolled` also prior/..., from which the offset of a speaker is
                    estimated. The first axis of all is R, the runs. They are what prediction reads:
                    the heads of domains, which contain information about the speakers, are left out
model.json          all else that prediction needs, and where the model comes from
upstream/           with --carry_upstream: the pretrained encoder of the model (config.json,
                    model.safetensors). Without the option, model.json has its folder and the sha256
                    of its weights only, as its licence may forbid copies. If the encoder was
                    fine-tuned, model.safetensors contains the changes to it
"""

from data_pipelines.errors import exit_on_user_error
from data_pipelines.terminal import print_text
from jaxser import distributed
from jaxser.cli import make_workdir_parser
from jaxser.serving.bundling import bundle_model
from jaxser.serving.model import read_model
from jaxser.serving.setting import describe_setting


def main() -> None:
    """Parses the command line, makes the model, and prints its files and its setting."""
    parser = make_workdir_parser('jaxser.bundle', __doc__)
    parser.add_argument(
        '--carry_upstream',
        action='store_true',
        help='copy the pretrained encoder into the folder of the model, if its licence allows that',
    )
    parser.add_argument(
        '--setting',
        help='save this setting, e.g. "dann, lam = 0.3", as the page writes it (default: that with '
        'the best dev UAR, or dev CCC for ratings)',
    )
    arguments = parser.parse_args()
    distributed.configure_jax()
    with exit_on_user_error():
        folder = bundle_model(
            arguments.workdir,
            arguments.data,
            arguments.carry_upstream,
            arguments.upstream,
            arguments.setting,
        )
        names = sorted(path.name for path in folder.iterdir())
        print(f'{folder}: {", ".join(names)}')
        is_named = arguments.setting is not None
        print_text(describe_setting(read_model(folder).metadata, is_named))


if __name__ == '__main__':
    main()
