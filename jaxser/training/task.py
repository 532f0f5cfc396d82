"""TODO: jaxser.training.task."""

import itertools

import jax
import numpy as np

from data_pipelines.batching import plan, table
from data_pipelines.errors import UserError
from data_pipelines.protocols import audit, folds, split, subsets
from data_pipelines.storage import dataset
from jaxser import distributed
from jaxser.configuration import sweep
from jaxser.interfaces import Sizes
from jaxser.training import memory

RESIDENT_MEMORY_FRACTION = 0.4  # of a device's memory, for features that stay there


class Task:
    """The data of a configuration: utterances, folds, and all of a batch but its features.

    `entries` are the folds to run, each with every subset of its training part that a run of `parts` asks for; an epoch of any of
    them takes as many steps as one of the whole training part.
    """

    def __init__(self, config, programs: list[sweep.Program]):
        self.split = split.make_split(config)
        self.utterances, self.protocol_folds, self.split_sha256, *_ = self.split
        self.steps_per_epoch = plan.steps_per_epoch(self.protocol_folds, config.data.batch)
        self.folds = [
            self.protocol_folds[n]
            for n in sweep.select_folds(config.sweep.fold, len(self.protocol_folds))
        ]
        wanted, seed = (
            list(dict.fromkeys(sweep.run_subset(v) for p in programs for v in p.variants)),
            config.data.order_seed,
        )
        for line in subsets.describe_shortages(self.utterances, self.folds, wanted, seed):
            distributed.log(line)
        self.subset_folds = [
            subsets.take_subset(self.utterances, f, s, seed) for f in self.folds for s in wanted
        ]
        self.subset_fold_index = {
            key: i
            for i, key in enumerate(itertools.product((f.number for f in self.folds), wanted))
        }
        self.table = table.ExampleTable(
            self.utterances, self.subset_folds, config.data.normalise, config.train.balanced
        )
        self.label_keys: list[
            str
        ] = []  # the hyper-parameters in which the runs differ, by which they are named
        self.protocol = folds.Protocol(**config.protocol)
        self.audit = audit.audit_folds(self.utterances, self.protocol_folds, self.protocol)
        self.max_frames = max(
            config.data.frames, plan.padded_length(int(self.utterances.frames_N.max()))
        )

    def make_sizes(self, config) -> Sizes:
        """How much of everything there is."""
        domains = {d: len(self.table.domains[d]) for d in table.DOMAINS}
        return Sizes(
            self.utterances.bands,
            len(self.table.classes),
            domains,
            self.steps_per_epoch * config.train.epochs,
        )

    def check_domain(self, domain: str) -> None:
        """Refuses to forget what does not vary: an adversary of one class learns nothing and costs time."""
        for fold, seen_K in zip(self.subset_folds, self.table.seen[domain]):
            if seen_K.sum() < 2:
                only = ', '.join(self.table.domains[domain][seen_K > 0]) or 'unknown'
                raise UserError(
                    f'Training hears only one {domain} in fold {fold.name!r}, {only}: there is nothing to forget. Choose another '
                    'config.domain, or let it hear the target: --config.protocol.adapt=others or transductive.'
                )

    def check_target(self, requested_by: str) -> None:
        """Refuses what is nothing without a target where none is heard."""
        for fold in self.folds:
            if not len(fold.adapt):
                raise UserError(
                    f'{requested_by} is nothing without a target, and training hears none in fold {fold.name!r}. Let it: '
                    '--config.protocol.adapt=transductive, or others where the protocol has a target.'
                )

    def feature_bytes(self) -> int:
        """Of all features in 16 bits, with room to cut the longest batch at their end."""
        return 2 * self.utterances.bands * (int(self.utterances.frames_N.sum()) + self.max_frames)


def choose_residency(config, task: Task, choices: dict) -> bool:
    """Whether the features live on the devices; says so."""
    size, limit = task.feature_bytes(), memory.memory_limit(jax.devices())
    fits = size <= RESIDENT_MEMORY_FRACTION * limit
    there = {'on': True, 'off': False}.get(config.data.resident, choices.get('resident', fits))
    if not there and task.utterances.is_packed:
        raise UserError(
            f'The features take {size / 2**20:.0f} MiB, and {RESIDENT_MEMORY_FRACTION * limit / 2**20:.0f} MiB may stay on the device; '
            'a packed corpus (.npz) cannot be streamed. Set config.data.resident=off where the shards are, or on to try.'
        )
    what = 'stay on the device' if there else 'are streamed from the shards'
    source = 'an .npz' if task.utterances.is_packed else 'the shards'
    room = (
        f'{size / 2**20:.0f} MiB, and {RESIDENT_MEMORY_FRACTION * limit / 2**20:.0f} MiB may stay'
    )
    distributed.log(
        f'Features, from {source}, {what}: {room} (config.data.resident={config.data.resident}).'
    )
    return there


def load_features(task: Task) -> np.ndarray:
    """mel_RxM of the whole corpus, and zeros at its end."""
    mel_RxM = dataset.read_all_features(task.utterances)
    return np.concatenate([mel_RxM, np.zeros((task.max_frames, mel_RxM.shape[1]), mel_RxM.dtype)])
