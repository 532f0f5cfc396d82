"""Tests what all corpora share: how they are found, their counts, and their ratings."""

import pytest
from helpers import corpus_trees

from data_pipelines import corpora, labels
from data_pipelines.corpora import ravdess
from data_pipelines.errors import UserError


@pytest.mark.parametrize('name', corpora.corpus_names())
def test_a_corpus_has_the_name_of_its_module_and_uses_known_emotions(name):
    corpus = corpora.load_corpus(name)
    assert corpus.name == name
    for expected in corpus.expected_counts:
        assert set(expected) <= {*labels.EMOTIONS, *corpus_trees.OTHER_CLASSES.get(name, ())}


def test_an_unknown_corpus_is_refused_with_the_list_of_all():
    with pytest.raises(UserError, match="no corpus 'nobody'; expected one of aesdd, ased"):
        corpora.load_corpus('nobody')


def test_a_corpus_of_the_users_own_is_known_where_it_is_prepared(tmp_path):
    """By shards or by an .npz; its copies, unfinished data and our own corpora are no own names."""
    corpus_trees.write_empty_files(
        tmp_path,
        [
            'turev/logmel64-0123abcd/1.0.0/prepared.json',
            'packed/logmel64-0123abcd.npz',
            'turev_speed/logmel64-0123abcd/1.0.0/prepared.json',
            'unfinished/logmel64-0123abcd/1.0.0/features.json',
            'emodb/logmel64-0123abcd/1.0.0/prepared.json',
            'folder/logmel64-0123abcd/1.0.0/prepared.json',
        ],
    )
    own = corpora.own_names(tmp_path)
    assert own == ['packed', 'turev']
    assert corpora.data_set_name('turev', own) == 'turev'
    assert corpora.data_set_name('turev_speed', own) == 'turev_speed'
    assert corpora.data_set_name('other', own) == 'folder'
    assert corpora.load_corpus('turev', own).title == 'turev (your own corpus)'
    assert corpora.load_corpus('turev_speed', own).name == 'turev_speed'
    with pytest.raises(UserError, match=r"'turef'; .*Did you mean 'turev'.*folder --name turef"):
        corpora.load_corpus('turef', own)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('Turev', 'expected a lower-case letter'),
        ('../x', 'expected a lower-case letter'),
        ('emodb', 'such as my_emodb'),
        ('folder', 'such as my_folder'),
        ('my_speed', 'such as my'),
        ('four', 'such as my_four'),
        ('rated_arousal', 'such as my_rated_arousal'),
    ],
)
def test_names_that_mean_something_else_are_refused_with_another(name, message):
    with pytest.raises(UserError, match=message):
        corpora.check_own_name(name)
    corpora.check_own_name('turev_2')


@pytest.mark.parametrize('name', ['emobd', 'emo_db'])
def test_a_similar_corpus_is_suggested(name):
    with pytest.raises(UserError, match=r"Did you mean 'emodb'\?"):
        corpora.load_corpus(name)


def test_incomplete_counts_are_refused_by_class_unless_partial_is_allowed(tmp_path):
    """One file of each actor is missing: an angry one."""
    paths = [p for p in corpus_trees.make_ravdess_paths() if '-05-01-01-01-' not in p]
    utterances = ravdess.walk(corpus_trees.write_empty_files(tmp_path, paths))
    message = (
        r'1440 .* 1416 were found; angry: expected 192, found 168\. '
        r'Complete the corpus.*--allow_partial'
    )
    with pytest.raises(UserError, match=message):
        ravdess.CORPUS.check_counts(utterances)
    ravdess.CORPUS.check_counts(utterances, allow_partial=True)


@pytest.mark.parametrize(('text', 'rating'), [('1', -1), ('3.0', 0), ('5', 1), ('2', -0.5)])
def test_a_rating_is_mapped_to_minus_one_to_one(text, rating):
    assert corpora.scale_rating(text, 1, 5) == rating


@pytest.mark.parametrize('text', ['', 'NaN', '0.9', '7.1'])
def test_an_empty_or_out_of_range_rating_is_missing(text):
    assert corpora.scale_rating(text, 1, 7) is None


def test_a_rating_that_is_not_a_number_is_an_error():
    with pytest.raises(ValueError, match='often'):
        corpora.scale_rating('often', 1, 5)
