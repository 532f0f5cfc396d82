"""The contract between encoders, methods and the training step. Imports nothing from jaxser.

`jaxser/training/step.py` builds one run's training step out of an `Encoder` and a `Method`. A sweep
maps that step over its runs (`jax.vmap` on accelerators, `jax.lax.map` on a CPU).

The names of arrays end in their axes. All files use these letters; a function may define others.

  B  examples of a batch            N  runs of a group, or utterances
  T  frames of an example           R  runs on a device; in `..._RxM` the frames of all utterances
  M  bands of a frame               D  devices if it comes first, otherwise the width of z
  C  emotion classes                F  folds that the runs of a device need
  K  classes of a domain            S  steps
  A  ratings, such as arousal       O  outputs of the task: C scores, then A ratings
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
"""One minibatch of one fold, as encoders and methods read it.

  mel_BxTxM        float32 features, zero beyond frames_B: normalised log-mel, the states of a
                   pretrained encoder, or audio samples
  frames_B         number of valid frames
  emotion_B        class index, -1 without a class. For the task `ratings`, the third of the scale
                   of the first rating, which nothing predicts
  labelled_B       weight of the example in the emotion loss, not a flag: 0 without an emotion
                   label, else 1, or the weight of its class (config.train.balanced). With votes_BxC
                   it is the mean of the weights of the classes by the shares of the votes
  votes_BxC        numbers of raters' votes for the classes, zeros without an emotion label; only
                   with config.train.soft_labels
  rating_BxA       ratings from -1 to 1, 0 where there is none; only if the task has ratings
  rated_B          1 if the example counts in the loss of ratings, else 0; only with rating_BxA
  target_B         1 for an example of the target: unlabelled in training, or of the test part
  speaker_B        speaker index, -1 if unknown (language_B and corpus_B likewise)
  speaker_seen_K   1 for a speaker of the utterances on which domain heads train, 0 for the others
                   (language_seen_K and corpus_seen_K likewise). These utterances are the fold's
                   training data, or only its identity rows if config.protocol.identity is set
                   (`Fold.domain_rows`)
  frozen           `Encoder.frozen`, if the encoder has any; has no axis of examples

For a method with `identity`, B emotion examples are followed by B identity examples, which have
speakers but no emotion labels.

`Step.update` and `Step.predict` get the batch one stage earlier: mel_BxTxM is as prepared, in
float16 and not normalised, and `features.normalise` makes the above of it, `mean_BxM` and
`scale_BxM`. The host sends mel_BxTxM only if features are streamed. If they are resident on the
device, it sends `first_B`, the row of the corpus with an example's first frame, and
`features.with_features` reads mel_BxTxM there.
"""

BATCH_WIDE_KEYS = ('speaker_seen_K', 'language_seen_K', 'corpus_seen_K', 'frozen')
"""The keys of a batch whose values have no axis of examples."""


@flax.struct.dataclass
class State:
    """The state of a run between two steps. Arrays only, so that it can be vmapped and saved."""

    step: jax.Array
    params: Any  # {'encoder': ..., 'emotion' and 'ratings' of the task, and a method's own heads}
    batch_stats: Any
    extra: Any  # a method's own memory, e.g. centroids
    opt_state: Any  # {branch of params: ...}
    key: jax.Array  # threefry key data; every draw folds the step into it


class Sizes(NamedTuple):
    """Static sizes of a training."""

    bands: int
    emotions: int  # values of emotion_B
    domains: dict[str, int]  # {'speaker': K, 'language': K, 'corpus': K}
    steps: int  # of the whole training
    ratings: int = 0  # that the task predicts
    votes: int = 0  # the largest number of votes of an utterance for one class, with soft labels


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
        predict: (params, batch_stats, batch) -> (z_BxD, outputs_BxO): the scores of the classes,
            then the ratings (see jaxser/nn/output_head.py).
        domains: which of speaker, language, corpus the method acts on, in training or in a fit. If
            the method has the hyper-parameter head_rate, it is a factor on the learning rate of the
            branches of the parameters with these names: the domain heads.
        target: whether the method needs target examples in the batch.
        identity: whether the method needs identity examples in the batch (see `Batch`).
        update: replaces the step along the gradient of `loss`, for a method of several steps:
            (state, batch, hyper, key, descend) -> (State, metrics), where
            descend(state, {branch: gradient}) -> State is the optimiser's step.
        domain_loss: the loss of a domain's head, whose parameters are params[domain]:
            (domain, head params, z_BxD, batch) -> (scalar, metrics).
        fit: optional closed-form fit in NumPy after training, before evaluation:
            (params, z_NxD, {domain: index_N}) -> params. `params` are the run's selected ones,
            z_NxD is what `predict` returns for the whole utterances of `Fold.fit_rows` (the
            training data on which no attacker is tested), and the index of an unknown domain is -1.
        fit_input: optional closed-form fit in NumPy before training:
            (params, x_NxM, {domain: index_N}) -> params. x_NxM are the mean frames of the
            utterances of `Fold.fit_rows`, normalised.
        may_be_negative: the hyper-parameters, such as lam, of which a sweep may have negative
            values.
        within_emotions: whether the method distinguishes domains only among labelled examples of
            one emotion, so that some emotion must have examples of several domains.
        needs_classes: whether the method needs one emotion class of each labelled example. Then it
            can train neither the task `ratings` nor soft labels.
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
    fit_input: Callable | None = None
    may_be_negative: tuple[str, ...] = ()
    within_emotions: bool = False
    needs_classes: bool = False
