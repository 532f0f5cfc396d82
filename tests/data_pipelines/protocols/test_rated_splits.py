"""Tests of the split, the folds and the batches of a task with ratings."""

import json

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances
from ml_collections import ConfigDict

from configs import base
from data_pipelines import labels
from data_pipelines.batching import plan
from data_pipelines.batching.table import ExampleTable
from data_pipelines.errors import UserError
from data_pipelines.protocols import split, subsets
from data_pipelines.protocols.choice import choose_protocol
from data_pipelines.protocols.folds import describe_poor_parts, hash_folds, make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.storage.schema import Utterances

THREE_FOLDS = Protocol(folds=3)


def make_rated(classes=('angry', 'fear'), **options) -> Utterances:
    """Returns utterances with random ratings; the first has no valence, no one has dominance."""
    utterances = make_utterances(classes=classes, **options)
    random = np.random.default_rng(1)
    utterances.rating_NxA[:, :2] = random.uniform(-1, 1, (len(utterances), 2))
    utterances.rating_NxA[0, 1] = np.nan
    return utterances


def configuration(task: str, ratings=('arousal', 'valence'), **keys) -> ConfigDict:
    """Returns a configuration of three folds by speaker."""
    config = base.get_config()
    changes = {'task': task, 'data.ratings': ratings, 'protocol.folds': 3, 'data.labels': 'four'}
    config.update_from_flattened_dict(changes | keys)
    return config


def test_a_third_of_the_scale_is_low_middle_or_high():
    """The bounds are in the middle; without a rating there is none."""
    rating_N = np.float32([-1, -0.34, -0.33, 0, 0.33, 0.34, 1, np.nan])
    expected = ['low', 'low', 'middle', 'middle', 'middle', 'high', 'high', '']
    assert labels.third_of_scale(rating_N).tolist() == expected


def test_ratings_need_no_class_and_are_grouped_by_thirds_of_the_first():
    """One without a rating is left out and counted; data.labels is not used."""
    utterances = make_rated()
    selected, left_out = split.select_from(configuration('ratings'), utterances)
    assert left_out == {'without a rating': 1}
    assert len(selected) == len(utterances) - 1
    expected_N = labels.third_of_scale(utterances.rating_NxA[1:, 0])
    np.testing.assert_array_equal(selected.text['emotion'], expected_N)
    assert set(utterances.text['emotion']) == {'angry', 'fear'}, 'the input is not changed'
    one, left_out = split.select_from(configuration('ratings', ('arousal',)), utterances)
    assert (len(one), left_out) == (len(utterances), {})


def test_both_tasks_need_a_class_and_the_ratings():
    """What lacks a class is not counted as unrated."""
    utterances = make_rated(classes=('angry', 'fear', 'sad'))
    selected, left_out = split.select_from(configuration('emotion+ratings'), utterances)
    assert set(selected.text['emotion']) == {'angry', 'sad'}
    assert left_out == {'fear': 24, 'without a rating': 1}
    assert not np.isnan(selected.rating_NxA[:, :2]).any()
    described = split.Split(selected, [], '', left_out, 0).describe_left_out('four')
    assert described == [
        "Left out, no class in 'four': 24 fear.",
        'Left out, without a rating that is predicted: 1.',
    ]


def test_a_corpus_without_the_ratings_is_refused():
    """The message says which rating, and what has ratings."""
    config = configuration('ratings', ('arousal', 'dominance'))
    with pytest.raises(UserError, match='None of 48 utterances is rated for arousal') as error:
        split.select_from(config, make_rated())
    assert str(error.value).endswith(' --config.data.ratings=arousal,valence')
    unrated = make_rated()
    unrated.rating_NxA[:] = np.nan
    with pytest.raises(UserError, match='corpora with ratings, such as msp_podcast'):
        split.select_from(config, unrated)


def test_rated_utterances_without_a_class_are_refused_with_the_task_that_uses_them():
    utterances = make_rated()
    utterances.text['emotion'] = np.full(len(utterances), 'undecided')
    with pytest.raises(UserError, match='48 undecided') as error:
        split.select_from(configuration('emotion'), utterances)
    assert '--config.task=ratings --config.data.ratings=arousal,valence. ' in str(error.value)
    utterances.rating_NxA[:] = np.nan
    with pytest.raises(UserError, match=r'undecided\. Choose another --config\.data\.labels'):
        split.select_from(configuration('emotion'), utterances)


def test_identity_corpora_need_no_rating():
    """They are kept without a group."""
    utterances = make_rated()
    utterances.text['corpus'] = np.where(np.arange(len(utterances)) < 8, 'y', 'x')
    utterances.rating_NxA[:8] = np.nan
    config = configuration('ratings', **{'protocol.identity': ('y',)})
    selected, left_out = split.select_from(config, utterances)
    assert left_out == {}
    assert set(selected.text['emotion'][:8]) == {''}
    assert '' not in selected.text['emotion'][8:]


def test_the_hash_of_a_split_changes_with_a_rating_that_is_predicted():
    """But not with another one, nor with ratings of the task emotion."""
    utterances = make_rated()
    utterances.rating_NxA[0, 1] = 0.5

    def sha256(task, row=3, column=None):
        changed = utterances[np.arange(len(utterances))]
        changed.rating_NxA = utterances.rating_NxA.copy()
        if column is not None:
            changed.rating_NxA[row, column] += 0.001
        config = configuration(task, ('valence',), **{'data.labels': 'native'})
        return split.divide(config, *split.select_from(config, changed)).sha256

    assert sha256('ratings') == sha256('ratings', column=0)
    assert sha256('ratings') != sha256('ratings', column=1)
    assert sha256('emotion') == sha256('emotion', column=1)
    plain = make_folds(utterances, THREE_FOLDS)
    assert sha256('emotion') == hash_folds(utterances, plain)


def test_a_training_part_needs_different_ratings_and_no_classes():
    """A missing third of the scale is no error, and neither warned of."""
    utterances = make_rated()
    utterances.rating_NxA[:, 0] = 0.2
    utterances.rating_NxA[:8, 0] = 0.9  # all of the first speaker
    utterances = split.with_thirds(utterances, 'arousal')
    folds = make_folds(utterances, THREE_FOLDS, ('valence',), has_classes=False)
    assert describe_poor_parts(utterances, folds, has_classes=False) == []
    with pytest.raises(UserError, match=r'have the same arousal, 0\.2, so that'):
        make_folds(utterances, THREE_FOLDS, ('arousal',), has_classes=False)
    with pytest.raises(UserError, match='no utterance of the class high'):
        make_folds(utterances, THREE_FOLDS)
    choice = choose_protocol(utterances, False, ('valence',), has_classes=False)
    assert choice.name == 'speaker_folds'


def test_a_subset_of_the_training_part_may_lose_a_third_of_the_scale():
    """Of classes it may not."""
    utterances = make_rated()
    utterances.rating_NxA[:, 0] = np.linspace(0.4, 0.9, len(utterances))
    utterances.rating_NxA[16:24, 0] = -0.9  # all of the third speaker
    utterances = split.with_thirds(utterances, 'arousal')
    folds = make_folds(utterances, THREE_FOLDS, ('arousal',), has_classes=False)
    fold = next(
        fold for fold in folds if {'low', 'high'} <= set(utterances.text['emotion'][fold.train])
    )
    subset = subsets.Subset(speakers=1)
    with pytest.raises(UserError, match='has no utterance of the class'):
        subsets.take_subset(utterances, fold, subset, 0)
    smaller = subsets.take_subset(utterances, fold, subset, 0, has_classes=False)
    assert 0 < len(smaller.train) < len(fold.train)


@pytest.mark.parametrize('adapt', ['none', 'transductive'])
def test_a_batch_has_ratings_only_of_examples_that_count(adapt):
    """Padding and the target have none; without the task, a batch has no ratings at all."""
    utterances = make_rated()
    utterances.rating_NxA[0, 1] = 0.5
    config = configuration('ratings', ('valence', 'arousal'), **{'protocol.adapt': adapt})
    made = split.divide(config, *split.select_from(config, utterances))
    table = ExampleTable(
        made.utterances, made.folds, 'global', True, ratings=('valence', 'arousal')
    )
    settings = ConfigDict({'batch': 6, 'order_seed': 0, 'frames': 40})
    fold_DxF = np.arange(3)[None]
    for item in plan.training_items(made.folds, fold_DxF, made.utterances, 0, 2, 2, settings):
        batch = table.make_batch(item)
        expected = made.utterances.rating_NxA[item.row][..., [1, 0]]
        np.testing.assert_array_equal(batch['rating_BxA'], expected)
        assert batch['rating_BxA'].dtype == batch['rated_B'].dtype == np.float32
        np.testing.assert_array_equal(batch['rated_B'], 1 - batch['target_B'])
    for item in plan.evaluation_items(made.folds, fold_DxF, made.utterances, 'test', 0, 50):
        np.testing.assert_array_equal(table.make_batch(item)['rated_B'], item.row >= 0)
    plain = ExampleTable(made.utterances, made.folds, 'global', True)
    assert not {'rating_BxA', 'rated_B'} & plain.make_batch(item).keys()


def test_identity_examples_are_not_rated():
    """They are the second half of a batch."""
    utterances = make_rated()
    utterances.rating_NxA[0, 1] = 0.5
    folds = make_folds(utterances, THREE_FOLDS)
    table = ExampleTable(utterances, folds, 'global', True, ratings=('valence',))
    settings = ConfigDict({'batch': 6, 'order_seed': 0, 'frames': 40})
    items = plan.training_items(
        folds, np.arange(3)[None], utterances, 0, 2, 2, settings, has_identity_batches=True
    )
    rated_B = table.make_batch(next(items))['rated_B']
    assert rated_B[..., :6].all()
    assert not rated_B[..., 6:].any()


def test_left_out_counts_are_json():
    """They are written into results.json."""
    _, left_out = split.select_from(configuration('emotion+ratings'), make_rated())
    assert json.loads(json.dumps(left_out)) == left_out
