"""Checks a configuration and plans its programs, before any data is read."""

import importlib.util
import math
from typing import NamedTuple

from data_pipelines import labels
from data_pipelines.batching import table
from data_pipelines.errors import UserError
from data_pipelines.storage.dataset import read_own_classes
from data_pipelines.wording import pluralize
from jaxser.configuration import sweep
from jaxser.nn.encoder import LARGEST_SIZE
from jaxser.plugins import DUMMY_SIZES, load_plugin, make_method
from jaxser.runs import flatten
from jaxser.training import optimizer, parallel

LARGEST_SEED = 2**31 - 1  # of 32-bit integers
MIN_RATED_EXAMPLES = 4  # of a batch; with fewer, the concordance correlation says little
LARGEST_COUNT = 10**6  # of epochs, frames, examples: what is more is a slip, or fills the memory


class Range(NamedTuple):
    """Finite numbers from `low` to `high`; `open_end` names the end that is not included."""

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
        if self.open_end == 'low':
            return f'a number above {low}, up to {high}'
        if self.open_end == 'high':
            return f'a number from {low} to below {high}'
        return f'a number from {low} to {high}'


RANGES = {
    'data.frames': Range(1, LARGEST_COUNT),
    'data.batch': Range(1, LARGEST_COUNT),
    'data.eval_batch': Range(1, LARGEST_COUNT),
    'data.order_seed': Range(0, LARGEST_SEED),
    'data_devices': Range(1, LARGEST_COUNT),
    'domain_hidden': Range(0, LARGEST_SIZE),
    'model.lora': Range(0, LARGEST_SIZE),
    'model.accumulate': Range(1, LARGEST_COUNT),
    'model.layer_decay': Range(0, 1, open_end='low'),
    'model.upstream_rate': Range(0, open_end='low'),
    'protocol.withhold': Range(0, 0.9, open_end='high'),
    'train.checkpoint_seconds': Range(0),
    'train.annotator_dropout': Range(0, 1, open_end='high'),
    'train.clip': Range(0, open_end='low'),  # a negative one would turn descent into ascent
    'train.epochs': Range(1, LARGEST_COUNT),
    'train.rating_weight': Range(0),
    'train.select_from': Range(0, 1),  # beyond 1 no epoch would be selected
    'train.warmup': Range(0, 1, open_end='high'),
}

CHOICES = {
    'task': labels.TASKS,
    'train.select': ('best dev UAR', 'best dev CCC', 'last epoch'),
    'train.rating_loss': ('ccc', 'mse'),
    'train.optimizer': tuple(optimizer.OPTIMIZERS),
    'data.normalise': tuple(table.NORMALISATIONS),
    'data.resident': ('auto', 'on', 'off'),
    'matmul_precision': ('default', 'high', 'highest'),
    'parallel': parallel.MODES,
}


def plan_programs(config) -> list[sweep.Program]:
    """Checks the configuration and returns the programs of its sweep.

    Raises UserError for keys that are wrong for any data.
    """
    _check_values(config)
    _check_task(config)
    _check_batch_sizes(config)
    _check_tracker(config.track)
    programs = sweep.make_programs(config, describe_method)
    for program in programs:
        _check_task_of_method(config, program)
        _check_masks(config, program)
        _check_model_keys(config, program)
        _check_identity_batches(config, program)
    return programs


def describe_method(config) -> sweep.MethodFacts:
    """Returns what is known of a configuration's method before any data is read.

    These facts do not depend on sizes, so that the method is made for dummy sizes.
    """
    _, method = make_method(config, DUMMY_SIZES)
    return sweep.MethodFacts(
        hyper=method.hyper,
        domains=method.domains,
        needs_target=method.target,
        has_identity_batches=method.identity,
        may_be_negative=method.may_be_negative,
        within_emotions=method.within_emotions,
        needs_classes=method.needs_classes,
    )


def _check_values(config) -> None:
    """Raises UserError for a name that does not exist, and for a number out of its range."""
    values = flatten(config)
    for key, options in CHOICES.items():
        if values[key] not in options:
            raise UserError(
                f'config.{key} is {values[key]!r}; expected one of {", ".join(options)}.'
            )
    if not labels.is_known_space(config.data.labels):
        read_own_classes(config.data, config.data.labels)  # raises UserError if there are none
    for key, expected in RANGES.items():
        if key in values and values[key] not in expected:
            raise UserError(f'config.{key} is {values[key]}; expected {expected}.')


def _check_task(config) -> None:
    """Raises UserError for what the chosen task cannot do."""
    if labels.has_ratings(config.task) and config.train.rating_loss == 'ccc':
        # With adaptation, half of a batch are examples of the target (plan.batch_shares).
        halves = 1 if config.protocol.adapt == 'none' else 2
        rated = config.data.batch // halves
        if rated < MIN_RATED_EXAMPLES:
            raise UserError(
                f'With config.data.batch={config.data.batch}, a batch has '
                f'{pluralize(rated, "rated example")}. config.train.rating_loss=ccc is computed '
                f'over these, and needs {MIN_RATED_EXAMPLES} or more. Set '
                f'--config.data.batch={MIN_RATED_EXAMPLES * halves} or more (32 is usual), or '
                '--config.train.rating_loss=mse.'
            )
    _check_soft_labels(config)


def _check_soft_labels(config) -> None:
    """Raises UserError for soft labels without classes, and for dropout without soft labels."""
    if not config.train.soft_labels:
        if config.train.annotator_dropout:
            raise UserError(
                f'config.train.annotator_dropout is {config.train.annotator_dropout}, and there '
                'are no votes to drop. Set --config.train.soft_labels=True, or leave it out.'
            )
        return
    if not labels.has_classes(config.task):
        raise UserError(
            f'config.train.soft_labels are votes for classes, and config.task={config.task} has '
            'none. Leave config.train.soft_labels out, or choose --config.task=emotion+ratings.'
        )
    if config.data.labels in labels.RATING_SPACES:
        raise UserError(
            f'config.train.soft_labels are votes for emotions, and config.data.labels='
            f'{config.data.labels} makes classes of mean ratings. Choose another label space, or '
            'leave config.train.soft_labels out.'
        )


def _check_task_of_method(config, program: sweep.Program) -> None:
    """Raises UserError for a method that needs one class of each utterance, where there is none."""
    if program.method.needs_classes and config.train.soft_labels:
        raise UserError(
            f'{program.config.method} needs one class of each utterance, and with '
            'config.train.soft_labels its labels are the votes of raters. Choose another method, '
            'such as dann or similarity, or leave config.train.soft_labels out.'
        )
    if program.method.needs_classes and not labels.has_classes(config.task):
        raise UserError(
            f'{program.config.method} needs the emotions as classes, and config.task={config.task} '
            'predicts ratings only. Choose another method, such as dann or similarity, or '
            '--config.task=emotion+ratings.'
        )


def _check_tracker(name: str) -> None:
    """Raises UserError for a tracker that does not exist or is not installed."""
    if not name:
        return
    package = load_plugin('trackers', name).PACKAGE
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:  # a mere folder of this name has no origin
        raise UserError(
            f'config.track={name} needs the package {package}: pip install {package}. Or leave '
            'config.track out.'
        )


def _check_batch_sizes(config) -> None:
    """Raises UserError if a batch cannot be divided over devices and accumulated parts."""
    if config.data_devices > 1 and config.parallel == 'pmap':
        raise UserError(
            'config.data_devices needs config.parallel=jit: pmap does not divide a batch over '
            'devices.'
        )
    for key in ('batch', 'eval_batch'):
        if config.data[key] % config.data_devices:
            raise UserError(
                f'config.data.{key} is {config.data[key]}; expected a multiple of '
                f'config.data_devices, {config.data_devices}.'
            )
    if config.data.batch % (config.model.accumulate * config.data_devices):
        raise UserError(
            f'config.data.batch is {config.data.batch}; expected a multiple of '
            'config.model.accumulate times config.data_devices, '
            f'{config.model.accumulate} x {config.data_devices}.'
        )


def _check_masks(config, program: sweep.Program) -> None:
    """Raises UserError for SpecAugment on features that it would destroy."""
    features = config.data.upstream
    for mask in ('time_mask', 'band_mask'):
        if not any(variant[mask] for variant in program.variants):
            continue
        if features.startswith('wave'):
            raise UserError(
                f'config.sweep.{mask} is above 0, and {features} are audio samples, of which '
                'SpecAugment would remove parts: set config.sweep.time_mask and '
                'config.sweep.band_mask to 0.'
            )
        if mask == 'time_mask' and '-pooled-' in features:
            raise UserError(
                f'config.sweep.time_mask is above 0, and {features} has one frame for each '
                'utterance, which SpecAugment would remove: set config.sweep.time_mask to 0.'
            )


def _check_model_keys(config, program: sweep.Program) -> None:
    """Raises UserError for a swept size that the model does not have."""
    keys = load_plugin('models', config.model.name).KEYS
    for key_path in program.structure:
        if key_path.startswith('model.') and key_path.removeprefix('model.') not in keys:
            raise UserError(
                f'config.sweep.{key_path}: {config.model.name} has no such size; it has '
                f'{", ".join(keys)}.'
            )


def _check_identity_batches(config, program: sweep.Program) -> None:
    """Raises UserError if identity batches are configured for a method that takes none."""
    if config.protocol.identity and not program.method.has_identity_batches:
        raise UserError(
            f'config.protocol.identity is {",".join(config.protocol.identity)}, and '
            f'{program.config.method} takes no identity batches. Leave '
            'config.protocol.identity empty, or train only speaker_norm or similarity, whose '
            'lam = 0 is plain training (--config.method=similarity --config.sweep.lam=0,3).'
        )
