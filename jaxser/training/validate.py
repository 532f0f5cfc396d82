"""TODO: jaxser.training.validate."""

import math
from typing import NamedTuple

from data_pipelines import labels
from data_pipelines.batching import table
from data_pipelines.errors import UserError
from jaxser.configuration import sweep
from jaxser.plugins import DUMMY_SIZES, load_plugin, make_method
from jaxser.runs import flatten
from jaxser.training import optimizer, parallel

SELECTIONS = ('best dev UAR', 'last epoch')

PRECISIONS = ('default', 'high', 'highest')

RESIDENCIES = ('auto', 'on', 'off')

LARGEST_SEED = 2**31 - 1  # of 32-bit integers


class Range(NamedTuple):
    """Finite numbers from `low` to `high`; `without` names the end that is not allowed."""

    low: float
    high: float = math.inf
    open_end: str = ''  # low | high

    def __contains__(self, value) -> bool:
        if not isinstance(value, int | float):
            return False
        above = self.low < value if self.open_end == 'low' else self.low <= value
        below = value < self.high if self.open_end == 'high' else value <= self.high
        return above and below and value < math.inf  # NaN is neither above nor below

    def __str__(self) -> str:
        low, high = f'{self.low:.10g}', f'{self.high:.10g}'
        if self.high == math.inf:
            return f'a number above {low}' if self.open_end == 'low' else f'{low} or more'
        ends = {'low': f'above {low}, up to {high}', 'high': f'from {low} up, below {high}'}
        return f'a number {ends.get(self.open_end, f"from {low} to {high}")}'


RANGES = {
    'data.frames': Range(1),
    'data.batch': Range(1),
    'data.eval_batch': Range(1),
    'data.order_seed': Range(0, LARGEST_SEED),
    'data_devices': Range(1),
    'model.accumulate': Range(1),
    'model.layer_decay': Range(0, 1, open_end='low'),
    'model.upstream_rate': Range(0, open_end='low'),
    'train.checkpoint_seconds': Range(0),
    'train.clip': Range(0, open_end='low'),  # a negative one would turn descent into ascent
    'train.epochs': Range(1),
    'train.select_from': Range(0, 1),  # beyond 1 no epoch would be selected
    'train.warmup': Range(0, 1, open_end='high'),
}


def validate(config) -> list[sweep.Program]:
    """The parts of the sweep; refuses what can be known to be wrong before any data is read."""
    choices = {
        'train.select': SELECTIONS,
        'train.optimizer': tuple(optimizer.OPTIMIZERS),
        'data.normalise': tuple(table.NORMALISATIONS),
        'data.labels': (*labels.LABEL_SPACES, *labels.RATING_SPACES),
        'data.resident': RESIDENCIES,
        'matmul_precision': PRECISIONS,
        'parallel': parallel.MODES,
    }
    values = flatten(config)
    for key, known in choices.items():
        if values[key] not in known:
            raise UserError(f'config.{key} is {values[key]!r}; expected one of {", ".join(known)}.')
    for key, expected in RANGES.items():
        if key in values and values[key] not in expected:
            raise UserError(f'config.{key} is {values[key]}; expected {expected}.')
    if config.data_devices > 1 and config.parallel == 'pmap':
        raise UserError(
            'config.data_devices needs config.parallel=jit: pmap shares no batch out over devices.'
        )
    for key in ('batch', 'eval_batch'):
        if config.data[key] % config.data_devices:
            raise UserError(
                f'config.data.{key} is {config.data[key]}, no multiple of config.data_devices, {config.data_devices}.'
            )
    if config.data.batch % (config.model.accumulate * config.data_devices):
        raise UserError(
            f'config.data.batch is {config.data.batch}, no multiple of config.model.accumulate times config.data_devices, '
            f'{config.model.accumulate} x {config.data_devices}.'
        )
    parts = sweep.make_programs(config, lambda c: make_method(c, DUMMY_SIZES)[1].hyper)
    for part in parts:
        masks = [k for k in ('time_mask', 'band_mask') if any(v[k] for v in part.variants)]
        if masks and config.data.upstream.startswith('wave'):
            raise UserError(
                f'config.sweep.{masks[0]} is above 0, and {config.data.upstream} are samples, in which SpecAugment would cut '
                'holes: set config.sweep.time_mask and config.sweep.band_mask to 0.'
            )
        if 'time_mask' in masks and '-pooled-' in config.data.upstream:
            raise UserError(
                f'config.sweep.time_mask is above 0, and {config.data.upstream} has one frame an utterance, which SpecAugment '
                'would cut out whole: set config.sweep.time_mask to 0.'
            )
        keys = load_plugin('models', config.model.name).KEYS
        if strange := [
            k
            for k in part.structure
            if k.startswith('model.') and k.removeprefix('model.') not in keys
        ]:
            raise UserError(
                f'config.sweep.{strange[0]}: {config.model.name} has no such size; it has {", ".join(keys)}.'
            )
        if config.protocol.identity and not make_method(part.config, DUMMY_SIZES)[1].identity:
            raise UserError(
                f'config.protocol.identity is {",".join(config.protocol.identity)}, and {part.config.method} takes no identity '
                'batches. Leave it empty, or train speaker_norm alone; beside it stands plain training as its lam = 0 '
                '(--config.method=speaker_norm --config.sweep.lam=0,0.01).'
            )
    return parts
