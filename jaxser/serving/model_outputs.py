"""The function from features to the outputs of a model, averaged over its runs.

The outputs are a posterior, which is calibrated, or ratings, or both.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from data_pipelines.errors import UserError
from data_pipelines.features import speaker_offset
from data_pipelines.storage import dataset
from jaxser import features, plugins
from jaxser.configuration.serialization import config_from_dict
from jaxser.interfaces import Batch, Sizes
from jaxser.nn.output_head import split_outputs
from jaxser.pretrained.encoder import PretrainedEncoder
from jaxser.pretrained.extractor import make_state_function
from jaxser.serving import model
from jaxser.serving.output_names import POSTERIOR, RATINGS, OutputNames
from jaxser.training import step

# Normalisations of pooled states that need no statistics of the speaker or the utterance.
NORMALISATIONS_OF_POOLED_STATES = ('global', 'speaker_enrolled', 'none')


def make_feature_function(
    metadata: dict, pretrained: PretrainedEncoder | None
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Returns a function (params, batch, length_B) -> (mel_BxTxM, frames_B).

    With a frozen pretrained encoder, whose weights are `params`, `batch` is its input and mel_BxTxM
    its states. Any other model takes its features directly: the function returns batch and
    length_B.
    """
    if pretrained and not model.is_fine_tuned(metadata):
        spec = dataset.feature_spec(config_from_dict(metadata['config']).data)
        return make_state_function(pretrained, spec.is_pooled)

    def identity(params, mel_BxTxM, frames_B):
        return mel_BxTxM, frames_B

    return identity


def make_model_outputs(
    metadata: dict, in_turn: bool, pretrained: PretrainedEncoder | None = None
) -> Callable[..., dict[str, jax.Array]]:
    """Returns a function (run_arrays, params, mel_BxTxM, frames_B) -> outputs.

    The outputs are {'posterior_BxC': probabilities, 'rating_BxA': numbers from -1 to 1}, or one of
    the two if the model predicts nothing else. Both are means over the runs.

    `run_arrays` are the model's arrays, whose first axis is the runs; batch_stats are {} if it has
    none. The features mel_BxTxM are log-mel, a frozen encoder's states, or the input of a
    fine-tuned encoder, whose weights are then `params`; other models ignore `params`. Frames beyond
    frames_B have no influence.

    With the normalisation `speaker_enrolled` the function has a further argument,
    speaker_offset_RxP, the offset of the speaker of all B utterances for each run; 0 or None if the
    speaker is not enrolled.

    Args:
      metadata: model.json.
      in_turn: compute one run after another, instead of all at once by vmap. With a fine-tuned
        encoder this is always so, as one run alone fills a device.
      pretrained: the pretrained encoder, if the model fine-tunes it.

    Raises:
      UserError: the model needs statistics that a new speaker does not have.
    """
    config = config_from_dict(metadata['config'])
    if model.is_fine_tuned(metadata):
        config.model.upstream = str(pretrained.folder)
        in_turn = True
    _check_normalisation(metadata, dataset.feature_spec(config.data))
    sizes = Sizes(**metadata['sizes'])
    encoder, method = plugins.make_method(config, sizes)
    predict = step.make_step(encoder, method, sizes, config.train).predict
    names = OutputNames.from_metadata(metadata)

    def predict_outputs(run: dict, batch: Batch) -> dict[str, jax.Array]:
        _, outputs_BxO = predict(run['params'], run['batch_stats'], batch)
        scores_BxC, rating_BxA = split_outputs(outputs_BxO, len(names.classes))
        outputs = {}
        if names.classes:
            outputs[POSTERIOR] = jax.nn.softmax(scores_BxC / metadata['calibration']['temperature'])
        if names.ratings:
            outputs[RATINGS] = rating_BxA
        return outputs

    def mean_outputs(
        run_arrays: dict,
        params,
        mel_BxTxM: jax.Array,
        frames_B: jax.Array,
        speaker_offset_RxP: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        batch = _make_batch(mel_BxTxM, frames_B)
        if encoder.frozen is not None:
            batch['frozen'] = params

        def run_outputs(run_and_offset: tuple[dict, jax.Array | None]) -> dict[str, jax.Array]:
            run, offset_P = run_and_offset
            run_batch = _set_statistics(batch, metadata['normalisation'], run)
            if offset_P is not None:
                run_batch = _subtract_speaker(run_batch, offset_P)
            return predict_outputs(run, run_batch)

        with plugins.matmul_precision_context(config):
            runs = (run_arrays, speaker_offset_RxP)
            outputs = jax.lax.map(run_outputs, runs) if in_turn else jax.vmap(run_outputs)(runs)
            return {name: output_RxBxO.mean(0) for name, output_RxBxO in outputs.items()}

    return mean_outputs


def _check_normalisation(metadata: dict, spec) -> None:
    normalisation = metadata['normalisation']
    is_pooled = getattr(spec, 'is_pooled', False)
    if is_pooled and normalisation not in NORMALISATIONS_OF_POOLED_STATES:
        raise UserError(
            f'Training normalised by {normalisation}. In prediction every speaker is unseen, and '
            'each utterance is normalised by its own statistics. This makes every pooled state 0, '
            'because a pooled state is a single frame: it equals its own mean. Train with '
            'config.data.normalise=global, speaker_enrolled or none.'
        )


def _make_batch(mel_BxTxM: jax.Array, frames_B: jax.Array) -> Batch:
    """Returns a batch of utterances of the target domain, with their own statistics."""
    return features.with_utterance_statistics(
        {
            'mel_BxTxM': mel_BxTxM,
            'frames_B': frames_B,
            'target_B': jnp.ones_like(frames_B, jnp.float32),
        }
    )


def _set_statistics(batch: Batch, normalisation: str, run: dict) -> Batch:
    """Returns the batch with the mean_BxM and scale_BxM by which it is normalised for a run.

    By config.data.normalise, which is `normalisation`, they are:
      global: those of the fold on which the run was trained; they are among the run's arrays.
      speaker_enrolled: the same; `_subtract_speaker` changes them for an enrolled speaker.
      none: 0 and 1.
      utterance: those of each utterance, which the batch has.
      speaker, speaker_transductive: the same, as in prediction every speaker is unseen.
    """
    statistics = {}
    if normalisation == 'none':
        statistics['mean_BxM'] = jnp.zeros_like(batch['mean_BxM'])
        statistics['scale_BxM'] = jnp.ones_like(batch['scale_BxM'])
    for key in ('mean', 'scale'):
        if key in run:  # with `global` or `speaker_enrolled`, if the outputs depend on it
            statistics[f'{key}_BxM'] = run[key][None]
    return batch | statistics


def _subtract_speaker(batch: Batch, offset_P: jax.Array) -> Batch:
    """Returns the batch with the mean and the scale of a speaker who has this offset."""
    bands = batch['mean_BxM'].shape[-1]
    offset_M, log_deviation_M = speaker_offset.split_offset(offset_P, bands)
    return batch | {
        'mean_BxM': batch['mean_BxM'] + offset_M,
        'scale_BxM': batch['scale_BxM'] * jnp.exp(-log_deviation_M),
    }
