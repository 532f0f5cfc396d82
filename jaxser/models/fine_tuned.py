"""A pretrained speech encoder that learns within the step, below the weighted sum of its layers that layer_sum has.

Every weight is that of the checkpoint, which all runs of a sweep share and none changes, plus a change, which is a run's own and
zero at first: what decays and what is kept is the change alone (L2-SP, Li et al. 2018, arXiv 1802.01483). With config.model.lora
= r the changes are low-rank adapters: A B of rank r, of queries and values alone (Hu et al. 2021, arXiv 2106.09685; alpha = r).

The convolutions that make frames of the sound never learn, nor do Whisper's positions and the biases of keys, which the softmax
cancels. Rates by layer after Howard & Ruder 2018 (arXiv 1801.06146). The upstream drops nothing, neither units nor layers.
"""

import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from data_pipelines.errors import UserError
from data_pipelines.features.upstream import HOP_SAMPLES, STATE_KINDS, EncoderStates
from jaxser.features import frame_mask
from jaxser.interfaces import Encoder
from jaxser.models.layer_sum import weighted_layers
from jaxser.nn import pooling
from jaxser.nn.batch_norm import batch_norm_mode
from jaxser.nn.encoder import LogMelEncoder, check_sizes, make_encoder
from jaxser.pretrained.encoder import PretrainedEncoder, cached_encoder
from jaxser.pretrained.transformer import ComputeOptions

KEYS = ('dim', 'batch_norm', 'lora')  # of config.model
FROZEN_MODULES = ('feature_extractor', 'conv1', 'conv2', 'embed_positions')
LORA_MODULES = ('q_proj', 'v_proj')

WeightPath = tuple[
    str, ...
]  # of a weight, as in ('encoder', 'layers_0', 'attention', 'q_proj', 'kernel')


def layers_above(path: WeightPath, encoder: PretrainedEncoder) -> int | None:
    """How many layers lie above a weight; None of one that never learns."""
    layers = encoder.state_count - 1
    if path[0] in FROZEN_MODULES or path[-2:] == ('k_proj', 'bias'):
        return None
    if at := [m for part in path if (m := re.fullmatch(r'layers_(\d+)', part))]:
        return layers - 1 - int(at[0][1])
    last = (
        encoder.input_kind == 'mel' or encoder.config['do_stable_layer_norm']
    )  # whether the norm outside the layers comes after them
    return 0 if last and path[-2] == 'layer_norm' and path[0] != 'feature_projection' else layers


def initial_change(
    weights: dict, is_trainable: Callable[[WeightPath], bool], lora: int, key: jax.Array
) -> dict:
    """No change of the weights that learn: zeros, or with `lora` {'a': normal, 'b': zeros} whose product is zero."""
    made = {}
    for n, (path, w) in enumerate(sorted(flatten_dict(weights).items())):
        if not is_trainable(path):
            continue
        if lora and path[-1] == 'kernel' and path[-2] in LORA_MODULES:
            a_DxR = (
                jax.random.normal(jax.random.fold_in(key, n), (w.shape[0], lora))
                / w.shape[0] ** 0.5
            )
            made[path] = {'a': a_DxR, 'b': jnp.zeros((lora, w.shape[1]))}
        elif not lora:
            made[path] = jnp.zeros(w.shape)
    return unflatten_dict(made)


def apply_change(weights, change):
    """The weights after their change, which may be of low rank, or lacking."""
    if isinstance(weights, dict):
        return {k: apply_change(w, change[k]) if k in change else w for k, w in weights.items()}
    return weights + (change['a'] @ change['b'] if isinstance(change, dict) else change)


class FineTuned(LogMelEncoder):
    """z_BxD of what an encoder hears: samples in frames of 10 ms, or a log-mel, of which Whisper hears the first 30 s."""

    compute_states: (
        Callable  # ({'params': weights}, x, length_B) -> (x_BxTxC of every layer, frames_B)
    )
    is_trainable: Callable[[WeightPath], bool]
    takes_wave: bool
    max_frames: int | None  # frames that it hears
    lora: int
    accumulate: int

    @nn.compact
    def __call__(self, mel_BxTxM, frames_B, target_B, dropout, train: bool, frozen: dict):
        change = self.param(
            'upstream', lambda key: initial_change(frozen, self.is_trainable, self.lora, key)
        )
        weights = apply_change(frozen, change)

        def pooled(mel_BxTxM, frames_B):
            if self.takes_wave:
                heard, length_B = mel_BxTxM.reshape(mel_BxTxM.shape[0], -1), HOP_SAMPLES * frames_B
            else:
                heard, length_B = (
                    mel_BxTxM[:, : self.max_frames],
                    jnp.minimum(frames_B, self.max_frames),
                )
            states, count_B = self.compute_states({'params': weights}, heard, length_B)
            mask_BxT = frame_mask(count_B, states[0].shape[1])
            return jnp.stack(
                [pooling.statistics_pooling(x_BxTxC, mask_BxT) for x_BxTxC in states], 1
            )

        A, B = self.accumulate if train else 1, frames_B.shape[0]
        if A == 1:
            x_BxLxC = pooled(mel_BxTxM, frames_B)
        else:
            # A part is every Ath example, so that devices which share the batch share each part. On the way back a part goes
            # through anew, and the scan adds its gradient to that of the others: equal to the whole batch for any loss.
            parts = (
                x.reshape(B // A, A, *x.shape[1:]).swapaxes(0, 1) for x in (mel_BxTxM, frames_B)
            )
            x_AxPxLxC = jax.lax.map(jax.checkpoint(lambda part: pooled(*part)), tuple(parts))
            x_BxLxC = x_AxPxLxC.swapaxes(0, 1).reshape(B, *x_AxPxLxC.shape[2:])
        return self.project(
            weighted_layers(self, x_BxLxC),
            (frames_B > 0).astype(jnp.float32),
            target_B,
            dropout,
            train,
        )


def make(config) -> Encoder:
    """The encoder of `config.model`."""
    check_sizes(config, 'dim', 'accumulate')
    if not isinstance(config.lora, int) or config.lora < 0:
        raise UserError(
            f'config.model.lora is {config.lora}; expected a rank, or 0 for changes of full rank.'
        )
    if not 0 < config.upstream_rate < float('inf'):
        raise UserError(
            f'config.model.upstream_rate is {config.upstream_rate}; expected a number above 0.'
        )
    if not 0 < config.layer_decay <= 1:
        raise UserError(
            f'config.model.layer_decay is {config.layer_decay}; expected a number above 0, up to 1.'
        )
    of = cached_encoder(config.upstream)
    if config.lora > of.width:
        raise UserError(
            f'config.model.lora is {config.lora}, a rank above the width of {config.upstream}, {of.width}: set a lower one, '
            'or 0 for changes of full rank.'
        )
    if (
        config.weights
        and (found := EncoderStates.from_encoder(of, STATE_KINDS[0]).digest) != config.weights
    ):
        raise UserError(
            f'{config.upstream} holds an encoder of other weights or sizes ({found}) than that of which this model is changes '
            f'({config.weights}). Name the folder of that one.'
        )
    how = ComputeOptions(jnp.bfloat16 if config.bfloat16 else jnp.float32, config.remat)

    def rate(path: WeightPath) -> float:
        if path[0] != 'upstream':
            return 1.0
        weight = path[1:-1] if config.lora else path[1:]
        return config.upstream_rate * config.layer_decay ** layers_above(weight, of)

    def rates(params: Any):
        return unflatten_dict({path: rate(path) for path in flatten_dict(params)})

    module = FineTuned(
        config.dim,
        batch_norm_mode(config),
        compute_states=of.module.clone(options=how).apply,
        is_trainable=lambda path: layers_above(path, of) is not None,
        takes_wave=of.input_kind == 'wave',
        max_frames=None if of.input_kind == 'wave' else round(100 * of.max_seconds),
        lora=config.lora,
        accumulate=config.accumulate,
    )
    return make_encoder(module, of.params, rates)
