"""Plans which utterances are in which batch; order seed, fold and epoch determine the plan."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from data_pipelines.protocols.folds import Fold
from data_pipelines.storage.schema import Utterances

# Whole utterances are padded to one of these numbers of frames, so that few programs are compiled:
# 1 (pooled states), 100, 150, 200, 300, 400, 600, ...
PADDED_LENGTHS = (1, *sorted([100 << k for k in range(20)] + [150 << k for k in range(20)]))


def batch_shares(fold: Fold, batch_size: int) -> list[tuple[np.ndarray, int]]:
    """Returns the rows that a batch is drawn from, and how many examples of each.

    All are of the training part, or half of each where training adapts to other rows.
    """
    if not len(fold.adapt):
        return [(fold.train, batch_size)]
    half = batch_size // 2
    return [(fold.train, half), (fold.adapt, batch_size - half)]


def steps_per_epoch(folds: list[Fold], batch_size: int) -> int:
    """Returns the number of steps of an epoch, the same in every fold.

    It is just enough to use every row of the largest training part once.
    """
    steps = []
    for fold in folds:
        rows, count = batch_shares(fold, batch_size)[0]
        steps.append(-(-len(rows) // count))
    return max(steps)


def epoch_order(
    fold: Fold, epoch: int, steps: int, batch_size: int, order_seed: int, identity_count: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns row_SxB and crop_SxB of an epoch of S steps.

    Rows are permutations of a part of the fold; a new one begins where one is used up. A crop in
    [0, 1) says where a longer utterance is cut. After `batch_size` examples, B has `identity_count`
    identity examples, on which domain heads train. They are drawn last, so that the first
    `batch_size` examples do not depend on them.
    """
    random = np.random.default_rng((order_seed, fold.number, epoch))
    rows, crops = _draw_examples(random, batch_shares(fold, batch_size), steps)
    if identity_count:
        shares = [(fold.domain_rows, identity_count)]
        identity_rows, identity_crops = _draw_examples(random, shares, steps)
        rows = np.concatenate([rows, identity_rows], axis=1)
        crops = np.concatenate([crops, identity_crops], axis=1)
    return rows, crops


def _draw_examples(
    random: np.random.Generator, shares: list[tuple[np.ndarray, int]], steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns row_SxB and crop_SxB, with the count of each share in every step."""
    rows = np.concatenate([_shuffle(random, part, steps, n) for part, n in shares], axis=1)
    return rows, random.random(rows.shape)


def _shuffle(random: np.random.Generator, part: np.ndarray, steps: int, count: int) -> np.ndarray:
    """Returns row_SxB, B = `count`: permutations of the part one after another."""
    permutations = -(-steps * count // len(part))
    rows = np.concatenate([random.permutation(part) for _ in range(permutations)])
    return rows[: steps * count].reshape(steps, count)


def crop_starts(frames: np.ndarray, crop: np.ndarray, T: int) -> np.ndarray:
    """Returns the first frame of a cut of T frames; 0 for utterances of at most T frames."""
    return np.floor(crop * (np.maximum(frames - T, 0) + 1)).astype(np.int64)


def padded_length(frames: int) -> int:
    """Returns the number of frames to which a batch of whole utterances is padded."""
    for length in PADDED_LENGTHS:
        if frames <= length:
            return length
    raise ValueError(f'{frames} frames; at most {PADDED_LENGTHS[-1]} are expected.')


def whole_utterance_batches(
    utterances: Utterances, parts: list[np.ndarray], batch_size: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Yields row_FxB of a part of each fold, the longest utterances first, and the padded length.

    Row -1 pads the batch where a fold has no more utterances.
    """
    sorted_parts = []
    for part in parts:
        longest_first = np.argsort(-utterances.frames_N[part], kind='stable')
        sorted_parts.append(part[longest_first])
    most = max([len(part) for part in parts])
    for start in range(0, most, batch_size):
        row_FxB = np.full((len(parts), batch_size), -1)
        for f, part in enumerate(sorted_parts):
            rows = part[start : start + batch_size]
            row_FxB[f, : len(rows)] = rows
        longest = int(utterances.frames_N[row_FxB[row_FxB >= 0]].max())
        yield row_FxB, padded_length(longest)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """A piece of work for the devices: a chunk of training steps, or a batch to evaluate.

    Axes: D devices, S steps of a chunk, F folds of a device, B examples of a batch. The arrays of
    training have all four, those of evaluation have no S.

    Attributes:
        part: 'train' for training, on cuts; in evaluation, of whole utterances, the property of
            Fold that is evaluated: 'dev', 'test', 'fit_rows' (for the method's fit), or
            'used_rows' (for the probe).
        epoch: counted from 0.
        subset_fold: the index of each fold in the list of folds: DxSxF in training, DxF in
            evaluation.
        row: of the utterances; -1 is padding. DxSxFxB in training, DxFxB in evaluation.
        start_frame: the first frame of each cut, in the shape of `row`; all 0 in evaluation.
        frames: the length T of the cuts, or the padded length of the whole utterances.
        steps: in training, how many of the S steps belong to the epoch; the others are left out.
        is_last: whether this is the last item of the part in this epoch.
        identity_count: in training, how many examples at the end of B are identity examples, whose
            emotions are not used.
        global_row: in evaluation, the rows of all folds in the list, also those of other processes:
            (all folds) x B.
    """

    part: str
    epoch: int
    subset_fold: np.ndarray
    row: np.ndarray
    start_frame: np.ndarray
    frames: int
    steps: int = 0
    is_last: bool = False
    identity_count: int = 0
    global_row: np.ndarray | None = None


def training_items(
    folds: list[Fold],
    fold_DxF: np.ndarray,
    utterances: Utterances,
    epoch: int,
    steps: int,
    chunk_steps: int,
    config,
    has_identity_batches: bool = False,
) -> Iterator[Item]:
    """Yields an epoch in chunks of equal length, the last one padded with steps that are left out.

    `fold_DxF` are indices of `folds`. `config` is the data section of a configuration. With
    `has_identity_batches`, every step has as many identity examples as others, after them.
    """
    identity_count = config.batch if has_identity_batches else 0
    used_folds = np.unique(fold_DxF)
    rows = []
    crops = []
    for f in used_folds:
        fold_rows, fold_crops = epoch_order(
            folds[f], epoch, steps, config.batch, config.order_seed, identity_count
        )
        rows.append(fold_rows)
        crops.append(fold_crops)
    index_DxF = np.searchsorted(used_folds, fold_DxF)
    row_DxSxFxB = np.stack(rows)[index_DxF].swapaxes(1, 2)
    crop_DxSxFxB = np.stack(crops)[index_DxF].swapaxes(1, 2)
    start_DxSxFxB = crop_starts(utterances.frames_N[row_DxSxFxB], crop_DxSxFxB, config.frames)
    for first in range(0, steps, chunk_steps):
        end = min(first + chunk_steps, steps)
        row = _pad_steps(row_DxSxFxB[:, first:end], chunk_steps)
        yield Item(
            part='train',
            epoch=epoch,
            subset_fold=np.broadcast_to(fold_DxF[:, None], row.shape[:-1]),
            row=row,
            start_frame=_pad_steps(start_DxSxFxB[:, first:end], chunk_steps),
            frames=config.frames,
            steps=end - first,
            is_last=end == steps,
            identity_count=identity_count,
        )


def _pad_steps(values: np.ndarray, steps: int) -> np.ndarray:
    """Returns an array of DxSxFxB with its last step repeated up to S = `steps`."""
    missing = steps - values.shape[1]
    return np.pad(values, ((0, 0), (0, missing), (0, 0), (0, 0)), mode='edge')


def evaluation_items(
    folds: list[Fold],
    fold_DxF: np.ndarray,
    utterances: Utterances,
    part: str,
    epoch: int,
    batch_size: int,
) -> Iterator[Item]:
    """Yields a part of each fold in batches of whole utterances.

    `part` is an attribute of Fold that contains rows, and `fold_DxF` are indices of `folds`.
    """
    parts = [getattr(fold, part) for fold in folds]
    batches = list(whole_utterance_batches(utterances, parts, batch_size))
    for n, (row_FxB, frames) in enumerate(batches, start=1):
        row = row_FxB[fold_DxF]
        yield Item(
            part=part,
            epoch=epoch,
            subset_fold=fold_DxF,
            row=row,
            start_frame=np.zeros_like(row),
            frames=frames,
            is_last=n == len(batches),
            global_row=row_FxB,
        )
