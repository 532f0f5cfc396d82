"""The contract between encoders, methods and the training step. Imports nothing from jaxser.

`jaxser/training/step.py` builds one run's training step out of an `Encoder` and a `Method`; a sweep
is a vmap of that step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax

Hyper = dict[str, jax.Array]
"""Traced scalars of one run: all that a sweep may vary without a new compilation.

They are lr, weight_decay, dropout, time_mask, band_mask, seed, fold, and the method's own (as lam).
"""

Batch = dict[str, Any]
"""One minibatch of one fold.

  mel_BxTxM        normalised log-mel, zero beyond frames_B
  frames_B         number of valid frames
  emotion_B        class index
  labelled_B       weight of the example in the emotion loss; 0 = no emotion label
  target_B         1 for an example of the target: unlabelled in training, or of the test part
  speaker_B        speaker index, -1 if unknown (language_B and corpus_B likewise)
  speaker_seen_K   1 for a speaker in the fold's training data (language_seen_K, corpus_seen_K)
  frozen           `Encoder.frozen`, if the encoder has any; has no axis of examples

For a method with `identity`, B emotion examples are followed by B identity examples, which have
speakers but no emotion labels.
"""

BATCH_WIDE_KEYS = ('speaker_seen_K', 'language_seen_K', 'corpus_seen_K', 'frozen')
"""The keys of a batch whose values have no axis of examples."""


@flax.struct.dataclass
class State:
    """The state of a run between two steps. Arrays only, so that it can be vmapped and saved."""

    step: jax.Array
    params: Any  # {'encoder': ..., 'emotion': ..., and a method's own heads}
    batch_stats: Any
    extra: Any  # a method's own memory, e.g. centroids
    opt_state: Any  # {branch of params: ...}
    key: jax.Array  # threefry key data; every draw folds the step into it


class Sizes(NamedTuple):
    """Static sizes of a training."""

    bands: int
    emotions: int
    domains: dict[str, int]  # {'speaker': K, 'language': K, 'corpus': K}
    steps: int  # of the whole training


class Aux(NamedTuple):
    """What a method's loss returns in addition to its value."""

    batch_stats: Any
    extra: Any
    metrics: dict[str, jax.Array]


class Encoder(NamedTuple):
    """Maps utterances to their representation z_BxD; each encoder is a file in models/.

    A Flax module behind two pure functions (see `jaxser.nn.encoder.make_encoder`).

    Attributes:
        init: (key, batch) -> (params, batch_stats).
        apply: (params, batch_stats, batch, hyper, key, train) -> (z_BxD, batch_stats). Reads no
            labels.
        frozen: parameters that no run changes and all runs share, as NumPy arrays; `init` sees
            only their shapes.
        rates: params -> a tree of numbers like params, each parameter's factor on the learning
            rate. None stands for 1 everywhere.
    """

    init: Callable
    apply: Callable
    frozen: Any = None
    rates: Callable | None = None


class Method(NamedTuple):
    """A training method; each is a file in methods/, whose `make(config, encoder, sizes)` makes it.

    Attributes:
        hyper: the method's own hyper-parameters with their defaults.
        init: (key, z_1xD) -> (params of the heads, extra).
        loss: (params, state, batch, hyper, key) -> (scalar, Aux).
        predict: (params, batch_stats, batch) -> (z_BxD, scores_BxC).
        domains: which of speaker, language, corpus the method classifies in training.
        target: whether the method needs target examples in the batch.
        identity: whether the method needs identity examples in the batch (see `Batch`).
        update: replaces the step along the gradient of `loss`, for a method of several steps:
            (state, batch, hyper, key, descend) -> (State, metrics), where
            descend(state, {branch: gradient}) -> State is the optimiser's step.
        domain_loss: the loss of a domain's head, whose parameters are params[domain]:
            (domain, head params, z_BxD, batch) -> (scalar, metrics).
        fit: optional closed-form fit in NumPy after training, before evaluation:
            (params, z_NxD, {domain: index_N}) -> params. `params` are the run's selected ones,
            z_NxD is what `predict` returns for the whole utterances of the training data, and the
            index of an unknown domain is -1.
    """

    hyper: dict[str, float]
    init: Callable
    loss: Callable
    predict: Callable
    domains: tuple[str, ...] = ()
    target: bool = False
    identity: bool = False
    update: Callable | None = None
    domain_loss: Callable | None = None
    fit: Callable | None = None
