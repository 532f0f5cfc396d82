"""The function from features to the posterior of a model: calibrated, averaged over its runs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from data_pipelines.errors import UserError
from data_pipelines.storage import dataset
from jaxser import features, plugins
from jaxser.configuration.serialization import config_from_dict
from jaxser.interfaces import Sizes
from jaxser.pretrained.encoder import PretrainedEncoder
from jaxser.pretrained.extractor import make_state_function
from jaxser.serving import model
from jaxser.training import step

# Normalisations of pooled states that need no statistics of the speaker or the utterance.
NORMALISATIONS_OF_POOLED_STATES = ('global', 'none')


def make_feature_function(
    metadata: dict, encoder: PretrainedEncoder | None
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Returns a function (params, batch, length_B) -> (mel_BxTxM, frames_B).

    With a frozen encoder, whose weights are `params`, `batch` is its input and mel_BxTxM its
    states. Any other model takes its features directly: the function returns batch and length_B.
    """
    if encoder and not model.is_fine_tuned(metadata):
        spec = dataset.feature_spec(config_from_dict(metadata['config']).data)
        return make_state_function(encoder, spec.is_pooled)

    def identity(params, mel_BxTxM, frames_B):
        return mel_BxTxM, frames_B

    return identity


def make_posterior(
    metadata: dict, in_turn: bool, encoder: PretrainedEncoder | None = None
) -> Callable[..., jax.Array]:
    """Returns a function (runs, params, mel_BxTxM, frames_B) -> posterior_BxC.

    `runs` are the model's arrays, with batch_stats ({} if it has none). The features mel_BxTxM are
    log-mel, a frozen encoder's states, or the input of a fine-tuned encoder, whose weights are then
    `params`; other models ignore them. Frames beyond frames_B have no influence.

    Args:
      metadata: model.json.
      in_turn: compute one run after another, instead of all at once by vmap. With a fine-tuned
        encoder this is always so, as one run alone fills a device.
      encoder: the pretrained encoder, if the model fine-tunes it.

    Raises:
      UserError: the model needs statistics that a new speaker does not have.
    """
    config = config_from_dict(metadata['config'])
    if model.is_fine_tuned(metadata):
        config.model.upstream = str(encoder.folder)
        in_turn = True
    _check_normalisation(metadata, dataset.feature_spec(config.data))
    sizes = Sizes(**metadata['sizes'])
    network, method = plugins.make_method(config, sizes)
    predict = step.make_step(network, method, sizes, config.train).predict
    temperature = metadata['calibration']['temperature']

    def mean_posterior(runs: dict, params, mel_BxTxM: jax.Array, frames_B: jax.Array) -> jax.Array:
        batch = _make_batch(metadata, mel_BxTxM, frames_B)
        if network.frozen is not None:
            batch['frozen'] = params

        def run_posterior(run: dict) -> jax.Array:
            # Under `global` normalisation: the statistics of the fold on which the run was trained.
            moments = {f'{key}_BxM': run[key][None] for key in ('mean', 'scale') if key in run}
            _, scores_BxC = predict(run['params'], run['batch_stats'], batch | moments)
            return jax.nn.softmax(scores_BxC / temperature)

        with plugins.matmul_precision_context(config):
            if in_turn:
                posterior_RxBxC = jax.lax.map(run_posterior, runs)
            else:
                posterior_RxBxC = jax.vmap(run_posterior)(runs)
            return posterior_RxBxC.mean(0)

    return mean_posterior


def _check_normalisation(metadata: dict, spec) -> None:
    normalisation = metadata['normalisation']
    is_pooled = getattr(spec, 'is_pooled', False)
    if is_pooled and normalisation not in NORMALISATIONS_OF_POOLED_STATES:
        raise UserError(
            f'Training normalised by {normalisation}. In prediction every speaker is unseen, and '
            'each utterance is normalised by its own statistics. This makes every pooled state 0, '
            'because a pooled state is a single frame: it equals its own mean. Train with '
            'config.data.normalise=global or none.'
        )


def _make_batch(metadata: dict, mel_BxTxM: jax.Array, frames_B: jax.Array) -> dict:
    """Returns a batch of target-domain utterances, normalised by their own statistics."""
    batch = features.with_utterance_statistics(
        {
            'mel_BxTxM': mel_BxTxM,
            'frames_B': frames_B,
            'target_B': jnp.ones_like(frames_B, jnp.float32),
        }
    )
    if metadata['normalisation'] == 'none':
        batch['mean_BxM'] = jnp.zeros_like(batch['mean_BxM'])
        batch['scale_BxM'] = jnp.ones_like(batch['scale_BxM'])
    return batch
