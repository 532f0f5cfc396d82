"""The contract between encoders, methods and the step; imports nothing from jaxser."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax

# Traced scalars: all that a sweep may vary without a new program (lam, lr, weight_decay, seed, fold, ...).
Hyper = dict[str, jax.Array]

# One minibatch of one fold, or of a method with identity batches two, of which the second has no emotion labels:
#   mel_BxTxM        normalised log-mel, zero beyond frames_B
#   frames_B         valid frames
#   emotion_B        class index
#   labelled_B       weight of the example in the emotion loss; 0 = no emotion label
#   target_B         1 for what is not the source's: heard without its emotion, or tested
#   speaker_B        speaker index, -1 where nobody knows (language_B, corpus_B likewise)
#   speaker_seen_K   1 for those whom the fold's training hears (language_seen_K, corpus_seen_K likewise)
# and, of an encoder that has them, its `frozen` parameters, which belong to no example.
Batch = dict[str, Any]


@flax.struct.dataclass
class State:
    """All that a run carries from step to step; arrays only, so that it vmaps, scans, donates and checkpoints."""

    step: jax.Array
    params: Any  # {'encoder': ..., 'emotion': ..., and a method's own heads}
    batch_stats: Any
    extra: Any  # a method's own memory, e.g. centroids
    opt_state: Any  # {branch of params: ...}
    key: jax.Array  # threefry key data; every draw folds the step into it


class Sizes(NamedTuple):
    """How much of everything there is; static."""

    bands: int
    emotions: int
    domains: dict[str, int]  # {'speaker': K, 'language': K, 'corpus': K}
    steps: int  # of the whole training


class Aux(NamedTuple):
    """What a loss returns beside its value."""

    batch_stats: Any
    extra: Any
    metrics: dict[str, jax.Array]


class Encoder(NamedTuple):
    """A representation of an utterance: one file in models/, a Flax module behind two pure functions."""

    init: Callable  # (key, batch) -> (params, batch_stats)
    apply: Callable  # (params, batch_stats, batch, hyper, key, train) -> (z_BxD, batch_stats); knows of no label
    frozen: Any = None  # parameters that no run changes and all share, as numpy; init hears of their shapes alone
    rates: Callable | None = (
        None  # (params) -> what part of the learning rate each of them takes, as a tree of numbers
    )


class Method(NamedTuple):
    """A way to train: one file in methods/ whose make(config, encoder, sizes) returns one of these."""

    hyper: dict[str, float]  # its own knobs with their defaults
    init: Callable  # (key, z_1xD) -> (params, extra)
    loss: Callable  # (params, state, batch, hyper, key) -> (scalar, Aux)
    predict: Callable  # (params, batch_stats, batch) -> (z_BxD, scores_BxC)
    domains: tuple[str, ...] = ()  # which of speaker, language, corpus it tells apart in training
    target: bool = False  # whether it is nothing without a target in the batch
    identity: bool = False  # whether B emotion examples are followed by B others, heard for who speaks them (identity batches)
    # Of a method of more than one step of descent, in place of one along the gradient of `loss`:
    # (state, batch, hyper, key, descend) -> (State, metrics), where descend(state, {branch: gradient}) is the optimiser's step.
    update: Callable | None = None
    # What the head of a domain, in params[domain], learns by: (domain, its params, z_BxD, batch) -> (scalar, metrics).
    domain_loss: Callable | None = None
    # Of a method that ends with a closed form, in numpy, before anything is tested: (params, z_NxD, {domain: index_N}) -> params.
    # `params` are a run's selected ones, z is what `predict` makes by them of the whole utterances that its training hears, and
    # the index of an unknown domain is -1.
    fit: Callable | None = None
