"""Tests of labels, domains, weights and normalisation of batches."""

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances
from ml_collections import ConfigDict

from data_pipelines.batching import plan
from data_pipelines.batching.table import NORMALISATIONS, ExampleTable
from data_pipelines.protocols.folds import make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.split import keep_labelled
from data_pipelines.protocols.withholding import reserve_attacker_test
from data_pipelines.storage import schema

CONFIG = ConfigDict({'batch': 5, 'order_seed': 0, 'frames': 40})
THREE_FOLDS = Protocol(folds=3)
# The folds of each device: one device with all three, and two devices.
ONE_DEVICE = np.array([[0, 1, 2]])
TWO_DEVICES = np.array([[0, 1], [2, 2]])


@pytest.fixture(scope='module')
def utterances():
    return make_utterances(speakers=6, per_class=4)


@pytest.fixture(scope='module')
def folds(utterances):
    return make_folds(utterances, THREE_FOLDS)


def first_test_batch(folds, utterances, fold_DxF=TWO_DEVICES) -> plan.Item:
    """Returns the first batch of the test part."""
    return next(plan.evaluation_items(folds, fold_DxF, utterances, 'test', 0, 64))


@pytest.mark.parametrize('normalisation', [n for n in NORMALISATIONS if n != 'none'])
def test_an_unseen_speaker_is_normalised_as_the_key_says(utterances, folds, normalisation):
    """utterance, speaker: by the utterance; global: by training; transductive: by the speaker.

    A speaker of whom nothing is enrolled is normalised as with global.
    """
    table = ExampleTable(utterances, folds, normalisation, balanced=False)
    item = first_test_batch(folds, utterances)
    batch = table.make_batch(item)
    speaker_N = utterances.text['speaker']
    for d, f in np.ndindex(TWO_DEVICES.shape):
        fold = folds[TWO_DEVICES[d, f]]
        for b in (0, 3):
            row = item.row[d, f, b]
            rows = {
                'utterance': [row],
                'speaker': [row],
                'speaker_transductive': np.flatnonzero(speaker_N == speaker_N[row]),
                'global': fold.train,
                'speaker_enrolled': fold.train,
            }[normalisation]
            n = utterances.frames_N[rows][:, None]
            mean = utterances.mean_NxM[rows].astype(float)
            variance = utterances.variance_NxM[rows]
            expected = (n * mean).sum(0) / n.sum()
            square = (n * (variance + mean**2)).sum(0) / n.sum()
            scale = (square - expected**2) ** -0.5
            np.testing.assert_allclose(batch['mean_BxM'][d, f, b], expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(batch['scale_BxM'][d, f, b], scale, rtol=1e-5)


def test_without_normalisation_features_are_not_changed(utterances, folds):
    """The mean is 0 and the scale 1, in every fold."""
    table = ExampleTable(utterances, folds, 'none', balanced=False)
    batch = table.make_batch(first_test_batch(folds, utterances))
    assert not batch['mean_BxM'].any()
    assert (batch['scale_BxM'] == 1).all()
    assert batch['mean_BxM'].shape[-1] == utterances.bands


@pytest.mark.parametrize('adapt', ['none', 'transductive'])
def test_a_speaker_is_normalised_by_what_is_seen_in_training(adapt):
    """The speaker's dev and test utterances do not count, unless the protocol is transductive."""
    utterances = make_utterances(speakers=3, per_class=20)
    speaker_N = utterances.text['speaker']
    speaker_N[0] = ''
    folds = make_folds(utterances, Protocol('speaker_dependent', 4, adapt=adapt))
    table = ExampleTable(utterances, folds, 'speaker', balanced=False)
    mean_NxM = utterances.mean_NxM.astype(float)
    for f, fold in enumerate(folds):
        seen = np.concatenate([fold.train, fold.adapt])
        for row in (fold.train[-1], fold.dev[-1], fold.test[-1], 0):
            rows = seen[speaker_N[seen] == speaker_N[row]] if row else np.array([0])
            expected = np.average(mean_NxM[rows], axis=0, weights=utterances.frames_N[rows])
            mean = table.mean[table.moments_index_FxN[f, row]]
            np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('normalisation', NORMALISATIONS)
def test_withheld_utterances_do_not_influence_a_batch(utterances, folds, normalisation):
    """They change the moments of no other utterance, no class weight and no seen domain."""
    reserved = [reserve_attacker_test(utterances, fold, 0.5, 0) for fold in folds]
    for fold in reserved:
        changed = utterances[np.arange(len(utterances))]
        changed.mean_NxM = changed.mean_NxM.copy()
        changed.text['emotion'] = changed.text['emotion'].copy()
        changed.mean_NxM[fold.withheld] += 100
        changed.text['emotion'][fold.withheld] = 'sad'
        moments = []
        for columns in (utterances, changed):
            table = ExampleTable(columns, [fold], normalisation, balanced=True)
            index_N = table.moments_index_FxN[0]
            moments.append((table.mean[index_N], table.scale[index_N], table.weight_FxC))
        others = np.setdiff1d(np.arange(len(utterances)), fold.withheld)
        (mean, scale, weight), (changed_mean, changed_scale, changed_weight) = moments
        np.testing.assert_array_equal(mean[others], changed_mean[others])
        np.testing.assert_array_equal(scale[others], changed_scale[others])
        np.testing.assert_array_equal(weight, changed_weight)


def test_a_withheld_utterance_is_normalised_like_the_others_of_its_speaker(utterances, folds):
    """Each fold by its own training utterances, as an attacker would find them."""
    reserved = [reserve_attacker_test(utterances, fold, 0.5, 0) for fold in folds]
    for normalisation in ('speaker', 'speaker_transductive'):
        table = ExampleTable(utterances, reserved, normalisation, balanced=False)
        for f, fold in enumerate(reserved):
            speaker_N = utterances.text['speaker']
            for row in fold.withheld:
                own = fold.train[speaker_N[fold.train] == speaker_N[row]]
                index = table.moments_index_FxN[f]
                assert index[row] == index[own[0]]
                expected = np.average(
                    utterances.mean_NxM[own].astype(float), axis=0, weights=utterances.frames_N[own]
                )
                np.testing.assert_allclose(table.mean[index[row]], expected, rtol=1e-5, atol=1e-6)


def test_a_batch_that_adapts_is_half_source_and_half_target_without_labels():
    """The target's emotions have no weight, its domains are seen; an epoch sees the source once."""
    utterances = make_utterances(speakers=6)
    utterances.text['corpus'] = np.where(np.arange(len(utterances)) < 32, 'a', 'b')
    folds = make_folds(utterances, Protocol('source_target', 2, ('a',), ('b',), 'others'))
    steps = plan.steps_per_epoch(folds, 5)
    assert steps == -(-len(folds[0].train) // 2)
    table = ExampleTable(utterances, folds, 'global', balanced=True)
    fold_DxF = np.array([[0, 1]])
    (item,) = plan.training_items(folds, fold_DxF, utterances, 0, steps, steps, CONFIG)
    batch = table.make_batch(item)
    for f, fold in enumerate(folds):
        row_SxB = item.row[0, :, f]
        assert set(row_SxB[:, :2].ravel()) == set(fold.train)
        assert set(row_SxB[:, 2:].ravel()) <= set(fold.adapt)
        assert (batch['labelled_B'][0, :, f, :2] > 0).all()
        assert (batch['labelled_B'][0, :, f, 2:] == 0).all()
        assert batch['corpus_seen_K'][0, 0, f].tolist() == [1, 1]
        seen = set(table.domains['speaker'][batch['speaker_seen_K'][0, 0, f] > 0])
        assert seen == set(utterances.text['speaker'][np.concatenate([fold.train, fold.adapt])])
    item = first_test_batch(folds, utterances, fold_DxF)
    labelled = table.make_batch(item)['labelled_B'] > 0
    assert labelled.sum() == (item.row >= 0).sum(), 'in evaluation all are labelled'


def test_an_unknown_speaker_is_no_domain():
    """Its index is -1, and the head has no class for it."""
    utterances = make_utterances(speakers=6)
    utterances.text['speaker'][:8] = ''
    utterances.text['session'] = np.array([f'Ses{n // 16}' for n in range(len(utterances))])
    folds = make_folds(utterances, Protocol('leave_one_session_out'))
    table = ExampleTable(utterances, folds, 'global', balanced=True)
    assert table.domains['speaker'].tolist() == ['s01', 's02', 's03', 's04', 's05']
    f = next(n for n, fold in enumerate(folds) if 0 in fold.train)
    items = plan.evaluation_items(folds, np.array([[f]]), utterances, 'fit_rows', 0, 256)
    item = next(items)
    assert (table.make_batch(item)['speaker_B'][item.row >= 0] == -1).sum() == 8


def test_balanced_weights_give_every_class_the_same_total():
    """This holds in the fold's training part; the mean weight of its examples is 1."""
    utterances = make_utterances(speakers=6, per_class=4)
    utterances.text['emotion'] = utterances.text['emotion'].copy()
    utterances.text['emotion'][::3] = 'sad'
    table = ExampleTable(utterances, make_folds(utterances, THREE_FOLDS), 'global', balanced=True)
    for f, fold in enumerate(table.folds):
        emotion = table.emotion_N[fold.train]
        weights = table.weight_FxC[f][emotion]
        assert weights[emotion == 0].sum() == pytest.approx(weights[emotion == 1].sum(), rel=1e-5)
        assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_a_batch_marks_the_training_speakers_of_its_fold(utterances, folds):
    """`speaker_seen_K` marks no others; padding has no label and no frames."""
    table = ExampleTable(utterances, folds, 'global', balanced=True)
    item = next(plan.training_items(folds, TWO_DEVICES, utterances, 0, 7, 7, CONFIG))
    batch = table.make_batch(item)
    for d, f in np.ndindex(TWO_DEVICES.shape):
        seen = set(table.domains['speaker'][batch['speaker_seen_K'][d, 0, f] > 0])
        assert seen == set(utterances.text['speaker'][folds[TWO_DEVICES[d, f]].train])
        assert set(table.domains['speaker'][batch['speaker_B'][d, :, f].ravel()]) <= seen
    item = first_test_batch(folds, utterances)
    batch = table.make_batch(item)
    padding = item.row < 0
    assert padding.any()
    assert (batch['frames_B'][padding] == 0).all()
    assert (batch['frames_B'][~padding] == utterances.frames_N[item.row[~padding]]).all()
    assert (batch['labelled_B'][padding] == 0).all()


def test_an_example_has_the_frames_from_its_cut_to_the_end_of_the_utterance(utterances, folds):
    """There are at most as many as a training example has room for."""
    item = next(plan.training_items(folds, TWO_DEVICES, utterances, 0, 7, 7, CONFIG))
    table = ExampleTable(utterances, folds, 'global', balanced=True)
    frames = table.make_batch(item)['frames_B']
    np.testing.assert_array_equal(frames, np.minimum(utterances.frames_N[item.row], 40))


def two_corpora():
    """Corpus x of six speakers and two emotions, and corpus y of four for identity batches."""
    own = make_utterances(speakers=6)
    other = make_utterances(speakers=4, classes=('bored', 'sad'))
    other.text['corpus'] = np.full(len(other), 'y')
    labelled, _ = keep_labelled(schema.concatenate_datasets([own, other]), 'native', ('y',))
    return labelled


@pytest.mark.parametrize('identity', [(), ('y',)])
def test_the_emotion_of_an_identity_example_has_no_weight(identity):
    """Even of a training utterance; the domains seen are the speakers of the identity batches."""
    utterances = two_corpora() if identity else make_utterances(speakers=6)
    folds = make_folds(utterances, Protocol(folds=3, identity=identity))
    table = ExampleTable(utterances, folds, 'global', balanced=True)
    (item,) = plan.training_items(folds, ONE_DEVICE, utterances, 0, 7, 7, CONFIG, True)
    batch = table.make_batch(item)
    assert (batch['labelled_B'][..., :5] > 0).all()
    assert (batch['labelled_B'][..., 5:] == 0).all()
    assert table.classes.tolist() == ['angry', 'sad'], 'bored is an emotion of y alone'
    for f, fold in enumerate(folds):
        seen = set(table.domains['speaker'][batch['speaker_seen_K'][0, 0, f] > 0])
        assert seen == set(utterances.text['speaker'][fold.identity if identity else fold.train])
        assert set(table.domains['speaker'][batch['speaker_B'][0, :, f, 5:].ravel()]) <= seen


@pytest.mark.parametrize('normalisation', ['global', 'speaker'])
def test_identity_examples_are_normalised_as_the_key_says(normalisation):
    """global: by the fold's training part, of which they are not; speaker: by their speaker."""
    utterances = two_corpora()
    folds = make_folds(utterances, Protocol(folds=3, identity=('y',)))
    table = ExampleTable(utterances, folds, normalisation, balanced=True)
    speaker_N = utterances.text['speaker']
    for f, fold in enumerate(folds):
        row = fold.identity[-1]
        rows = fold.train
        if normalisation == 'speaker':
            rows = fold.identity[speaker_N[fold.identity] == speaker_N[row]]
        means = utterances.mean_NxM[rows].astype(float)
        expected = np.average(means, axis=0, weights=utterances.frames_N[rows])
        mean = table.mean[table.moments_index_FxN[f, row]]
        np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)
