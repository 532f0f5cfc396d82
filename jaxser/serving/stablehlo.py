"""TODO: jaxser.serving.stablehlo."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax.extend.mlir.dialects import stablehlo

from data_pipelines.errors import UserError
from data_pipelines.features.decode import MIN_SECONDS
from jaxser.pretrained.encoder import SAMPLE_RATE, PretrainedEncoder
from jaxser.serving import posterior
from jaxser.serving.model import Model, is_fine_tuned

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


def multi_platform_posterior(
    model: Model, encoder: PretrainedEncoder | None = None
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """(heard, length_B) -> posterior_BxC: what jaxser.predict computes, in one program for all platforms.

    On a CPU the runs take turns, as there; elsewhere they are vmapped, as a step of the LSTM is too small to fill an accelerator;
    those of a fine-tuned encoder are not.
    """
    runs, params = (
        {'batch_stats': {}, **model.arrays},
        jax.tree.map(jnp.asarray, encoder.params if encoder else None),
    )
    in_turn, at_once = (
        posterior.make_posterior(model.metadata, in_turn, encoder) for in_turn in (True, False)
    )
    mel = posterior.make_feature_function(model.metadata, encoder)
    return lambda *heard: jax.lax.platform_dependent(
        runs, params, *mel(params, *heard), cpu=in_turn, default=at_once
    )


def program_inputs(
    model: Model, encoder: PretrainedEncoder | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
    """What the program takes, by name: any number of utterances of any length, but no less and no more than the encoder hears."""
    frozen, within = encoder is not None and not is_fine_tuned(model.metadata), []
    samples = frozen and encoder.input_kind == 'wave'
    if encoder:
        second = SAMPLE_RATE if samples else 100
        within = [
            f't >= {round(second * MIN_SECONDS)}'
            if encoder.input_kind == 'wave'
            else f't <= {round(second * encoder.max_seconds)}'
        ]
    b, t = jax.export.symbolic_shape('b, t', constraints=within)
    if samples:
        heard = {'wave_BxL': jax.ShapeDtypeStruct((b, t), np.float32)}
    else:
        bands = encoder.config['num_mel_bins'] if frozen else model.metadata['sizes']['bands']
        heard = {
            'mel_BxTxM': jax.ShapeDtypeStruct((b, t, bands), np.float32 if frozen else np.float16)
        }
    return heard | {'samples_B' if samples else 'frames_B': jax.ShapeDtypeStruct((b,), np.int32)}


def export_program(model: Model, encoder: PretrainedEncoder | None = None) -> jax.export.Exported:
    """The posterior of what `inputs` says."""
    taken = program_inputs(model, encoder).values()
    with hide_source_paths():
        exported = jax.export.export(
            jax.jit(multi_platform_posterior(model, encoder)), platforms=PLATFORMS
        )(*taken)
    # JAX writes for the programs of the last weeks: a TensorFlow or JAX of some months ago would not read it.
    oldest = stablehlo.get_version_from_compatibility_requirement(
        stablehlo.StablehloCompatibilityRequirement.MAX
    )
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
        input_signature=[
            tf.TensorSpec(of(aval), aval.dtype, name)
            for name, aval in zip(names, exported.in_avals)
        ],
        autograph=False,
    )
    try:
        tf.saved_model.save(module, str(folder), signatures={'serving_default': module.posterior})
    except tf.errors.OpError as e:
        raise UserError(f'TensorFlow cannot write {folder}: {e.message}') from None
