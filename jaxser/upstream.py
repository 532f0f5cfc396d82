"""A pretrained speech encoder from its Hugging Face folder: wav2vec 2.0, HuBERT, WavLM, Whisper's encoder.

  python -m jaxser.upstream FOLDER

says what a folder holds: the model, its size, which of its tensors are not the encoder's. It is read with safetensors alone
(`config.json`, `model.safetensors` or its shards, `preprocessor_config.json` where there is one); pickled files are never opened.

An encoder is known by the sha256 of the checkpoint that it came from. `cut` copies the encoder alone into a folder of its own,
whose file says in its head of which checkpoint it is, and by a second checksum that it is whole.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from data_pipelines.errors import exit_on_user_error
from data_pipelines.features.upstream import STATE_KINDS, EncoderStates
from data_pipelines.wording import pluralize
from jaxser.pretrained.encoder import MAX_LISTED, SAMPLE_RATE, read_encoder


def describe_encoder(folder) -> Iterator[str]:
    """What a folder holds, in lines."""
    of = read_encoder(folder)
    c, leaves = of.config, jax.tree.leaves(of.params)
    count = sum(x.size for x in leaves)
    heads = c['encoder_attention_heads' if of.input_kind == 'mel' else 'num_attention_heads']
    yield f'{folder}: the encoder of {c["model_type"]}, {of.state_count - 1} layers of width {of.width} with {heads} heads'
    yield f'  {count / 1e6:.1f} million parameters in {pluralize(len(leaves), "tensor")}, {count * 4 / 2**20:.0f} MiB in float32'
    if of.input_kind == 'mel':
        hears, step = f'log-mel of {c["num_mel_bins"]} bands', 20.0
    else:
        hears = 'samples' + ', each wave by its own mean and deviation' * of.normalises_input
        step = 1000 * int(np.prod(c['conv_stride'])) / SAMPLE_RATE
    yield f'  hears {hears} at {SAMPLE_RATE} Hz; a frame every {step:g} ms'
    yield f'  sha256 {of.sha256}'
    named = ', '.join(
        f'{EncoderStates.from_encoder(of, kept).name} (--states {kept})' for kept in STATE_KINDS
    )
    yield f'  features: {named}'
    listed = (
        f': {", ".join(of.unused_tensors[:MAX_LISTED])}{", ..." if len(of.unused_tensors) > MAX_LISTED else ""}'
        if of.unused_tensors
        else ''
    )
    yield f"  missing: none; not the encoder's: {pluralize(len(of.unused_tensors), 'tensor')}{listed}"


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.upstream', description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        'folder', type=Path, help='with config.json and model.safetensors, as Hugging Face has them'
    )
    asked = parser.parse_args()
    with exit_on_user_error():
        print('\n'.join(describe_encoder(asked.folder)))


if __name__ == '__main__':
    main()
