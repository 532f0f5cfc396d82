"""Writes a finished sweep's model as one folder that others can use: with jaxser, with JAX alone, or with TensorFlow alone.

  python -m jaxser.export --workdir runs/dann_demo --out DIR [--saved_model]

model.safetensors, model.json   the model itself: --workdir DIR is a model to jaxser.predict, and to this command
posterior.stablehlo             (mel_BxTxM float16, frames_B int32) -> posterior_BxC, for any B and T from 1 up, as jax.export
                                writes it: the weights are in it
README.md                       the model card (jaxser/card.py)
saved_model/                    with --saved_model, the same function for TensorFlow

The features are float16 because those that the network was trained on are. A program that took float32 would take unrounded ones
without a word, and one that rounded them itself could not be sure to: XLA may leave out a rounding that it finds idle.
"""

import argparse
import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax
import jax.export
import numpy as np
from etils import epath
from jax.extend.mlir.dialects import stablehlo

from data_pipelines.refusal import Refusal, spoken
from jaxser import bundle, card, cluster, compare, predict
from jaxser.evidence import Sweep

ANONYMOUS = {  # else a program holds the paths of whoever wrote it
    'jax_include_full_tracebacks_in_locations': False,
    'jax_hlo_source_file_canonicalization_regex': '.*/',
}
PLATFORMS = ('cpu', 'cuda', 'rocm', 'tpu')


@contextlib.contextmanager
def anonymous() -> Iterator[None]:
    """In which programs name no folder of this machine."""
    before = {name: getattr(jax.config, name) for name in ANONYMOUS}
    try:
        for name, value in ANONYMOUS.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def posterior(model: bundle.Model) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """(mel_BxTxM, frames_B) -> posterior_BxC: what jaxser.predict computes, in one program for all platforms.

    On a CPU the runs take turns, as there; elsewhere they are vmapped, as a step of the LSTM is too small to fill an accelerator.
    """
    runs = {'batch_stats': {}, **model.arrays}
    in_turn, at_once = (predict.posterior(model.facts, in_turn) for in_turn in (True, False))
    return lambda mel_BxTxM, frames_B: jax.lax.platform_dependent(runs, mel_BxTxM, frames_B, cpu=in_turn, default=at_once)


def program(model: bundle.Model) -> jax.export.Exported:
    """The posterior of any number of utterances of any number of frames."""
    b, t = jax.export.symbolic_shape('b, t')
    mel_BxTxM = jax.ShapeDtypeStruct((b, t, model.facts['sizes']['bands']), np.float16)
    frames_B = jax.ShapeDtypeStruct((b,), np.int32)
    with anonymous():
        exported = jax.export.export(jax.jit(posterior(model)), platforms=PLATFORMS)(mel_BxTxM, frames_B)
    # JAX writes for the programs of the last weeks: a TensorFlow or JAX of some months ago would not read it.
    oldest = stablehlo.get_version_from_compatibility_requirement(stablehlo.StablehloCompatibilityRequirement.MAX)
    module = stablehlo.deserialize_portable_artifact_str(exported.mlir_module_serialized)
    portable = stablehlo.serialize_portable_artifact_str(module, oldest)
    return dataclasses.replace(exported, mlir_module_serialized=portable)


def save_for_tensorflow(exported: jax.export.Exported, folder: Path) -> None:
    """A SavedModel whose signature `serving_default` takes mel_BxTxM and frames_B and gives posterior_BxC.

    Raises Refusal where there is no TensorFlow, or it cannot write.
    """
    try:
        import tensorflow as tf
        from tensorflow.compiler.tf2xla.python import xla
    except ImportError as e:
        raise Refusal(f'--saved_model needs TensorFlow: {e}.') from None
    bands, classes = exported.in_avals[0].shape[-1], exported.out_avals[0].shape[-1]
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
    module.posterior = tf.function(
        lambda mel_BxTxM, frames_B: {'posterior_BxC': call([mel_BxTxM, frames_B])[0]},
        input_signature=[
            tf.TensorSpec((None, None, bands), tf.float16, 'mel_BxTxM'),
            tf.TensorSpec((None,), tf.int32, 'frames_B'),
        ],
        autograph=False,
    )
    try:
        tf.saved_model.save(module, str(folder), signatures={'serving_default': module.posterior})
    except tf.errors.OpError as e:
        raise Refusal(f'TensorFlow cannot write {folder}: {e.message}') from None


def run(workdir, out, saved_model: bool = False) -> Path:
    """Writes the folder `out`, whole or not at all, of the model in a workdir or in a folder of its own; returns it.

    Raises Refusal where there is no model or `out` holds something already, and OSError where it cannot be written.
    """
    workdir, out = epath.Path(workdir), Path(out)
    model = bundle.read(workdir)
    if 'data' not in model.facts:
        raise Refusal(
            f'The model of {workdir} was made by an earlier jaxser, which did not note its data. '
            f'Remove {workdir}/model and run python -m jaxser.bundle --workdir {workdir}'
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise Refusal(f'{out} is there already, and not an empty folder: choose another --out, or remove it.')
    finished = (workdir / 'results.json').exists()  # a copy of model/ alone has no more than its own facts
    out = Path(out.absolute())
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f'.{out.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        for name in bundle.FILES:
            (part / name).write_bytes((bundle.where(workdir) / name).read_bytes())
        text = card.text(model, Sweep(compare.read(workdir)) if finished else None, saved_model)
        (part / 'README.md').write_text(text, encoding='utf-8')
        exported = program(model)
        (part / card.PROGRAM).write_bytes(exported.serialize())
        if saved_model:
            save_for_tensorflow(exported, part / card.SAVED_MODEL)
        part.replace(out)  # an empty folder gives way
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    parser = argparse.ArgumentParser(prog='python -m jaxser.export', description=__doc__.splitlines()[0])
    parser.add_argument('--workdir', required=True, type=Path, help='of a finished sweep, or a copy of its folder model/')
    parser.add_argument('--out', required=True, type=Path, help='the folder to write')
    parser.add_argument('--saved_model', action='store_true', help='for TensorFlow too, which must be installed')
    asked = parser.parse_args()
    cluster.prepare()
    with spoken():
        print(run(asked.workdir, asked.out, asked.saved_model))


if __name__ == '__main__':
    main()
