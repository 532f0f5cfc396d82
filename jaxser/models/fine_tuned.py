"""A pretrained speech encoder that is fine-tuned, below the weighted sum of layers of layer_sum.

Every weight is the checkpoint's plus a change. The checkpoint's weights are shared by all runs of a
sweep and never change; a change belongs to one run and starts at zero. Weight decay and checkpoints
apply to the change alone (L2-SP, Li et al. 2018, arXiv 1802.01483). With config.model.lora = r, the
changes are low-rank adapters A B of rank r, of queries and values only (Hu et al. 2021, arXiv
2106.09685; alpha = r).

Some weights are never trained: the convolutions that turn the sound into frames, Whisper's
positions, and the biases of keys, which the softmax cancels. Learning rates by layer follow Howard
& Ruder 2018 (arXiv 1801.06146). The pretrained encoder has no dropout, neither of units nor of
layers.
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
from jaxser.nn.encoder import EncoderModule, check_sizes, make_encoder
from jaxser.pretrained.encoder import PretrainedEncoder, cached_encoder
from jaxser.pretrained.extractor import has_digest
from jaxser.pretrained.transformer import ADAPTERS, ComputeOptions

KEYS = ('dim', 'batch_norm', 'lora')  # of config.model
FROZEN_MODULES = ('feature_extractor', 'conv1', 'conv2', 'embed_positions')
LORA_MODULES = ('q_proj', 'v_proj')

WeightPath = tuple[str, ...]
"""Names from the outside in, such as ('encoder', 'layers_0', 'attention', 'q_proj', 'kernel')."""


def layers_above(path: WeightPath, encoder: PretrainedEncoder) -> int | None:
    """Returns the number of layers above a weight, or None if the weight is never trained."""
    layers = encoder.state_count - 1
    if path[0] in FROZEN_MODULES or path[-2:] == ('k_proj', 'bias'):
        return None
    for module in path:
        match = re.fullmatch(r'layers_(\d+)', module)
        if match:
            return layers - 1 - int(match[1])
    is_outer_norm = path[-2] == 'layer_norm' and path[0] != 'feature_projection'
    if is_outer_norm and encoder.norm_is_last:
        return 0
    return layers


def initial_change(
    weights: dict, is_trainable: Callable[[WeightPath], bool], lora: int, key: jax.Array
) -> dict:
    """Returns a change of zero for the trainable weights.

    Full rank: an array of zeros for each. With `lora`: {'a': normal, 'b': zeros} for each kernel of
    LORA_MODULES, and nothing for the others.
    """
    change = {}
    for n, (path, weight) in enumerate(sorted(flatten_dict(weights).items())):
        if not is_trainable(path):
            continue
        if not lora:
            change[path] = jnp.zeros(weight.shape)
        elif path[-1] == 'kernel' and path[-2] in LORA_MODULES:
            D, F = weight.shape
            normal_DxR = jax.random.normal(jax.random.fold_in(key, n), (D, lora))
            change[path] = {'a': normal_DxR / D**0.5, 'b': jnp.zeros((lora, F))}
    return unflatten_dict(change)


def apply_change(weights, change):
    """Returns the weights plus their change of full rank.

    A weight without a change is returned unchanged.
    """
    if not isinstance(weights, dict):
        return weights + change
    changed = {}
    for name, weight in weights.items():
        changed[name] = apply_change(weight, change[name]) if name in change else weight
    return changed


class FineTuned(EncoderModule):
    """z_BxD of the input of a pretrained encoder: samples in frames of 10 ms, or Whisper's log-mel.

    Attributes:
        compute_states: (variables, x, length_B) -> (x_BxTxC of every layer, frames_B). The
            variables are {'params': weights}, and with `lora` their changes as ADAPTERS.
        is_trainable: whether the weight of a path is trained.
        takes_wave: whether the input is samples.
        max_frames: number of input frames that are used, or None for all (Whisper takes 30 s).
        lora: rank of the changes, or 0 for full rank.
        accumulate: number of pieces in which a training batch passes through the encoder.
    """

    compute_states: Callable
    is_trainable: Callable[[WeightPath], bool]
    takes_wave: bool
    max_frames: int | None
    lora: int
    accumulate: int

    @nn.compact
    def __call__(self, mel_BxTxM, frames_B, target_B, dropout, train: bool, frozen: dict):
        """Returns z_BxD; `frozen` are the weights of the checkpoint."""

        def init_change(key):
            return initial_change(frozen, self.is_trainable, self.lora, key)

        change = self.param('upstream', init_change)
        if self.lora:
            variables = {'params': frozen, ADAPTERS: change}
        else:
            variables = {'params': apply_change(frozen, change)}

        def pooled_states(mel_BxTxM, frames_B):
            return self._pooled_states(variables, mel_BxTxM, frames_B)

        if train and self.accumulate > 1:
            x_BxLxC = map_pieces(pooled_states, self.accumulate, mel_BxTxM, frames_B)
        else:
            x_BxLxC = pooled_states(mel_BxTxM, frames_B)
        mask_B = (frames_B > 0).astype(jnp.float32)
        return self.project(weighted_layers(self, x_BxLxC), mask_B, target_B, dropout, train)

    def _pooled_states(self, variables: dict, mel_BxTxM, frames_B):
        """Returns x_BxLxC, mean and standard deviation of each layer's states over time."""
        if self.takes_wave:
            x = mel_BxTxM.reshape(mel_BxTxM.shape[0], -1)
            length_B = HOP_SAMPLES * frames_B
        else:
            x = mel_BxTxM[:, : self.max_frames]
            length_B = jnp.minimum(frames_B, self.max_frames)
        states, count_B = self.compute_states(variables, x, length_B)
        mask_BxT = frame_mask(count_B, states[0].shape[1])
        pooled = [pooling.statistics_pooling(x_BxTxC, mask_BxT) for x_BxTxC in states]
        return jnp.stack(pooled, 1)


def map_pieces(function: Callable, A: int, *arrays: jax.Array) -> jax.Array:
    """Returns function(*arrays), computed in A pieces of the batch one after the other.

    A piece is every A-th example, so that devices which share the batch share each piece. In the
    backward pass each piece is computed again, and the scan adds up the gradients: equal to the
    whole batch for any loss.
    """
    B = arrays[0].shape[0]

    def split(x):
        return x.reshape(B // A, A, *x.shape[1:]).swapaxes(0, 1)

    def piece_function(piece):
        return function(*piece)

    pieces = tuple(split(x) for x in arrays)
    y_AxP = jax.lax.map(jax.checkpoint(piece_function), pieces)
    return y_AxP.swapaxes(0, 1).reshape(B, *y_AxP.shape[2:])


def check_config(config) -> None:
    """Raises UserError if a value of `config.model` is out of range."""
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


def check_encoder(config, encoder: PretrainedEncoder) -> None:
    """Raises UserError if the encoder does not fit `config.model`."""
    if config.lora > encoder.width:
        raise UserError(
            f'config.model.lora is {config.lora}, a rank above the width of {config.upstream}, '
            f'{encoder.width}: set a lower one, or 0 for changes of full rank.'
        )
    if not config.weights:
        return
    if not has_digest(encoder, config.weights):
        digest = EncoderStates.from_encoder(encoder, STATE_KINDS[0]).digest
        raise UserError(
            f'{config.upstream} contains an encoder with other weights or sizes ({digest}) than '
            f'the one that this model was fine-tuned from ({config.weights}). Name the folder of '
            'that encoder.'
        )


def make(config) -> Encoder:
    """Returns the encoder of `config.model`."""
    check_config(config)
    encoder = cached_encoder(config.upstream)
    check_encoder(config, encoder)

    def is_trainable(path: WeightPath) -> bool:
        return layers_above(path, encoder) is not None

    def rate(path: WeightPath) -> float:
        if path[0] != 'upstream':
            return 1.0
        weight_path = path[1:-1] if config.lora else path[1:]
        return config.upstream_rate * config.layer_decay ** layers_above(weight_path, encoder)

    def rates(params: Any):
        return unflatten_dict({path: rate(path) for path in flatten_dict(params)})

    dtype = jnp.bfloat16 if config.bfloat16 else jnp.float32
    takes_wave = encoder.input_kind == 'wave'
    module = FineTuned(
        config.dim,
        batch_norm_mode(config),
        compute_states=encoder.module.clone(options=ComputeOptions(dtype, config.remat)).apply,
        is_trainable=is_trainable,
        takes_wave=takes_wave,
        max_frames=None if takes_wave else round(100 * encoder.max_seconds),
        lora=config.lora,
        accumulate=config.accumulate,
    )
    return make_encoder(module, encoder.params, rates)
