"""Which utterances make which batch, and what a batch says of them."""

import numpy as np
import pytest
from made_up import utterances
from ml_collections import ConfigDict

from data_pipelines import batches, folds

CONFIG = ConfigDict({'batch': 5, 'order_seed': 0, 'frames': 40})


@pytest.fixture(scope='module')
def u():
    return utterances(speakers=6, each=4)


@pytest.fixture(scope='module')
def made(u):
    return folds.make(u, 'speaker_folds', 3)


def test_an_epoch_sees_the_training_part_and_nobody_else(u, made):
    """Every training utterance comes before any comes again; no other ever does."""
    for fold in made:
        steps = batches.steps_per_epoch(made, 5)
        rows, crop = batches.order(fold, 0, steps, 5, 0)
        assert set(rows.ravel()) == set(fold.train)
        assert len(set(rows.ravel()[: len(fold.train)])) == len(fold.train)
        assert ((crop >= 0) & (crop < 1)).all()


def test_the_order_is_a_function_of_seed_fold_and_epoch(made):
    """The same three give the same order; another of any of them gives another."""
    order = lambda fold, epoch, seed: batches.order(fold, epoch, 4, 5, seed)[0].tolist()  # noqa: E731
    assert order(made[0], 1, 2) == order(made[0], 1, 2)
    assert order(made[0], 1, 2) != order(made[0], 2, 2)
    assert order(made[0], 1, 2) != order(made[0], 1, 3)


def test_chunks_of_any_length_hold_the_same_steps(u, made):
    """Cutting an epoch into chunks changes neither rows nor cuts; what fills the last chunk is not counted as a step."""
    whole, *_ = batches.training(made, u, 0, 7, 7, CONFIG)
    parts = list(batches.training(made, u, 0, 7, 3, CONFIG))
    assert [(len(p.row), p.steps, p.last) for p in parts] == [(3, 3, False), (3, 3, False), (3, 1, True)]
    np.testing.assert_array_equal(np.concatenate([p.row[: p.steps] for p in parts]), whole.row)
    np.testing.assert_array_equal(np.concatenate([p.start[: p.steps] for p in parts]), whole.start)


def test_a_cut_lies_within_the_utterance(u, made):
    """A longer utterance is cut at a frame that leaves enough; a shorter one begins at its first frame."""
    item, *_ = batches.training(made, u, 0, 7, 7, CONFIG)
    frames = u.frames_N[item.row]
    assert (item.start[frames <= 40] == 0).all()
    assert (item.start + 40 <= np.maximum(frames, 40)).all()
    assert item.start.max() > 0


def test_scoring_reads_every_utterance_of_the_part_whole_and_once(u, made):
    """No utterance is cut or left out, whatever the batch size."""
    for size in (3, 64):
        items = list(batches.scoring(made, u, 'test', 0, size))
        assert [i.last for i in items] == [False] * (len(items) - 1) + [True]
        for f, fold in enumerate(made):
            rows = np.concatenate([i.row[f] for i in items])
            np.testing.assert_array_equal(np.sort(rows[rows >= 0]), fold.test)
        for i in items:
            assert (u.frames_N[i.row[i.row >= 0]] <= i.frames).all()


@pytest.mark.parametrize(('frames', 'padded'), [(1, 100), (100, 100), (101, 150), (151, 200), (201, 300), (3000, 3200)])
def test_lengths_are_few(frames, padded):
    """Whole utterances are padded to powers of two, and to halves between them, of 100 frames."""
    assert batches.lengths(frames) == padded


def batch_of(table, item):
    return table.batch(item, np.zeros((*item.row.shape, item.frames, table.utterances.bands), np.float16))


@pytest.mark.parametrize('how', batches.NORMALISATIONS)
def test_normalisation_uses_only_what_it_says(u, made, how):
    """utterance: its own frames; speaker: the speaker's; global: those of the fold's training part."""
    table = batches.Table(u, made, how, balanced=False)
    item = next(batches.scoring(made, u, 'test', 0, 64))
    batch = batch_of(table, item)
    for f, fold in enumerate(made):
        for b in (0, 3):
            row = item.row[f, b]
            rows = {
                'utterance': [row],
                'speaker': np.flatnonzero(u.text['speaker'] == u.text['speaker'][row]),
                'global': fold.train,
            }[how]
            n, mean, variance = u.frames_N[rows][:, None], u.mean_NxM[rows].astype(float), u.variance_NxM[rows]
            expected = (n * mean).sum(0) / n.sum()
            square = (n * (variance + mean**2)).sum(0) / n.sum()
            np.testing.assert_allclose(batch['mean_BxM'][f, b], expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(batch['scale_BxM'][f, b], (square - expected**2) ** -0.5, rtol=1e-5)


def test_balanced_weights_give_every_class_the_same_total(made):
    """In the fold's training part the classes weigh the same, and an example 1 on average."""
    u = utterances(speakers=6, each=4)
    u.text['emotion'] = u.text['emotion'].copy()
    u.text['emotion'][::3] = 'sad'
    table = batches.Table(u, folds.make(u, 'speaker_folds', 3), 'global', balanced=True)
    for f, fold in enumerate(table.folds):
        weights = table.weight_FxC[f][table.emotion_N[fold.train]]
        totals = [weights[table.emotion_N[fold.train] == c].sum() for c in range(2)]
        assert totals[0] == pytest.approx(totals[1], rel=1e-5)
        assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_a_batch_knows_the_folds_own_speakers(u, made):
    """`speaker_seen_K` marks the training speakers of the fold and no others; padding has no label and no frames."""
    table = batches.Table(u, made, 'global', balanced=True)
    item = next(batches.training(made, u, 0, 7, 7, CONFIG))
    batch = batch_of(table, item)
    for f, fold in enumerate(made):
        seen = set(table.domains['speaker'][batch['speaker_seen_K'][0, f] > 0])
        assert seen == set(u.text['speaker'][fold.train])
        assert set(table.domains['speaker'][batch['speaker_B'][:, f].ravel()]) <= seen
    item = next(batches.scoring(made, u, 'test', 0, 64))
    batch, nobody = batch_of(table, item), item.row < 0
    assert nobody.any()
    assert (batch['frames_B'][nobody] == 0).all()
    assert (batch['labelled_B'][nobody] == 0).all()


def test_a_label_space_drops_and_counts_what_it_lacks():
    """In four classes excited is happy, and fear is left out and counted."""
    u = utterances(classes=('angry', 'excited', 'fear'))
    kept, left_out = batches.labelled(u, 'four')
    assert set(kept.text['emotion']) == {'angry', 'happy'}
    assert left_out == {'fear': 24}
    assert len(kept) == 48
