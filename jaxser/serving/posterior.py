"""TODO: jaxser.serving.posterior."""

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


def make_feature_function(
    metadata: dict, encoder: PretrainedEncoder | None
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """(params, heard, length_B) -> mel_BxTxM, frames_B: from what a frozen encoder hears, whose params they are, to its states.

    Without one what is heard are the features already.
    """
    if not encoder or model.is_fine_tuned(metadata):
        return lambda params, mel_BxTxM, frames_B: (mel_BxTxM, frames_B)
    return make_state_function(
        encoder, dataset.feature_spec(config_from_dict(metadata['config']).data).is_pooled
    )


def make_posterior(
    metadata: dict, in_turn: bool, encoder: PretrainedEncoder | None = None
) -> Callable[..., jax.Array]:
    """(runs, params, mel_BxTxM, frames_B) -> posterior_BxC of the model of these facts: calibrated, averaged over its runs.

    The features are log-mel, a frozen upstream's states, or what a fine-tuned one hears: that one is `encoder`, of the weights
    `params`, which no other model reads. `runs` are the model's arrays with batch_stats, {} where it has none. Whatever lies
    beyond frames_B changes nothing. `in_turn` says whether the runs take turns or are vmapped; over a fine-tuned upstream they
    always take turns, as one alone fills a device. Refuses a model that has no statistics for a stranger.
    """
    config, sizes = config_from_dict(metadata['config']), Sizes(**metadata['sizes'])
    if model.is_fine_tuned(metadata):
        config.model.upstream, in_turn = str(encoder.folder), True
    if getattr(dataset.feature_spec(config.data), 'pooled', False) and metadata[
        'normalisation'
    ] not in ('global', 'none'):
        raise UserError(
            f'Training normalised by {metadata["normalisation"]}; here every speaker is a stranger, normalised by the utterance '
            'alone, and that leaves nothing of states that are pooled over it. Train with config.data.normalise=global or none.'
        )
    network, method = plugins.make_method(config, sizes)
    score, temperature = (
        step.make_step(network, method, sizes, config.train).predict,
        metadata['calibration']['temperature'],
    )

    def mean(runs: dict, params, mel_BxTxM: jax.Array, frames_B: jax.Array) -> jax.Array:
        stranger_B = jnp.ones_like(frames_B, jnp.float32)  # whoever comes now is no source speaker
        batch = features.with_utterance_statistics(
            {'mel_BxTxM': mel_BxTxM, 'frames_B': frames_B, 'target_B': stranger_B}
        )
        if metadata['normalisation'] == 'none':
            batch |= {
                'mean_BxM': jnp.zeros_like(batch['mean_BxM']),
                'scale_BxM': jnp.ones_like(batch['scale_BxM']),
            }
        if network.frozen is not None:
            batch['frozen'] = params

        def of(run: dict) -> jax.Array:
            of_fold = {
                f'{k}_BxM': run[k][None] for k in ('mean', 'scale') if k in run
            }  # on which it trained
            _, scores_BxC = score(run['params'], run['batch_stats'], batch | of_fold)
            return jax.nn.softmax(scores_BxC / temperature)

        with plugins.matmul_precision_context(config):
            return (jax.lax.map(of, runs) if in_turn else jax.vmap(of)(runs)).mean(0)

    return mean
