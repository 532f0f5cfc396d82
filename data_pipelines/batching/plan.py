"""Which utterances make which batch: a function of (order seed, fold, epoch) alone, known without any features."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from data_pipelines.protocols.folds import Fold
from data_pipelines.storage.schema import Utterances


def batch_shares(fold: Fold, batch_size: int) -> list[tuple[np.ndarray, int]]:
    """Whose utterances make a batch, and how many: the training part alone, or half and half with what it adapts to."""
    return (
        [(fold.train, batch_size // 2), (fold.adapt, batch_size - batch_size // 2)]
        if len(fold.adapt)
        else [(fold.train, batch_size)]
    )


def steps_per_epoch(folds: list[Fold], batch_size: int) -> int:
    """The same in every fold: enough for the largest training part to be seen once."""
    return max(-(-len(f.train) // batch_shares(f, batch_size)[0][1]) for f in folds)


def epoch_order(
    fold: Fold, epoch: int, steps: int, batch_size: int, order_seed: int, identity_count: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """row_SxB and crop_SxB of an epoch: permutations of a part of the fold, begun anew when one is used up.

    `crop` in [0, 1) says where in a longer utterance the cut begins. After `batch_size` examples come `identity_count` others of those whose
    domain is forgotten, in an order of their own, which changes nothing of the first.
    """
    random = np.random.default_rng((order_seed, fold.number, epoch))

    def shuffled(part: np.ndarray, n: int) -> np.ndarray:
        rows = np.concatenate([random.permutation(part) for _ in range(-(-steps * n // len(part)))])
        return rows[: steps * n].reshape(steps, n)

    def drawn(some: list[tuple[np.ndarray, int]], n: int) -> tuple[np.ndarray, np.ndarray]:
        return np.concatenate([shuffled(*one) for one in some], axis=1), random.random((steps, n))

    heard = [
        drawn(batch_shares(fold, batch_size), batch_size),
        *([drawn([(fold.domain_rows, identity_count)], identity_count)] if identity_count else []),
    ]
    rows, crops = (np.concatenate(x, axis=1) for x in zip(*heard))
    return rows, crops


def crop_starts(frames: np.ndarray, crop: np.ndarray, T: int) -> np.ndarray:
    """The first frame of a cut of T frames."""
    return np.floor(crop * (np.maximum(frames - T, 0) + 1)).astype(np.int64)


def padded_length(frames: int) -> int:
    """The number of frames to which a batch of whole utterances is padded: few values, so that few programs are compiled."""
    return min(T for T in (1, *(n << k for k in range(20) for n in (100, 150))) if frames <= T)


def whole_utterance_batches(
    utterances: Utterances, parts: list[np.ndarray], batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Whole utterances of a part of each fold, the longest first: (row_FxB, start_FxB, T); row -1 where a fold has no more."""
    ordered = [part[np.argsort(-utterances.frames_N[part], kind='stable')] for part in parts]
    for at in range(0, max(len(p) for p in parts), batch_size):
        rows = np.full((len(parts), batch_size), -1)
        for f, part in enumerate(ordered):
            some = part[at : at + batch_size]
            rows[f, : len(some)] = some
        longest = int(utterances.frames_N[rows[rows >= 0]].max())
        yield rows, np.zeros_like(rows), padded_length(longest)


@dataclasses.dataclass(frozen=True)
class Item:
    """A piece of work for the devices: a chunk of training steps, or a batch of whole utterances to score."""

    part: str  # train | dev | heard (in training, scored whole) | test
    epoch: int
    fold: np.ndarray  # index of the fold: DxSxF in training, DxF in scoring
    row: np.ndarray  # DxSxFxB in training, DxFxB in scoring; -1 is nobody
    start: np.ndarray
    frames: int
    steps: int = 0  # of the chunk's S, how many belong to the epoch; the others are skipped
    is_last: bool = False  # of this part in this epoch
    identity_count: int = 0  # in training, how many examples at the end of B are identity examples, whose emotion nobody is told
    global_row: np.ndarray | None = (
        None  # in scoring, the rows of every fold, those of other machines too
    )


def training_items(
    folds: list[Fold],
    fold_DxF: np.ndarray,
    utterances: Utterances,
    epoch: int,
    steps: int,
    chunk_steps: int,
    config,
    with_identity: bool = False,
) -> Iterator[Item]:
    """An epoch in chunks of equal length; with `with_identity`, as many identity examples follow the examples of every step."""
    used, more = np.unique(fold_DxF), config.batch if with_identity else 0
    orders = [
        epoch_order(folds[f], epoch, steps, config.batch, config.order_seed, more) for f in used
    ]
    at_DxF = np.searchsorted(used, fold_DxF)
    rows, crops = (np.stack(x)[at_DxF].swapaxes(1, 2) for x in zip(*orders))  # DxSxFxB
    starts = crop_starts(utterances.frames_N[rows], crops, config.frames)
    for at in range(0, steps, chunk_steps):
        to = min(at + chunk_steps, steps)
        fill = ((0, 0), (0, chunk_steps - (to - at)), (0, 0), (0, 0))
        row, first = (np.pad(x[:, at:to], fill, mode='edge') for x in (rows, starts))
        fold = np.broadcast_to(fold_DxF[:, None], row.shape[:-1])
        yield Item(
            'train',
            epoch,
            fold,
            row,
            first,
            config.frames,
            to - at,
            to == steps,
            identity_count=more,
        )


def evaluation_items(
    folds: list[Fold],
    fold_DxF: np.ndarray,
    utterances: Utterances,
    part: str,
    epoch: int,
    batch_size: int,
) -> Iterator[Item]:
    """A part of each fold in batches of whole utterances."""
    every = list(whole_utterance_batches(utterances, [getattr(f, part) for f in folds], batch_size))
    for n, (row, first, frames) in enumerate(every):
        last = n == len(every) - 1
        yield Item(
            part,
            epoch,
            fold_DxF,
            row[fold_DxF],
            first[fold_DxF],
            frames,
            is_last=last,
            global_row=row,
        )
