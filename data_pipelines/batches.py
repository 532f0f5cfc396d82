"""Which utterances make which batch: a function of (order seed, fold, epoch) alone, known without any features."""

import collections
import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from data_pipelines import labels, log_mel, pack, prepare, shards
from data_pipelines.folds import Fold
from data_pipelines.refusal import Refusal
from data_pipelines.shards import Utterances

NORMALISATIONS = ('utterance', 'global', 'speaker')
DOMAINS = ('speaker', 'language', 'corpus')


def places(config) -> list[Path]:
    """Where the data sets of `config.corpora` lie, an .npz before shards; says how to get those that are not there."""
    spec = log_mel.LogMel(**config.features)
    found = []
    for name in config.corpora:
        folder, packed = prepare.find(config.dir, name, spec), pack.place(config.dir, name, spec)
        if config.resident != 'off' and packed.exists() and (folder is None or _fingerprint(folder) == pack.fingerprint(packed)):
            found.append(packed)
            continue
        if folder is None:
            if packed.exists():
                raise Refusal(f'{packed} cannot be streamed, and its shards are not there: leave config.data.resident on.')
            corpus = prepare.corpora.load(name)
            differing = ''.join(
                f' --{f.name} {getattr(spec, f.name)}' for f in dataclasses.fields(spec) if getattr(spec, f.name) != f.default
            )
            others = prepare.by_other_librosas(config.dir, name, spec)
            if corpus.make is None and others:
                raise Refusal(
                    f'{corpus.title} was prepared with librosa {" and ".join(others)} ({", ".join(map(str, others.values()))}); '
                    f'this is librosa {prepare.librosa() or "none"}. Prepare it again, or install that librosa.'
                )
            if corpus.make is None:
                raise Refusal(
                    f'{corpus.title} is not prepared in {config.dir}/ ({name}/{spec.name}). Get it from {corpus.home}, then run\n'
                    f'  python -m data_pipelines.prepare {name} --source PATH --out {config.dir}{differing}\n'
                    'To try the whole of jaxser without any corpus: python -m jaxser.main --config=configs/dann_demo.py'
                )
            folder = prepare.prepare(name, None, config.dir, spec)
        found.append(folder)
    return found


def read(config) -> Utterances:
    """The columns of the data sets of `config.corpora`."""
    found = places(config)
    return shards.together([pack.read(p) if p.suffix == '.npz' else shards.read(p) for p in found])


def _fingerprint(folder: Path) -> str:
    return json.loads((folder / prepare.RECORD).read_text())['fingerprint']


def fingerprints(config) -> dict[str, str]:
    """What tells the prepared data sets of `config.corpora` from others of the same name; without those that are not there."""
    spec = log_mel.LogMel(**config.features)
    found = {}
    for name in config.corpora:
        if folder := prepare.find(config.dir, name, spec):
            found[name] = _fingerprint(folder)
        elif one := pack.fingerprint(pack.place(config.dir, name, spec)):
            found[name] = one
    return found


def labelled(utterances: Utterances, space: str) -> tuple[Utterances, dict[str, int]]:
    """The utterances that have a class in the label space, their emotion replaced by it, and the counts of those left out."""
    classes = labels.space(space)
    emotion = utterances.text['emotion']
    keep = np.isin(emotion, list(classes))
    left_out = {str(e): int(n) for e, n in zip(*np.unique(emotion[~keep], return_counts=True))}
    kept = utterances[np.flatnonzero(keep)]
    kept.text['emotion'] = np.array([classes[e] for e in kept.text['emotion']])
    return kept, left_out


def steps_per_epoch(folds: list[Fold], size: int) -> int:
    """The same in every fold: enough for the largest training part to be seen once."""
    return -(-max(len(f.train) for f in folds) // size)


def order(fold: Fold, epoch: int, steps: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """row_SxB and crop_SxB of an epoch: permutations of the fold's training part, begun anew when one is used up.

    `crop` in [0, 1) says where in a longer utterance the cut begins.
    """
    random = np.random.default_rng((seed, fold.number, epoch))
    n = steps * size
    rows = np.concatenate([random.permutation(fold.train) for _ in range(-(-n // len(fold.train)))])[:n]
    return rows.reshape(steps, size), random.random((steps, size))


def start(frames: np.ndarray, crop: np.ndarray, T: int) -> np.ndarray:
    """The first frame of a cut of T frames."""
    return np.floor(crop * (np.maximum(frames - T, 0) + 1)).astype(np.int64)


def lengths(frames: int) -> int:
    """The number of frames to which a batch of whole utterances is padded: few values, so that few programs are compiled."""
    return min(T for k in range(20) for T in (100 << k, 150 << k) if frames <= T)


def whole(utterances: Utterances, parts: list[np.ndarray], size: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Whole utterances of a part of each fold, the longest first: (row_FxB, start_FxB, T); row -1 where a fold has no more."""
    ordered = [part[np.argsort(-utterances.frames_N[part], kind='stable')] for part in parts]
    for at in range(0, max(len(p) for p in parts), size):
        rows = np.full((len(parts), size), -1)
        for f, part in enumerate(ordered):
            some = part[at : at + size]
            rows[f, : len(some)] = some
        longest = int(utterances.frames_N[rows[rows >= 0]].max())
        yield rows, np.zeros_like(rows), lengths(longest)


@dataclasses.dataclass(frozen=True)
class Item:
    """A piece of work for the devices: a chunk of training steps, or a batch of whole utterances to score."""

    part: str  # train | dev | test
    epoch: int
    fold: np.ndarray  # index of the fold: DxSxF in training, DxF in scoring
    row: np.ndarray  # DxSxFxB in training, DxFxB in scoring; -1 is nobody
    start: np.ndarray
    frames: int
    steps: int = 0  # of the chunk's S, how many belong to the epoch; the others are skipped
    last: bool = False  # of this part in this epoch
    all_folds: np.ndarray | None = None  # in scoring, the rows of every fold, those of other machines too


def training(
    folds: list[Fold], fold_DxF: np.ndarray, utterances: Utterances, epoch: int, steps: int, chunk: int, config
) -> Iterator[Item]:
    """An epoch in chunks of equal length."""
    used = np.unique(fold_DxF)
    orders = [order(folds[f], epoch, steps, config.batch, config.order_seed) for f in used]
    at_DxF = np.searchsorted(used, fold_DxF)
    rows, crops = (np.stack(x)[at_DxF].swapaxes(1, 2) for x in zip(*orders))  # DxSxFxB
    starts = start(utterances.frames_N[rows], crops, config.frames)
    for at in range(0, steps, chunk):
        to = min(at + chunk, steps)
        fill = ((0, 0), (0, chunk - (to - at)), (0, 0), (0, 0))
        row, first = (np.pad(x[:, at:to], fill, mode='edge') for x in (rows, starts))
        fold = np.broadcast_to(fold_DxF[:, None], row.shape[:-1])
        yield Item('train', epoch, fold, row, first, config.frames, to - at, to == steps)


def scoring(folds: list[Fold], fold_DxF: np.ndarray, utterances: Utterances, part: str, epoch: int, size: int) -> Iterator[Item]:
    """A part of each fold in batches of whole utterances."""
    every = list(whole(utterances, [getattr(f, part) for f in folds], size))
    for n, (row, first, frames) in enumerate(every):
        last = n == len(every) - 1
        yield Item(part, epoch, fold_DxF, row[fold_DxF], first[fold_DxF], frames, last=last, all_folds=row)


class Table:
    """All of a batch but its features, by row: labels, domains, weights and the normalisation that the protocol allows."""

    def __init__(self, utterances: Utterances, folds: list[Fold], normalisation: str, balanced: bool):
        self.utterances, self.folds = utterances, folds
        self.classes, emotion = np.unique(utterances.text['emotion'], return_inverse=True)
        self.emotion_N = emotion.astype(np.int32)
        self.domains, self.domain_N, self.seen = {}, {}, {}
        for name in DOMAINS:
            self.domains[name], index = np.unique(utterances.text[name], return_inverse=True)
            self.domain_N[name] = index.astype(np.int32)
            self.seen[name] = np.stack([np.isin(np.arange(len(self.domains[name])), index[f.train]) for f in folds]).astype(
                np.float32
            )
        self.weight_FxC = np.stack([self._weights(f, balanced) for f in folds])
        self.normalisation = normalisation
        self.mean, self.scale = self._moments(normalisation)

    def _weights(self, fold: Fold, balanced: bool) -> np.ndarray:
        """The weight of an example of each class, 1 on average: equal, or in inverse proportion to the training counts."""
        count_C = np.bincount(self.emotion_N[fold.train], minlength=len(self.classes))
        weight_C = len(fold.train) / (len(self.classes) * np.maximum(count_C, 1)) if balanced else np.ones(len(count_C))
        return weight_C.astype(np.float32)

    def _moments(self, how: str) -> tuple[np.ndarray, np.ndarray]:
        """mean and scale per utterance, per speaker (transductive: of a test speaker's own audio too), or per fold."""
        u = self.utterances
        if how == 'utterance':
            return _affine(u.mean_NxM, u.variance_NxM)
        if how == 'speaker':
            speaker_N = self.domain_N['speaker']
            each = [np.flatnonzero(speaker_N == k) for k in range(len(self.domains['speaker']))]
        else:
            each = [f.train for f in self.folds]
        pooled = [_pool(u.frames_N[rows], u.mean_NxM[rows], u.variance_NxM[rows]) for rows in each]
        return _affine(np.stack([m for m, _ in pooled]), np.stack([v for _, v in pooled]))

    def batch(self, item: Item) -> dict[str, np.ndarray]:
        """A Batch of numpy arrays but for its features, whose arrays lead with the shape of `item.row`, or of `item.fold`."""
        u, real = self.utterances, item.row >= 0
        rows = np.where(real, item.row, 0)
        fold = np.broadcast_to(item.fold[..., None], rows.shape)
        at = {'utterance': rows, 'speaker': self.domain_N['speaker'][rows], 'global': fold}[self.normalisation]
        emotion = self.emotion_N[rows]
        return {
            'frames_B': np.where(real, np.clip(u.frames_N[rows] - item.start, 0, item.frames), 0).astype(np.int32),
            'mean_BxM': self.mean[at],
            'scale_BxM': self.scale[at],
            'emotion_B': emotion,
            'labelled_B': np.where(real, self.weight_FxC[fold, emotion], 0).astype(np.float32),
            **{f'{d}_B': self.domain_N[d][rows] for d in DOMAINS},
            **{f'{d}_seen_K': self.seen[d][item.fold] for d in DOMAINS},
        }


def resident(table: Table, items: Iterable[Item]) -> Iterator[tuple[Item, dict[str, np.ndarray]]]:
    """Each item with its batch, for features that are on the device: `first_B` says where there those of an example begin."""
    frames_N = table.utterances.frames_N
    first_N = np.cumsum(frames_N) - frames_N
    for item in items:
        first = np.where(item.row >= 0, first_N[item.row] + item.start, 0)
        yield item, table.batch(item) | {'first_B': first.astype(np.int32)}


def streaming(table: Table, items: Iterable[Item]) -> Iterator[tuple[Item, dict[str, np.ndarray]]]:
    """Each item with its batch and its features, read ahead from the shards."""
    announced: collections.deque[Item] = collections.deque()

    def requests():
        for item in items:
            announced.append(item)
            yield item.row, item.start, item.frames

    with contextlib.closing(shards.stream(table.utterances, requests())) as features:
        for mel in features:
            item = announced.popleft()
            yield item, table.batch(item) | {'mel_BxTxM': mel}


def _pool(frames_N: np.ndarray, mean_NxM: np.ndarray, variance_NxM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over all frames of several utterances."""
    weight_Nx1 = (frames_N / frames_N.sum())[:, None].astype(np.float64)
    mean_M = (weight_Nx1 * mean_NxM).sum(0)
    return mean_M, (weight_Nx1 * (variance_NxM + (mean_NxM - mean_M) ** 2)).sum(0)


def _affine(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return mean.astype(np.float32), (1 / np.sqrt(np.maximum(variance, 1e-4))).astype(np.float32)
