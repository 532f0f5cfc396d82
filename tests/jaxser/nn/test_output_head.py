"""Tests of the heads of a task: emotions, ratings, or both."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny_config

from jaxser import losses
from jaxser.interfaces import Sizes
from jaxser.nn import heads
from jaxser.nn.output_head import make_output_head, split_outputs

B, D, C, A = 6, 4, 3, 2
SIZES = Sizes(5, C, {}, 10, ratings=A)
KEY = jax.random.PRNGKey(1)
Z_BxD = jax.random.normal(jax.random.PRNGKey(2), (B, D))
BATCH = {
    'emotion_B': jnp.array([0, 1, 2, 0, 1, 2]),
    'labelled_B': jnp.array([1.0, 0.5, 0.0, 2.0, 1.0, 1.0]),
    'rating_BxA': jax.random.uniform(jax.random.PRNGKey(3), (B, A), minval=-1.0),
    'rated_B': jnp.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0]),
}


def make_head(task: str, weight: float = 0.5, kind: str = 'ccc'):
    """Returns the heads of a task."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict(
        {'task': task, 'train.rating_weight': weight, 'train.rating_loss': kind}
    )
    return make_output_head(config, SIZES)


def test_the_head_of_emotions_is_the_classifier_it_was_before():
    """Same parameters from the same key, same scores, same loss: to the bit."""
    head = make_head('emotion')
    classifier = heads.make_head(C)
    params = head.init(KEY, Z_BxD[:1])
    chex.assert_trees_all_equal(params, {'emotion': classifier.init(KEY, Z_BxD[:1])})
    scores_BxC = classifier.apply(params['emotion'], Z_BxD)
    np.testing.assert_array_equal(head.apply(params, Z_BxD), scores_BxC)
    expected = losses.emotion_cross_entropy(scores_BxC, BATCH)
    chex.assert_trees_all_equal(head.loss(params, Z_BxD, BATCH, KEY), expected)
    assert (head.classes, head.ratings) == (C, 0)


@pytest.mark.parametrize(
    ('task', 'classes', 'branches'),
    [('ratings', 0, {'ratings'}), ('emotion+ratings', C, {'emotion', 'ratings'})],
)
def test_ratings_follow_the_scores_and_are_within_their_range(task, classes, branches):
    """Also for a large representation. The emotion head starts as in the task `emotion`."""
    head = make_head(task)
    params = head.init(KEY, Z_BxD[:1])
    assert params.keys() == branches
    if 'emotion' in branches:
        alone = make_head('emotion').init(KEY, Z_BxD[:1])
        chex.assert_trees_all_equal(params['emotion'], alone['emotion'])
    scores, ratings = split_outputs(head.apply(params, 100 * Z_BxD), head.classes)
    assert scores.shape == (B, classes)
    assert ratings.shape == (B, A)
    assert np.abs(ratings).max() <= 1
    assert np.abs(ratings).max() > 0.9


def test_the_loss_of_both_is_the_weighted_sum():
    """Each part is that of its task alone, and so are the metrics."""
    both, emotion, ratings = map(make_head, ('emotion+ratings', 'emotion', 'ratings'))
    params = both.init(KEY, Z_BxD[:1])
    value, metrics = both.loss(params, Z_BxD, BATCH, KEY)
    emotion_value, emotion_metrics = emotion.loss(params, Z_BxD, BATCH, KEY)
    rating_value, rating_metrics = ratings.loss(params, Z_BxD, BATCH, KEY)
    assert value == emotion_value + 0.5 * rating_value
    assert metrics == emotion_metrics | rating_metrics


@pytest.mark.parametrize('task', ['emotion', 'ratings', 'emotion+ratings'])
def test_the_losses_of_single_examples_sum_to_that_of_the_batch(task):
    """With squared error, whose mean over the rated examples is the loss; and without weights."""
    head = make_head(task, kind='mse')
    params = head.init(KEY, Z_BxD[:1])
    batch = BATCH | {'labelled_B': BATCH['rated_B']}
    counted_B = head.counted(batch)
    np.testing.assert_array_equal(counted_B, BATCH['rated_B'])
    value_B = head.per_example_loss(params, Z_BxD, batch)
    expected, _ = head.loss(params, Z_BxD, batch, KEY)
    assert losses.weighted_mean(value_B, counted_B) == pytest.approx(float(expected), rel=1e-6)
