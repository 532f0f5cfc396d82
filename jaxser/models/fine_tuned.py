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

from data_pipelines.refusal import Refusal
from data_pipelines.upstream import HOP, KEPT, States
from jaxser import upstream
from jaxser.features import frame_mask
from jaxser.interfaces import Encoder
from jaxser.models import pooling
from jaxser.models.batch_norm import arm
from jaxser.models.encoder import LogMelEncoder, check, pure
from jaxser.models.layer_sum import weighted
from jaxser.models.transformer import How

KEYS = ('dim', 'batch_norm', 'lora')  # of config.model
FROZEN = ('feature_extractor', 'conv1', 'conv2', 'embed_positions')
ADAPTED = ('q_proj', 'v_proj')

Path = tuple[str, ...]  # of a weight, as in ('encoder', 'layers_0', 'attention', 'q_proj', 'kernel')


def depth(path: Path, of: upstream.Upstream) -> int | None:
    """How many layers lie above a weight; None of one that never learns."""
    layers = of.layers - 1
    if path[0] in FROZEN or path[-2:] == ('k_proj', 'bias'):
        return None
    if at := [m for part in path if (m := re.fullmatch(r'layers_(\d+)', part))]:
        return layers - 1 - int(at[0][1])
    last = of.hears == 'mel' or of.config['do_stable_layer_norm']  # whether the norm outside the layers comes after them
    return 0 if last and path[-2] == 'layer_norm' and path[0] != 'feature_projection' else layers


def unchanged(weights: dict, learns: Callable[[Path], bool], lora: int, key: jax.Array) -> dict:
    """No change of the weights that learn: zeros, or with `lora` {'a': normal, 'b': zeros} whose product is zero."""
    made = {}
    for n, (path, w) in enumerate(sorted(flatten_dict(weights).items())):
        if not learns(path):
            continue
        if lora and path[-1] == 'kernel' and path[-2] in ADAPTED:
            a_DxR = jax.random.normal(jax.random.fold_in(key, n), (w.shape[0], lora)) / w.shape[0] ** 0.5
            made[path] = {'a': a_DxR, 'b': jnp.zeros((lora, w.shape[1]))}
        elif not lora:
            made[path] = jnp.zeros(w.shape)
    return unflatten_dict(made)


def changed(weights, change):
    """The weights after their change, which may be of low rank, or lacking."""
    if isinstance(weights, dict):
        return {k: changed(w, change[k]) if k in change else w for k, w in weights.items()}
    return weights + (change['a'] @ change['b'] if isinstance(change, dict) else change)


class FineTuned(LogMelEncoder):
    """z_BxD of what an encoder hears: samples in frames of 10 ms, or a log-mel, of which Whisper hears the first 30 s."""

    states: Callable  # ({'params': weights}, x, length_B) -> (x_BxTxC of every layer, frames_B)
    learns: Callable[[Path], bool]
    wave: bool
    longest: int | None  # frames that it hears
    lora: int
    accumulate: int

    @nn.compact
    def __call__(self, mel_BxTxM, frames_B, target_B, dropout, train: bool, frozen: dict):
        change = self.param('upstream', lambda key: unchanged(frozen, self.learns, self.lora, key))
        weights = changed(frozen, change)

        def pooled(mel_BxTxM, frames_B):
            if self.wave:
                heard, length_B = mel_BxTxM.reshape(mel_BxTxM.shape[0], -1), HOP * frames_B
            else:
                heard, length_B = mel_BxTxM[:, : self.longest], jnp.minimum(frames_B, self.longest)
            states, count_B = self.states({'params': weights}, heard, length_B)
            mask_BxT = frame_mask(count_B, states[0].shape[1])
            return jnp.stack([pooling.statistics(x_BxTxC, mask_BxT) for x_BxTxC in states], 1)

        A, B = self.accumulate if train else 1, frames_B.shape[0]
        if A == 1:
            x_BxLxC = pooled(mel_BxTxM, frames_B)
        else:
            # A part is every Ath example, so that devices which share the batch share each part. On the way back a part goes
            # through anew, and the scan adds its gradient to that of the others: equal to the whole batch for any loss.
            parts = (x.reshape(B // A, A, *x.shape[1:]).swapaxes(0, 1) for x in (mel_BxTxM, frames_B))
            x_AxPxLxC = jax.lax.map(jax.checkpoint(lambda part: pooled(*part)), tuple(parts))
            x_BxLxC = x_AxPxLxC.swapaxes(0, 1).reshape(B, *x_AxPxLxC.shape[2:])
        return self.project(weighted(self, x_BxLxC), (frames_B > 0).astype(jnp.float32), target_B, dropout, train)


def make(config) -> Encoder:
    """The encoder of `config.model`."""
    check(config, 'dim', 'accumulate')
    if not isinstance(config.lora, int) or config.lora < 0:
        raise Refusal(f'config.model.lora is {config.lora}; expected a rank, or 0 for changes of full rank.')
    if not 0 < config.upstream_rate < float('inf'):
        raise Refusal(f'config.model.upstream_rate is {config.upstream_rate}; expected a number above 0.')
    if not 0 < config.layer_decay <= 1:
        raise Refusal(f'config.model.layer_decay is {config.layer_decay}; expected a number above 0, up to 1.')
    of = upstream.kept(config.upstream)
    if config.lora > of.width:
        raise Refusal(
            f'config.model.lora is {config.lora}, a rank above the width of {config.upstream}, {of.width}: set a lower one, '
            'or 0 for changes of full rank.'
        )
    if config.weights and (found := States.of_encoder(of, KEPT[0]).digest) != config.weights:
        raise Refusal(
            f'{config.upstream} holds an encoder of other weights or sizes ({found}) than that of which this model is changes '
            f'({config.weights}). Name the folder of that one.'
        )
    how = How(jnp.bfloat16 if config.bfloat16 else jnp.float32, config.remat)

    def rate(path: Path) -> float:
        if path[0] != 'upstream':
            return 1.0
        weight = path[1:-1] if config.lora else path[1:]
        return config.upstream_rate * config.layer_decay ** depth(weight, of)

    def rates(params: Any):
        return unflatten_dict({path: rate(path) for path in flatten_dict(params)})

    module = FineTuned(
        config.dim,
        arm(config),
        states=of.module.clone(how=how).apply,
        learns=lambda path: depth(path, of) is not None,
        wave=of.hears == 'wave',
        longest=None if of.hears == 'wave' else round(100 * of.longest),
        lora=config.lora,
        accumulate=config.accumulate,
    )
    return pure(module, of.params, rates)
