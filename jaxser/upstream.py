"""Describes a pretrained speech encoder: wav2vec 2.0, HuBERT, WavLM, or the encoder of Whisper.

  python -m jaxser.upstream FOLDER

prints what a Hugging Face folder, or a model of the Hugging Face Hub such as openai/whisper-small,
contains: the model, its size, its input, and which of its tensors
do not belong to the encoder. The folder has `config.json`, `model.safetensors` or its shards, and
often `preprocessor_config.json` or `processor_config.json`. Pickled files are never opened.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from data_pipelines.arguments import local_path
from data_pipelines.errors import exit_on_user_error
from data_pipelines.features.upstream import STATE_KINDS, EncoderStates
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize
from jaxser.pretrained.encoder import SAMPLE_RATE, PretrainedEncoder, list_tensors, read_encoder
from jaxser.pretrained.extractor import StateExtractor
from jaxser.pretrained.hub import locate_encoder

BYTES_PER_MIB = 2**20

# The code in model cards of earlier versions uses these names.
Frozen = StateExtractor
read = read_encoder


def describe_encoder(folder: str | Path) -> Iterator[str]:
    """Yields the lines that describe an encoder: a folder, or a name on the Hub."""
    encoder = read_encoder(locate_encoder(folder).folder)
    yield (
        f'{folder}: the encoder of {encoder.config["model_type"]}, {encoder.state_count - 1} '
        f'layers of width {encoder.width} with {encoder.heads} heads'
    )
    tensors = jax.tree.leaves(encoder.params)
    count = sum(tensor.size for tensor in tensors)
    yield (
        f'  {count / 1e6:.1f} million parameters in {pluralize(len(tensors), "tensor")}, '
        f'{count * 4 / BYTES_PER_MIB:.0f} MiB in float32'
    )
    yield _describe_input(encoder)
    yield f'  sha256 {encoder.sha256}'
    features = []
    for kind in STATE_KINDS:
        name = EncoderStates.from_encoder(encoder, kind).name
        features.append(f'{name} (--states {kind})')
    yield f'  features: {", ".join(features)}'
    unused = encoder.unused_tensors
    names = f': {list_tensors(unused)}' if unused else ''
    yield f"  missing: none; not the encoder's: {pluralize(len(unused), 'tensor')}{names}"


def _describe_input(encoder: PretrainedEncoder) -> str:
    """Returns the line about the encoder's input and the step of its frames."""
    config = encoder.config
    if encoder.input_kind == 'mel':
        kind = f'log-mel of {config["num_mel_bins"]} bands'
        step = 20.0  # in milliseconds
    else:
        kind = 'samples'
        step = 1000 * int(np.prod(config['conv_stride'])) / SAMPLE_RATE
    if encoder.normalises_input:
        kind += ', each wave normalised by its own mean and standard deviation'
        if encoder.guesses:
            kind += ' (a guess)'
    return f'  input: {kind} at {SAMPLE_RATE} Hz; a frame every {step:g} ms'


def main() -> None:
    """Parses the command line and prints the description of the encoder."""
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.upstream', description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        'folder',
        type=local_path,
        help='a Hugging Face folder, with config.json and model.safetensors; or the name of a '
        'model on the Hugging Face Hub, such as openai/whisper-small',
    )
    arguments = parser.parse_args()
    with exit_on_user_error():
        for line in describe_encoder(arguments.folder):
            print_text(line)


if __name__ == '__main__':
    main()
