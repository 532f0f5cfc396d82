"""Exports a model as one StableHLO program, for JAX and for TensorFlow."""

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
from jaxser.serving.enrolment import OFFSET_NAME, offset_shape
from jaxser.serving.model import Model, is_fine_tuned
from jaxser.serving.model_outputs import make_feature_function, make_model_outputs
from jaxser.serving.output_names import POSTERIOR, OutputNames

# Without these settings a program contains paths of the machine that exported it.
ANONYMOUS_JAX_CONFIG = {
    'jax_include_full_tracebacks_in_locations': False,
    'jax_hlo_source_file_canonicalization_regex': '.*/',
}
PLATFORMS = ('cpu', 'cuda', 'rocm', 'tpu')
FRAMES_PER_SECOND = 100


@contextlib.contextmanager
def hide_source_paths() -> Iterator[None]:
    """A context in which exported programs contain no paths of this machine."""
    settings_before = {name: getattr(jax.config, name) for name in ANONYMOUS_JAX_CONFIG}
    try:
        for name, value in ANONYMOUS_JAX_CONFIG.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in settings_before.items():
            jax.config.update(name, value)


def multi_platform_program(
    model: Model, encoder: PretrainedEncoder | None = None
) -> Callable[..., jax.Array | dict[str, jax.Array]]:
    """Returns a function (batch, length_B) -> posterior_BxC for all platforms.

    For a model of ratings it returns {'rating_BxA': ...}, with 'posterior_BxC' too if the model has
    classes. If speakers can be enrolled in the model, speaker_offset_RxP is its third argument.

    It computes the same outputs as jaxser.predict. On a CPU the runs are computed one after
    another. On an accelerator they are vmapped, because a step of the LSTM is too small to fill it;
    the runs of a fine-tuned encoder are never vmapped.
    """
    run_arrays = model.run_arrays
    params = jax.tree.map(jnp.asarray, encoder.params if encoder else None)
    outputs_in_turn = make_model_outputs(model.metadata, True, encoder)
    outputs_at_once = make_model_outputs(model.metadata, False, encoder)
    make_features = make_feature_function(model.metadata, encoder)
    names = OutputNames.from_metadata(model.metadata)

    def program(batch: jax.Array, length_B: jax.Array, *speaker_offset: jax.Array):
        mel_BxTxM, frames_B = make_features(params, batch, length_B)
        outputs = jax.lax.platform_dependent(
            run_arrays,
            params,
            mel_BxTxM,
            frames_B,
            *speaker_offset,
            cpu=outputs_in_turn,
            default=outputs_at_once,
        )
        return outputs if names.ratings else outputs[POSTERIOR]

    return program


def program_inputs(
    model: Model, encoder: PretrainedEncoder | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the names, shapes and dtypes of the program's inputs.

    The first two have any number of utterances of any length within the limits of the encoder:
    wave_BxL and samples_B for a frozen encoder of samples, otherwise mel_BxTxM and frames_B. If
    speakers can be enrolled in the model, the third is the offset of the speaker of all utterances,
    speaker_offset_RxP; 0 if the speaker is not enrolled.
    """
    inputs = _utterance_inputs(model, encoder)
    shape = offset_shape(model)
    if shape:
        inputs[OFFSET_NAME] = jax.ShapeDtypeStruct(shape, np.float32)
    return inputs


def _utterance_inputs(
    model: Model, encoder: PretrainedEncoder | None
) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the inputs of `program_inputs` that describe the utterances."""
    is_frozen = encoder is not None and not is_fine_tuned(model.metadata)
    takes_samples = is_frozen and encoder.input_kind == 'wave'
    limits = []
    if encoder:
        units_per_second = SAMPLE_RATE if takes_samples else FRAMES_PER_SECOND
        limits.append(_length_limit(encoder, units_per_second))
    b, t = jax.export.symbolic_shape('b, t', constraints=limits)
    lengths = jax.ShapeDtypeStruct((b,), np.int32)
    if takes_samples:
        return {'wave_BxL': jax.ShapeDtypeStruct((b, t), np.float32), 'samples_B': lengths}
    bands = model.metadata['sizes']['bands']
    dtype = np.float16
    if is_frozen:
        bands = encoder.config['num_mel_bins']
        dtype = np.float32
    return {'mel_BxTxM': jax.ShapeDtypeStruct((b, t, bands), dtype), 'frames_B': lengths}


def _length_limit(encoder: PretrainedEncoder, units_per_second: int) -> str:
    """Returns the shortest or longest input of an encoder as a constraint on t."""
    if encoder.input_kind == 'wave':
        return f't >= {round(units_per_second * MIN_SECONDS)}'
    return f't <= {round(units_per_second * encoder.max_seconds)}'


def export_program(model: Model, encoder: PretrainedEncoder | None = None) -> jax.export.Exported:
    """Exports the outputs of the model for the inputs that `program_inputs` describes."""
    inputs = program_inputs(model, encoder).values()
    program = jax.jit(multi_platform_program(model, encoder))
    with hide_source_paths():
        exported = jax.export.export(program, platforms=PLATFORMS)(*inputs)
    # By default JAX writes a version of StableHLO that only releases of the last weeks can read.
    # The oldest version that it can write is readable by older releases of JAX and TensorFlow.
    oldest_version = stablehlo.get_version_from_compatibility_requirement(
        stablehlo.StablehloCompatibilityRequirement.MAX
    )
    module = stablehlo.deserialize_portable_artifact_str(exported.mlir_module_serialized)
    portable = stablehlo.serialize_portable_artifact_str(module, oldest_version)
    return dataclasses.replace(exported, mlir_module_serialized=portable)


def program_outputs(exported: jax.export.Exported) -> list[str]:
    """Returns the names of a program's outputs, in the order of its avals."""
    outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return list(outputs) if isinstance(outputs, dict) else [POSTERIOR]


def save_for_tensorflow(exported: jax.export.Exported, names: list[str], folder: Path) -> None:
    """Saves the program as a SavedModel.

    Its signature `serving_default` takes the inputs of the program by these names, and returns
    posterior_BxC, rating_BxA, or both, by name. UserError if TensorFlow is not installed or cannot
    write the folder.
    """
    try:
        import tensorflow as tf
        from tensorflow.compiler.tf2xla.python import xla
    except ImportError as error:
        raise UserError(f'--saved_model needs TensorFlow: {error}.') from None
    output_names = program_outputs(exported)
    # The program is called in the same way as by jax2tf. jax2tf itself would export it again, in a
    # version that only a TensorFlow as new as this JAX can read.
    call = partial(
        xla.call_module,
        version=exported.calling_convention_version,
        module=exported.mlir_module_serialized,
        platforms=[platform.upper() for platform in exported.platforms],
        Tout=[tf.float32] * len(output_names),
        Sout=[(None, aval.shape[-1]) for aval in exported.out_avals],
    )
    signature = []
    for name, aval in zip(names, exported.in_avals):
        shape = [size if isinstance(size, int) else None for size in aval.shape]
        signature.append(tf.TensorSpec(shape, aval.dtype, name))

    def predict(*inputs):
        return dict(zip(output_names, call(inputs), strict=True))

    module = tf.Module()
    module.predict = tf.function(predict, input_signature=signature, autograph=False)
    try:
        tf.saved_model.save(module, str(folder), signatures={'serving_default': module.predict})
    except tf.errors.OpError as error:
        raise UserError(f'TensorFlow cannot write {folder}: {error.message}') from None
