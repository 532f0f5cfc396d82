"""Writes a finished sweep's model as one folder that others can use: with jaxser, with JAX alone, or with TensorFlow alone.

  python -m jaxser.export --workdir runs/dann_demo --out DIR [--saved_model] [--carry_upstream [--upstream FOLDER]]

model.safetensors, model.json   the model itself: --workdir DIR is a model to jaxser.predict, and to this command
posterior.stablehlo             (mel_BxTxM float16, frames_B int32) -> posterior_BxC, for any B and T from 1 up, as jax.export
                                writes it: the weights are in it
README.md                       the model card (jaxser/card.py)
saved_model/                    with --saved_model, the same function for TensorFlow

Of a model over a frozen encoder mel_BxTxM are its states, which jaxser makes from sound; the encoder is only named, as its
licence may forbid more. With --carry_upstream, or where the model carries it already, it is in the program, which then takes what
the encoder hears: samples of 16 kHz (wave_BxL, samples_B) or Whisper's own log-mel, in float32 both; and upstream/ is for jaxser.

Of a model over a fine-tuned encoder there is a program only where the encoder is carried, as the model is changes of its weights.
mel_BxTxM is what it hears, a frame every 10 ms: 160 samples of 16 kHz, or Whisper's own log-mel.

The features are float16 because those that the network was trained on are. A program that took float32 would take unrounded ones
without a word, and one that rounded them itself could not be sure to: XLA may leave out a rounding that it finds idle.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

from etils import epath

from data_pipelines.errors import UserError, exit_on_user_error
from jaxser import distributed
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.pretrained.encoder import write_encoder
from jaxser.serving import model_card
from jaxser.serving.model import ENCODER_FOLDER, MODEL_FILES, find_encoder, model_folder, read_model
from jaxser.serving.stablehlo import export_program, program_inputs, save_for_tensorflow


def export_model(
    workdir, out, saved_model: bool = False, carry_upstream: bool = False, upstream=None
) -> Path:
    """Writes the folder `out`, whole or not at all, of the model in a workdir or in a folder of its own; returns it.

    `carry_upstream` puts a pretrained encoder in; it is in the folder `upstream`, if it is not where bundle.encoder finds it.

    Raises Refusal where there is no model or `out` holds something already, and OSError where it cannot be written.
    """
    workdir, out = epath.Path(workdir), Path(out)
    model = read_model(workdir)
    if 'data' not in model.metadata:
        raise UserError(
            f'The model of {workdir} was made by an earlier jaxser, which did not note its data. '
            f'Remove {workdir}/model and run python -m jaxser.bundle --workdir {workdir}'
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(
            f'{out} is there already, and not an empty folder: choose another --out, or remove it.'
        )
    carries = carry_upstream or (model_folder(workdir) / ENCODER_FOLDER).exists()
    if upstream and not carries:
        raise UserError(
            f'{upstream} is only read to be carried: add --carry_upstream, or leave --upstream out.'
        )
    encoder = find_encoder(workdir, model.metadata, upstream) if carries else None
    if carries and not encoder:
        raise UserError(
            f'The model of {workdir} hears log-mel features: there is no upstream to carry.'
        )
    programmed = model_card.has_program(model.metadata, encoder)
    if saved_model and not programmed:
        raise UserError(
            f'The model of {workdir} is changes of the weights of a pretrained encoder, without which TensorFlow cannot run it: '
            'add --carry_upstream, if the licence of the encoder allows a copy, or leave --saved_model out.'
        )
    finished = (
        workdir / 'results.json'
    ).exists()  # a copy of model/ alone has no more than its own facts
    out = Path(os.path.abspath(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f'.{out.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        for name in MODEL_FILES:
            (part / name).write_bytes((model_folder(workdir) / name).read_bytes())
        if 'upstream' in model.metadata:  # where it lay here is nobody else's business
            facts = model.metadata | {'upstream': model.metadata['upstream'] | {'folder': ''}}
            facts['config'] = facts['config'] | {
                'model': facts['config']['model'] | {'upstream': ''}
            }
            (part / 'model.json').write_text(json.dumps(facts, indent=2))
        if carries:
            write_encoder(encoder, part / ENCODER_FOLDER)
        text = model_card.render_card(
            model,
            SweepAnalysis(read_finished_sweep(workdir)) if finished else None,
            saved_model,
            encoder,
        )
        (part / 'README.md').write_text(text, encoding='utf-8')
        if programmed:
            exported = export_program(model, encoder)
            (part / model_card.PROGRAM_FILE).write_bytes(exported.serialize())
        if saved_model:
            save_for_tensorflow(
                exported, [*program_inputs(model, encoder)], part / model_card.SAVED_MODEL_FOLDER
            )
        part.replace(out)  # an empty folder gives way
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.export', description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        '--workdir',
        required=True,
        type=epath.Path,
        help='of a finished sweep, or a copy of its folder model/',
    )
    parser.add_argument('--out', required=True, type=Path, help='the folder to write')
    parser.add_argument(
        '--saved_model', action='store_true', help='for TensorFlow too, which must be installed'
    )
    parser.add_argument(
        '--carry_upstream',
        action='store_true',
        help='the pretrained encoder too, if its licence allows that',
    )
    parser.add_argument(
        '--upstream', help='its Hugging Face folder, if it has moved since preparing'
    )
    asked = parser.parse_args()
    distributed.configure_jax()
    with exit_on_user_error():
        out = export_model(
            asked.workdir, asked.out, asked.saved_model, asked.carry_upstream, asked.upstream
        )
        print(f'{out}: {", ".join(sorted(p.name for p in out.iterdir()))}')
        if (out / ENCODER_FOLDER).exists():
            print(
                f'It carries a pretrained encoder, whose licence goes with it; to go without, remove model/{ENCODER_FOLDER}.'
            )


if __name__ == '__main__':
    main()
