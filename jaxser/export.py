"""Writes a finished sweep's model as one folder for jaxser, for JAX alone, or for TensorFlow alone.

  python -m jaxser.export --workdir runs/dann_demo --out DIR
      [--saved_model] [--carry_upstream [--upstream FOLDER]]

model.safetensors, model.json   the model itself: DIR can be the --workdir of jaxser.predict, and of
                                this command
posterior.stablehlo             (mel_BxTxM float16, frames_B int32) -> posterior_BxC, for any B, T
                                from 1 up, as jax.export writes it; includes the weights
                                speaker_offset_RxP is a third input of models in which speakers can
                                be enrolled (config.data.normalise=speaker_enrolled)
outputs.stablehlo               in its place, for a model of ratings: returns {'rating_BxA': ...},
                                from -1 to 1, and 'posterior_BxC' too if the model has classes
README.md                       the model card (jaxser/serving/model_card.py)
saved_model/                    with --saved_model: the same function for TensorFlow

For a model on a frozen encoder, mel_BxTxM are the encoder's states, which jaxser computes from
audio. The encoder is only named, as its licence may forbid copies. With --carry_upstream, or if the
encoder is in the model's folder already, the program includes it. The program then takes the input
of the encoder in float32: samples of 16 kHz (wave_BxL, samples_B) or Whisper's own log-mel. The
encoder is also copied to upstream/, for jaxser.

For a model on a fine-tuned encoder there is a program only if the encoder is copied, as the model
consists of changes to its weights. mel_BxTxM is its input, a frame every 10 ms: 160 samples of
16 kHz, or Whisper's own log-mel.

The features are float16 because the network was trained on float16. A program for float32 would
accept features that are not rounded. It could not round them reliably itself, as XLA may remove a
cast to float16 and back.
"""

import argparse

from data_pipelines.arguments import local_path, path_text
from data_pipelines.errors import exit_on_user_error
from data_pipelines.terminal import print_text
from jaxser import distributed
from jaxser.cli import any_path
from jaxser.serving.exporting import export_model
from jaxser.serving.model import ENCODER_FOLDER, read_model, refuse_damaged_facts
from jaxser.serving.setting import describe_networks


def parse_arguments() -> argparse.Namespace:
    """Returns the parsed command line."""
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.export', description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        '--workdir',
        required=True,
        type=any_path,
        help='the workdir of a finished sweep, or a copy of its folder model/',
    )
    parser.add_argument('--out', required=True, type=local_path, help='the folder to write')
    parser.add_argument(
        '--saved_model',
        action='store_true',
        help='write a SavedModel too; TensorFlow must be installed',
    )
    parser.add_argument(
        '--carry_upstream',
        action='store_true',
        help='copy the pretrained encoder too, if its licence allows that',
    )
    parser.add_argument(
        '--upstream',
        type=path_text,
        help='the Hugging Face folder of the pretrained encoder, if it has been moved since '
        'preparation',
    )
    return parser.parse_args()


def main() -> None:
    """Parses the command line, exports the model and prints its files."""
    arguments = parse_arguments()
    distributed.configure_jax()
    with exit_on_user_error():
        out = export_model(
            arguments.workdir,
            arguments.out,
            arguments.saved_model,
            arguments.carry_upstream,
            arguments.upstream,
        )
        with refuse_damaged_facts(out):
            print_text(describe_networks(read_model(out).metadata))
        names = sorted(path.name for path in out.iterdir())
        print(f'{out}: {", ".join(names)}')
        if (out / ENCODER_FOLDER).exists():
            print(
                'The pretrained encoder was copied too, and its licence applies to the copy. To '
                f'export without it, remove model/{ENCODER_FOLDER}.'
            )


if __name__ == '__main__':
    main()
