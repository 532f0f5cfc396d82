"""The data of a sweep: utterances, folds, labels, and where the features are kept."""

import functools

import jax
import numpy as np

from data_pipelines import labels
from data_pipelines.batching import plan, table
from data_pipelines.errors import UserError
from data_pipelines.protocols import audit, enrolment, split, subsets
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.storage import dataset
from jaxser import distributed
from jaxser.configuration import sweep
from jaxser.interfaces import Sizes
from jaxser.runs import varying_keys
from jaxser.training import memory

# What to set in place of a method that distinguishes domains only within an emotion.
METHODS_ACROSS_EMOTIONS = {
    'similarity': 'config.similarity=unconditional',
    'cdann': 'config.method=dann',
}

# The fraction of a device's memory that resident features may use.
RESIDENT_MEMORY_FRACTION = 0.4


class Task:
    """The data of a configuration: utterances, folds, and all of a batch but its features.

    Attributes:
        data: where the data sets are and what identifies them; it is looked up only once.
        folds: the folds to run.
        subset_folds: for each of them, one fold for each subset of the training part that a run of
            the programs trains on.
        subset_fold_index: the indices of subset_folds by (number of the fold, subset).
        steps_per_epoch: the steps of an epoch, the same in all folds: as many as the whole training
            part needs.
        runs: the runs of all programs.
        classes: the classes that are predicted; none for the task `ratings`, where table.classes
            are the thirds of a scale.
        ratings: the names of the ratings that are predicted; none for the task `emotion`.
        votes_NxC: the votes of raters for the classes of the table, zeros where there are none;
            None without config.train.soft_labels.
        label_keys: the hyper-parameters by which the runs are named.
        shortages: a sentence for each value of a sweep that asks for more than the data have.
    """

    def __init__(self, config, programs: list[sweep.Program]):
        self.data = dataset.find_prepared_data(config.data)
        self.split = split.make_split(config, self.data)
        self.utterances = self.split.utterances
        self.protocol_folds = self.split.folds
        self.split_sha256 = self.split.sha256
        self.protocol = Protocol(**config.protocol)
        fold_numbers = sweep.select_folds(config.sweep.fold, len(self.protocol_folds))
        self.folds = [self.protocol_folds[number] for number in fold_numbers]
        self._has_classes = labels.has_classes(config.task)
        self.ratings = tuple(config.data.ratings) if labels.has_ratings(config.task) else ()
        self._take_subsets(programs, config.data.order_seed)
        classes, _ = table.index_values(self.utterances.text['emotion'])
        self.votes_NxC = split.count_votes(config, self.utterances, classes)
        self.steps_per_epoch = plan.steps_per_epoch(self.protocol_folds, config.data.batch)
        self.table = table.ExampleTable(
            self.utterances,
            self.subset_folds,
            config.data.normalise,
            config.train.balanced,
            config.data.order_seed,
            self.ratings,
            self.votes_NxC,
        )
        self.classes = self.table.classes.tolist() if self._has_classes else []
        self._check_names()
        longest = plan.padded_length(int(self.utterances.frames_N.max()))
        self.max_frames = max(config.data.frames, longest)
        self.runs = []
        for program in programs:
            self.runs += sweep.make_runs(program, fold_numbers)
        self.label_keys = varying_keys(self.runs)

    @functools.cached_property
    def audit(self) -> dict:
        """Returns the findings about the folds; UserError for a leak that is not allowed."""
        return audit.audit_folds(
            self.utterances,
            self.protocol_folds,
            self.protocol,
            self.split.dropped.findings,
            '' if self._has_classes else self.ratings[0],
        )

    @functools.cached_property
    def mel_RxM(self) -> np.ndarray:
        """Returns the features of the whole corpus in float16.

        Zeros follow the last utterance, so that `max_frames` rows can be read from any of its
        frames.
        """
        return dataset.read_all_features(self.utterances, padding_frames=self.max_frames)

    def _check_names(self) -> None:
        """Raises UserError for a class with the name of a rating: columns of results have both."""
        shared = sorted(set(self.classes) & set(self.ratings))
        if shared:
            raise UserError(
                f'{shared[0]} is a class and a rating. Rename the class, by preparing the corpus '
                'again with another --labels, or leave the rating out: --config.data.ratings.'
            )

    def _take_subsets(self, programs: list[sweep.Program], seed: int) -> None:
        """Makes the folds with every subset of the training part that a run trains on."""
        run_subsets = {}
        for program in programs:
            for variant in program.variants:
                run_subsets[sweep.run_subset(variant)] = None
        run_subsets = list(run_subsets)
        self.shortages = subsets.describe_shortages(self.utterances, self.folds, run_subsets, seed)
        counts = {subset.enrol for subset in run_subsets} - {None}
        if not counts:
            counts = {self.protocol.enrol}
        self.shortages += enrolment.describe_shortages(self.utterances, self.folds, counts)
        self.subset_folds = []
        self.subset_fold_index = {}
        for fold in self.folds:
            for subset in run_subsets:
                self.subset_fold_index[fold.number, subset] = len(self.subset_folds)
                self.subset_folds.append(
                    subsets.take_subset(self.utterances, fold, subset, seed, self._has_classes)
                )

    def make_sizes(self, config) -> Sizes:
        """Returns the sizes that the encoder and the method of a program need."""
        return Sizes(
            bands=self.utterances.bands,
            emotions=len(self.table.classes),
            domains={domain: len(self.table.domains[domain]) for domain in table.DOMAINS},
            steps=self.steps_per_epoch * config.train.epochs,
            ratings=len(self.ratings),
            votes=self.table.most_votes,
        )

    def check_domain(self, domain: str) -> None:
        """Raises UserError if the training data of a fold contain only one value of the domain.

        An adversary with one class learns nothing, and costs time.
        """
        names = self.table.domains[domain]
        for fold, seen_K in zip(self.subset_folds, self.table.seen[domain]):
            if seen_K.sum() < 2:
                value = ', '.join(names[seen_K > 0]) or 'unknown'
                raise UserError(
                    f'The training data of fold {fold.name!r} contain only one {domain}, {value}, '
                    'so that there is nothing to remove. Choose another config.domain, let '
                    'training use the target (--config.protocol.adapt=others or transductive), or '
                    'only train plainly: --config.sweep.method=erm.'
                )

    def check_domain_within_emotions(self, domain: str, method: str) -> None:
        """Raises UserError if in a fold no emotion has labelled examples of several domains.

        The method distinguishes domains only among labelled examples of one emotion.
        """
        for fold in self.subset_folds:
            domain_N = self.table.domain_N[domain][fold.train]
            emotion_N = self.table.emotion_N[fold.train]
            is_compared_N = (domain_N >= 0) & (emotion_N >= 0)
            pairs_Nx2 = np.stack([emotion_N[is_compared_N], domain_N[is_compared_N]], 1)
            pairs_Px2 = np.unique(pairs_Nx2, axis=0)
            if np.bincount(pairs_Px2[:, 0], minlength=1).max() < 2:
                across = METHODS_ACROSS_EMOTIONS.get(method, 'another method')
                group = 'emotion' if self.classes else f'third of the scale of {self.ratings[0]}'
                raise UserError(
                    f'The training data of fold {fold.name!r} contain, for each {group}, labelled '
                    f'utterances of only one {domain}. {method} compares utterances of one '
                    f'{group}, so that it removes nothing. Set {across}, which uses all training '
                    'utterances, or choose another config.domain.'
                )

    def check_target(self, requested_by: str) -> None:
        """Raises UserError if the training data of a fold contain no target.

        `requested_by` is the method or key that needs one.
        """
        for fold in self.folds:
            if not len(fold.adapt):
                raise UserError(
                    f'{requested_by} needs a target, and the training data of fold '
                    f'{fold.name!r} contain none. Set --config.protocol.adapt=transductive, or '
                    'others if the protocol has a target.'
                )

    def feature_bytes(self) -> int:
        """Returns the size of `mel_RxM` in bytes."""
        frames = int(self.utterances.frames_N.sum()) + self.max_frames
        return 2 * self.utterances.bands * frames


def choose_residency(config, task: Task, choices: dict) -> bool:
    """Returns whether the features stay on the devices, and prints it.

    `choices` are what was chosen when the sweep was started, {} for a new sweep. Raises UserError
    if the features neither fit nor can be streamed.
    """
    size = task.feature_bytes()
    limit = RESIDENT_MEMORY_FRACTION * memory.memory_limit(jax.devices())
    if config.data.resident == 'auto':
        is_resident = choices.get('resident', size <= limit)
    else:
        is_resident = config.data.resident == 'on'
    size_text, limit_text = f'{size / 2**20:.0f} MiB', f'{limit / 2**20:.0f} MiB'
    if not is_resident and task.utterances.is_packed:
        raise UserError(
            f'The features do not fit on the device ({size_text}; they may use {limit_text} of its '
            'memory), and a packed corpus (.npz) cannot be streamed. If the shards are in '
            'config.data.dir too, set config.data.resident=off. To use more of the memory of the '
            'device, set config.data.resident=on.'
        )
    source = 'an .npz' if task.utterances.is_packed else 'the shards'
    setting = f'config.data.resident={config.data.resident}'
    if is_resident:
        distributed.log(
            f'Features ({size_text}) from {source} stay on the device. They may use {limit_text} '
            f'of its memory ({setting}).'
        )
    else:
        distributed.log(
            f'Features ({size_text}) are read again from {source} in every epoch. On the device '
            f'they may use {limit_text} ({setting}).'
        )
    return is_resident
