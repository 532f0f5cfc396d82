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
import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.extend.mlir.dialects import stablehlo

from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.features.decode import MIN_SECONDS
from jaxser import bundle, card, distributed, predict
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.pretrained.encoder import SAMPLE_RATE, PretrainedEncoder, write_encoder

ANONYMOUS_JAX_CONFIG = {  # else a program holds the paths of whoever wrote it
    'jax_include_full_tracebacks_in_locations': False,
    'jax_hlo_source_file_canonicalization_regex': '.*/',
}
PLATFORMS = ('cpu', 'cuda', 'rocm', 'tpu')


@contextlib.contextmanager
def hide_source_paths() -> Iterator[None]:
    """In which programs name no folder of this machine."""
    before = {name: getattr(jax.config, name) for name in ANONYMOUS_JAX_CONFIG}
    try:
        for name, value in ANONYMOUS_JAX_CONFIG.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def multi_platform_posterior(model: bundle.Model, encoder: PretrainedEncoder | None = None) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """(heard, length_B) -> posterior_BxC: what jaxser.predict computes, in one program for all platforms.

    On a CPU the runs take turns, as there; elsewhere they are vmapped, as a step of the LSTM is too small to fill an accelerator;
    those of a fine-tuned encoder are not.
    """
    runs, params = {'batch_stats': {}, **model.arrays}, jax.tree.map(jnp.asarray, encoder.params if encoder else None)
    in_turn, at_once = (predict.make_posterior(model.metadata, in_turn, encoder) for in_turn in (True, False))
    mel = predict.make_feature_function(model.metadata, encoder)
    return lambda *heard: jax.lax.platform_dependent(runs, params, *mel(params, *heard), cpu=in_turn, default=at_once)


def program_inputs(model: bundle.Model, encoder: PretrainedEncoder | None = None) -> dict[str, jax.ShapeDtypeStruct]:
    """What the program takes, by name: any number of utterances of any length, but no less and no more than the encoder hears."""
    frozen, within = encoder is not None and not bundle.is_fine_tuned(model.metadata), []
    samples = frozen and encoder.input_kind == 'wave'
    if encoder:
        second = SAMPLE_RATE if samples else 100
        within = [f't >= {round(second * MIN_SECONDS)}' if encoder.input_kind == 'wave' else f't <= {round(second * encoder.max_seconds)}']
    b, t = jax.export.symbolic_shape('b, t', constraints=within)
    if samples:
        heard = {'wave_BxL': jax.ShapeDtypeStruct((b, t), np.float32)}
    else:
        bands = encoder.config['num_mel_bins'] if frozen else model.metadata['sizes']['bands']
        heard = {'mel_BxTxM': jax.ShapeDtypeStruct((b, t, bands), np.float32 if frozen else np.float16)}
    return heard | {'samples_B' if samples else 'frames_B': jax.ShapeDtypeStruct((b,), np.int32)}


def export_program(model: bundle.Model, encoder: PretrainedEncoder | None = None) -> jax.export.Exported:
    """The posterior of what `inputs` says."""
    taken = program_inputs(model, encoder).values()
    with hide_source_paths():
        exported = jax.export.export(jax.jit(multi_platform_posterior(model, encoder)), platforms=PLATFORMS)(*taken)
    # JAX writes for the programs of the last weeks: a TensorFlow or JAX of some months ago would not read it.
    oldest = stablehlo.get_version_from_compatibility_requirement(stablehlo.StablehloCompatibilityRequirement.MAX)
    module = stablehlo.deserialize_portable_artifact_str(exported.mlir_module_serialized)
    portable = stablehlo.serialize_portable_artifact_str(module, oldest)
    return dataclasses.replace(exported, mlir_module_serialized=portable)


def save_for_tensorflow(exported: jax.export.Exported, names: list[str], folder: Path) -> None:
    """A SavedModel whose signature `serving_default` takes what the program takes, by these names, and gives posterior_BxC.

    Raises Refusal where there is no TensorFlow, or it cannot write.
    """
    try:
        import tensorflow as tf
        from tensorflow.compiler.tf2xla.python import xla
    except ImportError as e:
        raise UserError(f'--saved_model needs TensorFlow: {e}.') from None
    classes = exported.out_avals[0].shape[-1]
    # As jax2tf calls a program; but that would write it anew, and for no TensorFlow older than this JAX.
    call = partial(
        xla.call_module,
        version=exported.calling_convention_version,
        module=exported.mlir_module_serialized,
        platforms=[p.upper() for p in exported.platforms],
        Tout=[tf.float32],
        Sout=[(None, classes)],
    )
    module = tf.Module()
    of = lambda aval: [n if isinstance(n, int) else None for n in aval.shape]  # noqa: E731
    module.posterior = tf.function(
        lambda *heard: {'posterior_BxC': call(heard)[0]},
        input_signature=[tf.TensorSpec(of(aval), aval.dtype, name) for name, aval in zip(names, exported.in_avals)],
        autograph=False,
    )
    try:
        tf.saved_model.save(module, str(folder), signatures={'serving_default': module.posterior})
    except tf.errors.OpError as e:
        raise UserError(f'TensorFlow cannot write {folder}: {e.message}') from None


def export_model(workdir, out, saved_model: bool = False, carry_upstream: bool = False, upstream=None) -> Path:
    """Writes the folder `out`, whole or not at all, of the model in a workdir or in a folder of its own; returns it.

    `carry_upstream` puts a pretrained encoder in; it is in the folder `upstream`, if it is not where bundle.encoder finds it.

    Raises Refusal where there is no model or `out` holds something already, and OSError where it cannot be written.
    """
    workdir, out = epath.Path(workdir), Path(out)
    model = bundle.read_model(workdir)
    if 'data' not in model.metadata:
        raise UserError(
            f'The model of {workdir} was made by an earlier jaxser, which did not note its data. '
            f'Remove {workdir}/model and run python -m jaxser.bundle --workdir {workdir}'
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f'{out} is there already, and not an empty folder: choose another --out, or remove it.')
    carries = carry_upstream or (bundle.model_folder(workdir) / bundle.ENCODER_FOLDER).exists()
    if upstream and not carries:
        raise UserError(f'{upstream} is only read to be carried: add --carry_upstream, or leave --upstream out.')
    encoder = bundle.find_encoder(workdir, model.metadata, upstream) if carries else None
    if carries and not encoder:
        raise UserError(f'The model of {workdir} hears log-mel features: there is no upstream to carry.')
    programmed = card.has_program(model.metadata, encoder)
    if saved_model and not programmed:
        raise UserError(
            f'The model of {workdir} is changes of the weights of a pretrained encoder, without which TensorFlow cannot run it: '
            'add --carry_upstream, if the licence of the encoder allows a copy, or leave --saved_model out.'
        )
    finished = (workdir / 'results.json').exists()  # a copy of model/ alone has no more than its own facts
    out = Path(os.path.abspath(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f'.{out.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        for name in bundle.MODEL_FILES:
            (part / name).write_bytes((bundle.model_folder(workdir) / name).read_bytes())
        if 'upstream' in model.metadata:  # where it lay here is nobody else's business
            facts = model.metadata | {'upstream': model.metadata['upstream'] | {'folder': ''}}
            facts['config'] = facts['config'] | {'model': facts['config']['model'] | {'upstream': ''}}
            (part / 'model.json').write_text(json.dumps(facts, indent=2))
        if carries:
            write_encoder(encoder, part / bundle.ENCODER_FOLDER)
        text = card.render_card(model, SweepAnalysis(read_finished_sweep(workdir)) if finished else None, saved_model, encoder)
        (part / 'README.md').write_text(text, encoding='utf-8')
        if programmed:
            exported = export_program(model, encoder)
            (part / card.PROGRAM_FILE).write_bytes(exported.serialize())
        if saved_model:
            save_for_tensorflow(exported, [*program_inputs(model, encoder)], part / card.SAVED_MODEL_FOLDER)
        part.replace(out)  # an empty folder gives way
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    parser = argparse.ArgumentParser(prog='python -m jaxser.export', description=__doc__.splitlines()[0])
    parser.add_argument('--workdir', required=True, type=epath.Path, help='of a finished sweep, or a copy of its folder model/')
    parser.add_argument('--out', required=True, type=Path, help='the folder to write')
    parser.add_argument('--saved_model', action='store_true', help='for TensorFlow too, which must be installed')
    parser.add_argument('--carry_upstream', action='store_true', help='the pretrained encoder too, if its licence allows that')
    parser.add_argument('--upstream', help='its Hugging Face folder, if it has moved since preparing')
    asked = parser.parse_args()
    distributed.configure_jax()
    with exit_on_user_error():
        out = export_model(asked.workdir, asked.out, asked.saved_model, asked.carry_upstream, asked.upstream)
        print(f'{out}: {", ".join(sorted(p.name for p in out.iterdir()))}')
        if (out / bundle.ENCODER_FOLDER).exists():
            print(f'It carries a pretrained encoder, whose licence goes with it; to go without, remove model/{bundle.ENCODER_FOLDER}.')


if __name__ == '__main__':
    main()
