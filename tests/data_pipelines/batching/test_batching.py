"""Which utterances make which batch, and what a batch says of them."""

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances
from ml_collections import ConfigDict

from configs import base
from data_pipelines.batching import feeds, plan
from data_pipelines.batching.table import NORMALISATIONS, ExampleTable
from data_pipelines.errors import UserError
from data_pipelines.protocols import folds
from data_pipelines.protocols.split import Split, filter_utterances, keep_labelled
from data_pipelines.storage import dataset, schema
from jaxser.configuration import resolve

CONFIG = ConfigDict({'batch': 5, 'order_seed': 0, 'frames': 40})
THREE = folds.Protocol(folds=3)
ONE, TWO = np.array([[0, 1, 2]]), np.array([[0, 1], [2, 2]])  # folds of each device


@pytest.fixture(scope='module')
def u():
    return make_utterances(speakers=6, per_class=4)


@pytest.fixture(scope='module')
def made(u):
    return folds.make_folds(u, THREE)


def test_an_epoch_sees_the_training_part_and_nobody_else(u, made):
    """Every training utterance comes before any comes again; no other ever does."""
    for fold in made:
        steps = plan.steps_per_epoch(made, 5)
        rows, crop = plan.epoch_order(fold, 0, steps, 5, 0)
        assert set(rows.ravel()) == set(fold.train)
        assert len(set(rows.ravel()[: len(fold.train)])) == len(fold.train)
        assert ((crop >= 0) & (crop < 1)).all()


def test_the_order_is_a_function_of_seed_fold_and_epoch(made):
    """The same three give the same order; another of any of them gives another."""
    order = lambda fold, epoch, seed: plan.epoch_order(fold, epoch, 4, 5, seed)[0].tolist()  # noqa: E731
    assert order(made[0], 1, 2) == order(made[0], 1, 2)
    assert order(made[0], 1, 2) != order(made[0], 2, 2)
    assert order(made[0], 1, 2) != order(made[0], 1, 3)


@pytest.mark.parametrize('fold_DxF', [ONE, TWO])
def test_a_device_trains_on_the_batches_of_its_folds(u, made, fold_DxF):
    """Device by step by fold by example: what `order` says, whatever other folds there are."""
    (item,) = plan.training_items(made, fold_DxF, u, 3, 7, 7, CONFIG)
    assert item.row.shape == (len(fold_DxF), 7, fold_DxF.shape[1], 5)
    for d, f in np.ndindex(fold_DxF.shape):
        row_SxB, crop_SxB = plan.epoch_order(made[fold_DxF[d, f]], 3, 7, 5, 0)
        np.testing.assert_array_equal(item.row[d, :, f], row_SxB)
        np.testing.assert_array_equal(
            item.start[d, :, f], plan.crop_starts(u.frames_N[row_SxB], crop_SxB, 40)
        )
        assert (item.fold[d, :, f] == fold_DxF[d, f]).all()
    assert (item.part, item.epoch, item.steps, item.frames, item.is_last) == (
        'train',
        3,
        7,
        40,
        True,
    )


@pytest.mark.parametrize('fold_DxF', [ONE, TWO])
def test_chunks_of_any_length_hold_the_same_steps(u, made, fold_DxF):
    """Cutting an epoch into chunks changes neither rows nor cuts; what fills the last chunk is not counted as a step."""
    whole, *_ = plan.training_items(made, fold_DxF, u, 0, 7, 7, CONFIG)
    parts = list(plan.training_items(made, fold_DxF, u, 0, 7, 3, CONFIG))
    assert [(p.row.shape[1], p.steps, p.is_last) for p in parts] == [
        (3, 3, False),
        (3, 3, False),
        (3, 1, True),
    ]
    for name in ('row', 'start', 'fold'):
        pieces = [getattr(p, name)[:, : p.steps] for p in parts]
        np.testing.assert_array_equal(np.concatenate(pieces, axis=1), getattr(whole, name))


def test_a_cut_lies_within_the_utterance(u, made):
    """A longer utterance is cut at a frame that leaves enough; a shorter one begins at its first frame."""
    item, *_ = plan.training_items(made, ONE, u, 0, 7, 7, CONFIG)
    frames = u.frames_N[item.row]
    assert (item.start[frames <= 40] == 0).all()
    assert (item.start + 40 <= np.maximum(frames, 40)).all()
    assert item.start.max() > 0


@pytest.mark.parametrize('fold_DxF', [ONE, TWO])
@pytest.mark.parametrize('size', [3, 64])
def test_scoring_reads_every_utterance_of_the_part_whole_and_once(u, made, fold_DxF, size):
    """No utterance is cut or left out, whatever the batch size; `all_folds` says so of the folds of other machines too."""
    items = list(plan.evaluation_items(made, fold_DxF, u, 'test', 0, size))
    assert [i.is_last for i in items] == [False] * (len(items) - 1) + [True]
    for f, fold in enumerate(made):
        rows = np.concatenate([i.global_row[f] for i in items])
        np.testing.assert_array_equal(np.sort(rows[rows >= 0]), fold.test)
    for i in items:
        assert i.row.shape == (*fold_DxF.shape, size)
        np.testing.assert_array_equal(i.row, i.global_row[fold_DxF])
        np.testing.assert_array_equal(i.fold, fold_DxF)
        assert (u.frames_N[i.row[i.row >= 0]] <= i.frames).all()
        assert not i.start.any()


@pytest.mark.parametrize(
    ('frames', 'padded'),
    [(1, 1), (2, 100), (100, 100), (101, 150), (151, 200), (201, 300), (3000, 3200)],
)
def test_lengths_are_few(frames, padded):
    """Whole utterances are padded to powers of two, and to halves between them, of 100 frames; a single frame is not."""
    assert plan.padded_length(frames) == padded


@pytest.mark.parametrize('how', [n for n in NORMALISATIONS if n != 'none'])
def test_normalisation_uses_only_what_it_says(u, made, how):
    """Of a tested stranger. utterance, speaker: its own frames; global: the training part's; transductive: the speaker's."""
    table = ExampleTable(u, made, how, balanced=False)
    item = next(plan.evaluation_items(made, TWO, u, 'test', 0, 64))
    batch = table.make_batch(item)
    for d, f in np.ndindex(TWO.shape):
        fold = made[TWO[d, f]]
        for b in (0, 3):
            row = item.row[d, f, b]
            rows = {
                'utterance': [row],
                'speaker': [row],
                'speaker_transductive': np.flatnonzero(u.text['speaker'] == u.text['speaker'][row]),
                'global': fold.train,
            }[how]
            n, mean, variance = (
                u.frames_N[rows][:, None],
                u.mean_NxM[rows].astype(float),
                u.variance_NxM[rows],
            )
            expected = (n * mean).sum(0) / n.sum()
            square = (n * (variance + mean**2)).sum(0) / n.sum()
            np.testing.assert_allclose(batch['mean_BxM'][d, f, b], expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(
                batch['scale_BxM'][d, f, b], (square - expected**2) ** -0.5, rtol=1e-5
            )


def test_without_normalisation_features_stay_as_they_are(u, made):
    """Mean 0 and scale 1, in every fold."""
    batch = ExampleTable(u, made, 'none', balanced=False).make_batch(
        next(plan.evaluation_items(made, TWO, u, 'test', 0, 64))
    )
    assert not batch['mean_BxM'].any()
    assert (batch['scale_BxM'] == 1).all()
    assert batch['mean_BxM'].shape[-1] == u.bands


@pytest.mark.parametrize('adapt', ['none', 'transductive'])
def test_a_speaker_s_statistics_are_of_what_training_hears_of_them(adapt):
    """Of a training speaker's own part of the fold alone; of a tested speaker, where the protocol is called transductive."""
    u = make_utterances(speakers=3, per_class=20)
    u.text['speaker'][0] = ''
    made = folds.make_folds(u, folds.Protocol('speaker_dependent', 4, adapt=adapt))
    table = ExampleTable(u, made, 'speaker', balanced=False)
    mean_NxM = u.mean_NxM.astype(float)
    for f, fold in enumerate(made):
        heard = np.concatenate([fold.train, fold.adapt])
        for row in (fold.train[-1], fold.dev[-1], fold.test[-1], 0):
            rows = (
                heard[u.text['speaker'][heard] == u.text['speaker'][row]] if row else np.array([0])
            )
            expected = np.average(mean_NxM[rows], axis=0, weights=u.frames_N[rows])
            np.testing.assert_allclose(
                table.mean[table.moments_index_FxN[f, row]], expected, rtol=1e-5, atol=1e-6
            )


def test_a_batch_that_adapts_is_half_source_half_target_without_labels():
    """The target's emotions have no weight in training, its domains are known; an epoch sees the source once."""
    u = make_utterances(speakers=6)
    u.text['corpus'] = np.where(np.arange(len(u)) < 32, 'a', 'b')
    made = folds.make_folds(u, folds.Protocol('source_target', 2, ('a',), ('b',), 'others'))
    steps = plan.steps_per_epoch(made, 5)
    assert steps == -(-len(made[0].train) // 2)
    table = ExampleTable(u, made, 'global', balanced=True)
    (item,) = plan.training_items(made, np.array([[0, 1]]), u, 0, steps, steps, CONFIG)
    batch = table.make_batch(item)
    for f, fold in enumerate(made):
        row_SxB = item.row[0, :, f]
        assert set(row_SxB[:, :2].ravel()) == set(fold.train)
        assert set(row_SxB[:, 2:].ravel()) <= set(fold.adapt)
        assert (batch['labelled_B'][0, :, f, :2] > 0).all()
        assert (batch['labelled_B'][0, :, f, 2:] == 0).all()
        assert batch['corpus_seen_K'][0, 0, f].tolist() == [1, 1]
        seen = set(table.domains['speaker'][batch['speaker_seen_K'][0, 0, f] > 0])
        assert seen == set(u.text['speaker'][np.concatenate([fold.train, fold.adapt])])
    item = next(plan.evaluation_items(made, np.array([[0, 1]]), u, 'test', 0, 64))
    assert (table.make_batch(item)['labelled_B'] > 0).sum() == (item.row >= 0).sum(), (
        'and in scoring nothing is taken away'
    )


def test_an_unknown_speaker_is_no_domain():
    """Index -1, and no class of the head."""
    u = make_utterances(speakers=6)
    u.text['speaker'][:8] = ''
    u.text['session'] = np.array([f'Ses{n // 16}' for n in range(len(u))])
    made = folds.make_folds(u, folds.Protocol('leave_one_session_out'))
    table = ExampleTable(u, made, 'global', balanced=True)
    assert table.domains['speaker'].tolist() == ['s01', 's02', 's03', 's04', 's05']
    item = next(plan.evaluation_items(made, np.array([[0]]), u, 'test', 0, 64))
    assert (table.make_batch(item)['speaker_B'][item.row >= 0] == -1).sum() == 8


def test_balanced_weights_give_every_class_the_same_total(made):
    """In the fold's training part the classes weigh the same, and an example 1 on average."""
    u = make_utterances(speakers=6, per_class=4)
    u.text['emotion'] = u.text['emotion'].copy()
    u.text['emotion'][::3] = 'sad'
    table = ExampleTable(u, folds.make_folds(u, THREE), 'global', balanced=True)
    for f, fold in enumerate(table.folds):
        weights = table.weight_FxC[f][table.emotion_N[fold.train]]
        totals = [weights[table.emotion_N[fold.train] == c].sum() for c in range(2)]
        assert totals[0] == pytest.approx(totals[1], rel=1e-5)
        assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_a_batch_knows_the_folds_own_speakers(u, made):
    """`speaker_seen_K` marks the training speakers of the fold and no others; padding has no label and no frames."""
    table = ExampleTable(u, made, 'global', balanced=True)
    item = next(plan.training_items(made, TWO, u, 0, 7, 7, CONFIG))
    batch = table.make_batch(item)
    for d, f in np.ndindex(TWO.shape):
        seen = set(table.domains['speaker'][batch['speaker_seen_K'][d, 0, f] > 0])
        assert seen == set(u.text['speaker'][made[TWO[d, f]].train])
        assert set(table.domains['speaker'][batch['speaker_B'][d, :, f].ravel()]) <= seen
    item = next(plan.evaluation_items(made, TWO, u, 'test', 0, 64))
    batch, nobody = table.make_batch(item), item.row < 0
    assert nobody.any()
    assert (batch['frames_B'][nobody] == 0).all()
    assert (batch['frames_B'][~nobody] == u.frames_N[item.row[~nobody]]).all()
    assert (batch['labelled_B'][nobody] == 0).all()


def test_the_frames_of_a_cut_are_those_that_are_left_of_the_utterance(u, made):
    """At most what a training example has room for."""
    item = next(plan.training_items(made, TWO, u, 0, 7, 7, CONFIG))
    frames = ExampleTable(u, made, 'global', balanced=True).make_batch(item)['frames_B']
    np.testing.assert_array_equal(frames, np.minimum(u.frames_N[item.row], 40))


def test_resident_features_are_found_where_those_of_the_utterance_begin(u, made):
    """`first_B` counts the frames of all utterances before, and those cut off; an example ends where its utterance does."""
    table = ExampleTable(u, made, 'global', balanced=True)
    items = [
        *plan.training_items(made, TWO, u, 0, 7, 3, CONFIG),
        *plan.evaluation_items(made, TWO, u, 'test', 0, 64),
    ]
    before = [int(u.frames_N[:n].sum()) for n in range(len(u))]
    for (item, batch), expected in zip(feeds.resident_feed(table, items), items, strict=True):
        assert item is expected
        assert batch['first_B'].dtype == np.int32
        for at in np.ndindex(item.row.shape):
            row, first, frames = item.row[at], batch['first_B'][at], batch['frames_B'][at]
            assert first == (before[row] + item.start[at] if row >= 0 else 0)
            assert first + frames <= before[row] + u.frames_N[row] or row < 0
        for name, array in table.make_batch(item).items():
            np.testing.assert_array_equal(batch[name], array)


def two_corpora():
    """Corpus a of six speakers and two emotions, and b of four others, of which identity batches are made."""
    a, b = make_utterances(speakers=6), make_utterances(speakers=4, classes=('bored', 'sad'))
    b.text['corpus'] = np.full(len(b), 'y')
    u = schema.concatenate_datasets([a, b])
    return keep_labelled(u, 'native', ('y',))[0]


@pytest.mark.parametrize(
    'protocol',
    [
        THREE,
        folds.Protocol(folds=3, identity=('y',)),
        folds.Protocol(folds=3, adapt='transductive'),
    ],
)
def test_identity_examples_follow_and_change_nothing_of_the_emotion_examples(protocol):
    """As many, in an order of their own, of those whose domain is forgotten; rows and cuts of the first are those without."""
    u = two_corpora() if protocol.identity else make_utterances(speakers=6)
    made = folds.make_folds(u, protocol)
    (plain,) = plan.training_items(made, ONE, u, 3, 9, 9, CONFIG)
    (item,) = plan.training_items(made, ONE, u, 3, 9, 9, CONFIG, True)
    assert (plain.identity_count, item.identity_count, item.row.shape) == (0, 5, (1, 9, 3, 10))
    np.testing.assert_array_equal(item.row[..., :5], plain.row)
    np.testing.assert_array_equal(item.start[..., :5], plain.start)
    assert (item.start[..., 5:] + 40 <= np.maximum(u.frames_N[item.row[..., 5:]], 40)).all()
    for f, fold in enumerate(made):
        rows = item.row[0, :, f, 5:].ravel()
        assert set(rows) <= set(fold.domain_rows)
        assert len(set(rows[: len(fold.domain_rows)])) == min(len(fold.domain_rows), len(rows))
        assert rows.tolist() != item.row[0, :, f, :5].ravel().tolist()
    (again,) = plan.training_items(made, ONE, u, 4, 9, 9, CONFIG, True)
    assert again.row[..., 5:].tolist() != item.row[..., 5:].tolist()


@pytest.mark.parametrize('identity', [(), ('y',)])
def test_nobody_is_told_the_emotion_of_an_identity_example(identity):
    """No weight, even where it is a training utterance; K is the speakers of the identity batches."""
    u = two_corpora() if identity else make_utterances(speakers=6)
    made = folds.make_folds(u, folds.Protocol(folds=3, identity=identity))
    table = ExampleTable(u, made, 'global', balanced=True)
    (item,) = plan.training_items(made, ONE, u, 0, 7, 7, CONFIG, True)
    batch = table.make_batch(item)
    assert (batch['labelled_B'][..., :5] > 0).all()
    assert (batch['labelled_B'][..., 5:] == 0).all()
    assert table.classes.tolist() == ['angry', 'sad'], 'bored is an emotion of b alone'
    for f, fold in enumerate(made):
        seen = set(table.domains['speaker'][batch['speaker_seen_K'][0, 0, f] > 0])
        assert seen == set(u.text['speaker'][fold.identity if identity else fold.train])
        assert set(table.domains['speaker'][batch['speaker_B'][0, :, f, 5:].ravel()]) <= seen


@pytest.mark.parametrize('how', ['global', 'speaker'])
def test_identity_examples_are_normalised_as_the_key_says(how):
    """global: by the fold's training part, which they are not of; speaker: by all that training hears of theirs."""
    u = two_corpora()
    made = folds.make_folds(u, folds.Protocol(folds=3, identity=('y',)))
    table = ExampleTable(u, made, how, balanced=True)
    for f, fold in enumerate(made):
        row = fold.identity[-1]
        own = fold.identity[u.text['speaker'][fold.identity] == u.text['speaker'][row]]
        rows = fold.train if how == 'global' else own
        expected = np.average(u.mean_NxM[rows].astype(float), axis=0, weights=u.frames_N[rows])
        np.testing.assert_allclose(
            table.mean[table.moments_index_FxN[f, row]], expected, rtol=1e-5, atol=1e-6
        )


def test_corpora_of_identity_batches_need_no_class():
    """All of them stay, without their emotion, and none of them is counted as left out."""
    u = make_utterances(classes=('angry', 'fear'))
    u.text['corpus'] = np.where(np.arange(len(u)) < 8, 'y', 'x')
    kept, left_out = keep_labelled(u, 'four', ('y',))
    assert kept.text['emotion'].tolist() == [''] * 8 + ['angry'] * 20
    assert left_out == {'fear': 20}
    with pytest.raises(UserError, match='No utterance has a class'):
        keep_labelled(u[np.arange(8)], 'four', ('y',))


def test_a_label_space_drops_and_counts_what_it_lacks():
    """In four classes excited is happy, and fear is left out and counted."""
    u = make_utterances(classes=('angry', 'excited', 'fear'))
    kept, left_out = keep_labelled(u, 'four')
    assert set(kept.text['emotion']) == {'angry', 'happy'}
    assert left_out == {'fear': 24}
    assert len(kept) == 48


def resolved(**changes):
    config = base.get_config()
    config.data.dir = 'nowhere'
    config.update_from_flattened_dict(changes)
    return resolve.resolve_config(config)


def test_names_come_from_a_shell_with_commas():
    """'a,b' is two names, wherever names are listed; what the protocol names is what is read."""
    assert resolved(**{'data.corpora': ('emodb,urdu',)}).data.corpora == ('emodb', 'urdu')
    pair = {
        'protocol.name': 'source_target',
        'protocol.source': ('emodb, ravdess',),
        'protocol.target': ('urdu',),
    }
    config = resolved(**pair)
    assert config.data.corpora == ('emodb', 'ravdess', 'urdu')
    assert config.protocol.source == ('emodb', 'ravdess')


def test_a_corpus_named_twice_is_refused():
    """Every utterance would be there twice."""
    with pytest.raises(UserError, match='names emodb twice'):
        resolved(**{'data.corpora': ('emodb', 'emodb')})


def test_corpora_of_identity_batches_are_read_beside():
    """Whatever the protocol reads; never one that is trained and tested on, nor a CSV that nobody said is."""
    identity = {'protocol.identity': ('ravdess,urdu',)}
    config = resolved(**identity, **{'data.corpora': ('emodb',)})
    assert config.data.corpora == ('emodb', 'ravdess', 'urdu')
    assert config.protocol.identity == ('ravdess', 'urdu')
    pair = {
        'protocol.name': 'source_target',
        'protocol.source': ('emodb',),
        'protocol.target': ('savee',),
    }
    assert resolved(**identity, **pair).data.corpora == ('emodb', 'savee', 'ravdess', 'urdu')
    with pytest.raises(
        UserError, match=r'urdu fills the identity batches .* name it in one of the two'
    ):
        resolved(**identity, **{'data.corpora': ('emodb', 'urdu')})


def test_a_csv_is_not_trained_on_for_the_sake_of_its_identities(monkeypatch):
    """One of its corpora is named; the others would train."""
    monkeypatch.setattr(dataset, 'read_fingerprints', lambda config: {'folder': 'there'})
    with pytest.raises(UserError, match='name folder in config'):
        resolved(**{'data.corpora': ('emodb',), 'protocol.identity': ('mine',)})
    config = resolved(**{'data.corpora': ('emodb', 'folder'), 'protocol.identity': ('mine',)})
    assert config.data.corpora == ('emodb', 'folder')


def test_only_what_is_wanted_is_kept_and_the_rest_is_counted():
    """By one value of a column or several; '' keeps all."""
    u = make_utterances(speakers=3, per_class=2)
    kept, left_out = filter_utterances(u, 'speaker=s00,s02')
    assert set(kept.text['speaker']) == {'s00', 's02'}
    assert (len(kept), left_out) == (8, {'speaker=s01': 4})
    everybody, nothing = filter_utterances(u, '')
    assert everybody is u
    assert nothing == {}


@pytest.mark.parametrize(
    ('wanted', 'said'),
    [
        (
            'mood=good',
            'expected a column and its value, as style=improvised, of utterance, speaker',
        ),
        ('acted', 'expected a column'),
        ('sex=female,other', 'nobody has sex=other; found: female, male'),
        ('split=train', 'nobody has split=train; found: nothing'),
        ('sex', 'nobody has sex=; found: female, male'),
    ],
)
def test_what_nobody_has_is_refused(wanted, said):
    """An unknown column, and a value that is not there, with those that are."""
    with pytest.raises(UserError, match=said):
        filter_utterances(make_utterances(), wanted)


def test_what_is_left_out_is_said_with_its_reason():
    """What data.only leaves out has another reason than what has no class."""
    split = Split(make_utterances(), [], '', {'style=scripted': 7, 'fear': 3, 'other': 2}, 0)
    assert split.describe_left_out('four') == [
        'Left out, by config.data.only: 7 style=scripted.',
        "Left out, having no class in 'four': 3 fear, 2 other.",
    ]
