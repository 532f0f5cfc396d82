"""The heads that predict what the task asks for: emotions, ratings, or both.

The outputs of an example are the scores of the C classes, then A ratings from -1 to 1. C is 0 for
the task `ratings`, and A is 0 for the task `emotion` (config.task).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from data_pipelines.labels import has_classes, has_ratings
from jaxser import losses
from jaxser.interfaces import Sizes
from jaxser.nn import heads

# The number folded into the key of the head of ratings: far from those of a method's own heads
# (heads.py).
RATINGS_KEY = 2**16
# The number folded into the key of the step to drop votes: the encoder draws from that key, too.
VOTES_KEY = 2**17


class OutputHead(NamedTuple):
    """The heads of a task as pure functions.

    Attributes:
        classes: C.
        ratings: A.
        init: (key, z_1xD) -> {branch: params}. The branches are 'emotion', 'ratings', or both.
        apply: (params, z_BxD) -> outputs_BxO. `params` are those of a run; other branches are not
            read.
        loss: (params, z_BxD, batch, key, class_loss) -> (value, metrics), the loss that training
            minimises. class_loss is (scores_BxC, batch) -> (value, metrics), by default
            losses.emotion_cross_entropy, or losses.vote_loss with config.train.soft_labels.
        per_example_loss: (params, z_BxD, batch) -> loss_B, of single examples: the cross-entropy
            without class weights (with soft labels KL(votes || posterior), where all votes count),
            the squared error of ratings (mean over the ratings), or their weighted sum.
        counted: (batch) -> counted_B, 1 for an example that counts in the loss, else 0.
    """

    classes: int
    ratings: int
    init: Callable
    apply: Callable
    loss: Callable
    per_example_loss: Callable
    counted: Callable


def split_outputs(outputs, classes: int) -> tuple:
    """Returns (scores_..C, ratings_..A): the two parts of outputs, along their last axis.

    `outputs` is an array of JAX or NumPy, of posteriors or of scores. Either part may be empty.
    """
    return outputs[..., :classes], outputs[..., classes:]


def make_output_head(config, sizes: Sizes) -> OutputHead:
    """Returns the heads of `config.task`."""
    # The configuration of a model that an earlier version saved has no task.
    task = config.get('task', 'emotion')
    if not has_classes(task):
        return _make_rating_head(sizes.ratings, config.train.rating_loss)
    emotion = _make_emotion_head(sizes.emotions)
    if config.train.get('soft_labels', False):
        emotion = _with_votes(emotion, sizes.votes, config.train.annotator_dropout)
    if not has_ratings(task):
        return emotion
    ratings = _make_rating_head(sizes.ratings, config.train.rating_loss)
    return _join_heads(emotion, ratings, config.train.rating_weight)


def _make_emotion_head(classes: int) -> OutputHead:
    """Returns the classifier of emotions."""
    head = heads.make_head(classes)

    def init(key, z_1xD):
        return {'emotion': head.init(key, z_1xD)}

    def apply(params, z_BxD):
        return head.apply(params['emotion'], z_BxD)

    def loss(params, z_BxD, batch, key, class_loss=None):
        class_loss = class_loss or losses.emotion_cross_entropy
        return class_loss(apply(params, z_BxD), batch)

    def per_example_loss(params, z_BxD, batch):
        return losses.per_example_cross_entropy(apply(params, z_BxD), batch['emotion_B'])

    def counted(batch):
        return jnp.sign(batch['labelled_B'])

    return OutputHead(classes, 0, init, apply, loss, per_example_loss, counted)


def _with_votes(emotion: OutputHead, largest: int, dropout: float) -> OutputHead:
    """Returns the classifier with the loss of soft labels: KL(votes of the raters || posterior).

    Args:
      emotion: The classifier.
      largest: The largest number of votes of an utterance for one class.
      dropout: The probability with which each vote is dropped, drawn by the key of the step.
    """

    def loss(params, z_BxD, batch, key, class_loss=None):
        scores_BxC = emotion.apply(params, z_BxD)
        if class_loss is not None:
            return class_loss(scores_BxC, batch)
        votes_BxC = batch['votes_BxC']
        if dropout:
            key = jax.random.fold_in(key, VOTES_KEY)
            votes_BxC = losses.drop_votes(key, votes_BxC, largest, dropout)
        return losses.vote_loss(scores_BxC, votes_BxC, batch)

    def per_example_loss(params, z_BxD, batch):
        return losses.vote_divergence(emotion.apply(params, z_BxD), batch['votes_BxC'])

    return emotion._replace(loss=loss, per_example_loss=per_example_loss)


def _make_rating_head(ratings: int, kind: str) -> OutputHead:
    """Returns the linear regression of ratings, bounded by tanh.

    `kind` is the loss, a value of config.train.rating_loss.
    """
    head = heads.make_head(ratings)

    def init(key, z_1xD):
        return {'ratings': head.init(jax.random.fold_in(key, RATINGS_KEY), z_1xD)}

    def apply(params, z_BxD):
        return jnp.tanh(head.apply(params['ratings'], z_BxD))

    def loss(params, z_BxD, batch, key, class_loss=None):
        return losses.rating_loss(kind, apply(params, z_BxD), batch)

    def per_example_loss(params, z_BxD, batch):
        return losses.squared_error(apply(params, z_BxD), batch['rating_BxA'])

    def counted(batch):
        return batch['rated_B']

    return OutputHead(0, ratings, init, apply, loss, per_example_loss, counted)


def _join_heads(emotion: OutputHead, ratings: OutputHead, weight: float) -> OutputHead:
    """Returns both heads, with the loss of emotions plus `weight` times that of ratings."""

    def init(key, z_1xD):
        return emotion.init(key, z_1xD) | ratings.init(key, z_1xD)

    def apply(params, z_BxD):
        return jnp.concatenate([emotion.apply(params, z_BxD), ratings.apply(params, z_BxD)], -1)

    def loss(params, z_BxD, batch, key, class_loss=None):
        value, metrics = emotion.loss(params, z_BxD, batch, key, class_loss)
        rating_value, rating_metrics = ratings.loss(params, z_BxD, batch, key)
        return value + weight * rating_value, metrics | rating_metrics

    def per_example_loss(params, z_BxD, batch):
        emotion_B = emotion.per_example_loss(params, z_BxD, batch) * emotion.counted(batch)
        rating_B = ratings.per_example_loss(params, z_BxD, batch) * ratings.counted(batch)
        return emotion_B + weight * rating_B

    def counted(batch):
        return jnp.maximum(emotion.counted(batch), ratings.counted(batch))

    return OutputHead(
        emotion.classes, ratings.ratings, init, apply, loss, per_example_loss, counted
    )
