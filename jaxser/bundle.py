"""The model that a finished sweep leaves for prediction: WORKDIR/model, which needs neither the corpus nor the checkpoints.

  python -m jaxser.bundle --workdir runs/dann_demo [--data data] [--upstream FOLDER] [--carry_upstream]

Training makes it at its end; the command does for a sweep that has none. Of the settings (all that was swept but seed and fold)
it takes the one of the best mean dev UAR, and of that one every run that did not diverge: their posteriors are averaged. Each
run was trained without some of the speakers, so the average has no dev part of its own: what is known of it, its measures and
its temperature, is known of its runs one by one.

model.safetensors   params/..., batch_stats/... and, under `global` normalisation, mean and scale, all leading with R, the run;
                    only what prediction reads: the heads of the domains, which know the speakers, stay behind
model.json          what else it takes to predict by them, and where they come from
upstream/           of a model over a pretrained encoder, with --carry_upstream, that encoder (config.json, model.safetensors);
                    without, model.json names it by the sha256 of its weights and says where it was: its licence may forbid
                    that it is copied. Of one that is fine-tuned model.safetensors holds the changes, and here is what they change
"""

from data_pipelines.errors import exit_on_user_error
from jaxser import distributed
from jaxser.cli import make_workdir_parser
from jaxser.serving.bundling import bundle_model


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    parser = make_workdir_parser('jaxser.bundle', __doc__)
    parser.add_argument(
        '--carry_upstream', action='store_true', help='put the pretrained encoder beside the model'
    )
    asked = parser.parse_args()
    distributed.configure_jax()
    with exit_on_user_error():
        folder = bundle_model(asked.workdir, asked.data, asked.carry_upstream, asked.upstream)
        print(f'{folder}: {", ".join(sorted(p.name for p in folder.iterdir()))}')


if __name__ == '__main__':
    main()
