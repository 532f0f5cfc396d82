"""Split files: what is written is read again, with the split's hash; mistakes are named."""

import dataclasses

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import Fold, hash_folds, make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.split_file import read_split_file, write_split_file
from data_pipelines.protocols.withholding import reserve_attacker_test


@pytest.fixture
def utterances():
    return make_utterances(speakers=6)


@pytest.fixture
def split_file(utterances, tmp_path):
    """The path of a split file of three folds."""
    path = tmp_path / 'split.csv'
    write_split_file(path, utterances, make_folds(utterances, Protocol(folds=3)))
    return path


def edit(path, old: str, new: str, count: int = 1):
    """Replaces a text in a file, which must be in it."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def test_a_file_has_the_rows_and_the_hash_of_its_folds(utterances, split_file):
    folds = make_folds(utterances, Protocol(folds=3))
    split = read_split_file(split_file)
    assert split.sha256 == hash_folds(utterances, folds)
    assert split.fold_names == {fold.number: fold.name for fold in folds}
    for fold in folds:
        for part in ('train', 'dev', 'test'):
            rows = split.rows(fold.number, part)
            expected = utterances[getattr(fold, part)]
            for column in ('utterance', 'speaker', 'emotion', 'sex', 'corpus'):
                assert split.text[column][rows].tolist() == expected.text[column].tolist()
    assert split.ratings == ()
    assert not split.has_votes


@pytest.mark.parametrize('ratings', [('arousal',), ('valence', 'arousal'), ()])
@pytest.mark.parametrize('with_votes', [False, True])
def test_ratings_and_votes_are_written_without_loss_and_hashed(
    utterances, tmp_path, ratings, with_votes
):
    rng = np.random.default_rng(0)
    utterances.rating_NxA = rng.uniform(-1, 1, (len(utterances), 3)).astype(np.float32)
    utterances.rating_NxA[::7] = np.nan
    utterances.text['votes'] = np.array([f'angry={n % 3};sad=1' for n in range(len(utterances))])
    folds = make_folds(utterances, Protocol(folds=3))
    path = tmp_path / 'split.csv'
    write_split_file(path, utterances, folds, ratings, with_votes)
    split = read_split_file(path)
    assert split.sha256 == hash_folds(utterances, folds, ratings, with_votes)
    assert split.ratings == ratings
    assert split.has_votes == with_votes
    test = folds[1].test
    columns = [('arousal', 'valence', 'dominance').index(name) for name in ratings]
    np.testing.assert_array_equal(
        split.rating_RxA[split.rows(1, 'test')], utterances.rating_NxA[test][:, columns]
    )


def test_the_hash_changes_with_ratings_and_votes_only_where_the_task_uses_them(utterances):
    utterances.text['votes'] = np.full(len(utterances), 'angry=2')
    folds = make_folds(utterances, Protocol(folds=3))
    hashes = {
        hash_folds(utterances, folds, ratings, with_votes)
        for ratings in ((), ('arousal',), ('arousal', 'valence'))
        for with_votes in (False, True)
    }
    assert len(hashes) == 6
    rated = dataclasses.replace(utterances, rating_NxA=np.zeros_like(utterances.rating_NxA))
    assert hash_folds(rated, folds) == hash_folds(utterances, folds)
    assert hash_folds(rated, folds, ('arousal',)) != hash_folds(utterances, folds, ('arousal',))


def test_all_parts_of_a_fold_are_in_the_file(utterances, tmp_path):
    """Withheld utterances too: a sweep with withhold has another split than one without."""
    fold = make_folds(utterances, Protocol(folds=3))[0]
    fold = reserve_attacker_test(utterances, fold, 0.3, 0)
    path = tmp_path / 'split.csv'
    write_split_file(path, utterances, [fold])
    split = read_split_file(path)
    assert len(split.rows(0, 'withheld')) == len(fold.withheld) > 0
    assert split.sha256 == hash_folds(utterances, [fold])


def test_names_with_commas_quotes_and_line_ends_are_read_again(utterances, tmp_path):
    names = utterances.text['utterance'].astype('U20')
    names[:3] = ['a,"b"', 'c\nd', 'e\u2028f']
    utterances.text['utterance'] = names
    folds = make_folds(utterances, Protocol(folds=3))
    path = tmp_path / 'split.csv'
    write_split_file(path, utterances, folds)
    split = read_split_file(path)
    assert set(names.tolist()) == set(split.text['utterance'].tolist())
    assert split.sha256 == hash_folds(utterances, folds)


def test_paths_of_the_audio_are_in_the_file_and_not_in_the_hash(utterances, split_file, tmp_path):
    paths = [f'wav/{n}.wav' for n in range(len(utterances))]
    other = tmp_path / 'other.csv'
    folds = make_folds(utterances, Protocol(folds=3))
    write_split_file(other, utterances, folds, audio_paths=paths)
    first, second = read_split_file(split_file), read_split_file(other)
    assert first.sha256 == second.sha256
    assert first.file_sha256 != second.file_sha256
    rows = second.rows(0, 'test')
    assert second.text['path'][rows].tolist() == [paths[row] for row in folds[0].test]


def test_a_path_that_is_not_utf_8_does_not_stop_the_writing(utterances, tmp_path):
    path = tmp_path / 'split.csv'
    paths = ['caf\udce9.wav'] * len(utterances)
    write_split_file(path, utterances, make_folds(utterances, Protocol()), audio_paths=paths)
    assert set(read_split_file(path).text['path'].tolist()) == {'caf\\udce9.wav'}


def test_a_changed_label_changes_the_hash(split_file):
    before = read_split_file(split_file).sha256
    edit(split_file, ',x,s00,angry,', ',x,s00,sad,', -1)
    assert read_split_file(split_file).sha256 != before


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('fold_name,part', 'fold_name,place', 'lacks the column part; it has fold, fold_name'),
        (',test,', ',exam,', "has the part 'exam'; expected one of train, dev, test"),
        ('\n0,part', '\nfirst,part', "row 1 below the header, has the fold 'first'"),
        ('\n0,part 1 of 3,test', '\n0,part 2 of 3,test', 'gives one fold several names'),
        (',angry,', ',sad,', 'says two things of the utterance'),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(split_file, old, new, message):
    edit(split_file, old, new)
    with pytest.raises(UserError, match=message) as caught:
        read_split_file(split_file)
    assert str(split_file) in str(caught.value)


def write_fold(path, utterances, train, dev, test):
    """Writes a split file of one fold."""
    write_split_file(path, utterances, [Fold(0, 'x', *map(np.array, (train, dev, test)))])


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        (
            ([0, 1, 2], [3], [1, 4]),
            '1 utterance both in train and in test of fold 0 .x.: 0_',
        ),
        (([0, 1, 2], [2, 1], [4]), '2 utterances both in train and in dev'),
        (([0, 1, 2], [3], [4, 4]), '1 utterance twice in the part test of fold 0 .x.: 0_sad_0'),
        (([0, 1, 2], [3], np.zeros(0, int)), 'no rows of the part test in fold 0'),
        ((np.zeros(0, int), [3], [4]), 'no rows of the part train in fold 0'),
    ],
)
def test_parts_that_overlap_are_doubled_or_empty_are_refused(utterances, tmp_path, parts, message):
    path = tmp_path / 'split.csv'
    write_fold(path, utterances, *parts)
    with pytest.raises(UserError, match=message):
        read_split_file(path)


def test_a_file_that_is_empty_cut_off_or_absent_is_refused(split_file, tmp_path):
    text = split_file.read_text()
    header = text.splitlines()[0]
    for content, message in [
        ('', 'lacks the columns fold, fold_name'),
        (header + '\n', 'has no rows'),
        (text[:-20], 'row 144 below the header, does not have the 12 fields'),
        ('\udcff' + text, 'is not a CSV file in UTF-8'),
    ]:
        split_file.write_bytes(content.encode(errors='surrogateescape'))
        with pytest.raises(UserError, match=message):
            read_split_file(split_file)
    with pytest.raises(UserError, match='cannot be read'):
        read_split_file(tmp_path / 'absent.csv')


@pytest.mark.parametrize('text', ['1.5', 'high', 'nan'])
def test_a_rating_off_the_scale_is_refused(utterances, tmp_path, text):
    utterances.rating_NxA[:] = 0.25
    path = tmp_path / 'split.csv'
    write_split_file(path, utterances, make_folds(utterances, Protocol(folds=3)), ('arousal',))
    edit(path, '0.25', text)
    with pytest.raises(UserError, match=f"row 1 below the header, has the arousal '{text}'"):
        read_split_file(path)
