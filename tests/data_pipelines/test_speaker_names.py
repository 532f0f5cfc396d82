"""Tests that the spellings of a speaker's name have one identity key."""

import numpy as np
import pytest

from data_pipelines import speaker_names
from data_pipelines.speaker_names import identity_key


@pytest.mark.parametrize(
    ('name', 'others'),
    [
        ('7', ['007', '7.0', '7,0', '7.', '7.00', ' 7 ', '\uff17', '\u0667', '7\u200b', '0000007']),
        ('0', ['000', '0.0']),
        ('Spk1', ['spk1', 'SPK1', 'spk1\u200b', '\ufeffspk1', 'spk\u00ad1', '\u2060spk1']),
        ('J\u00fcrgen', ['Ju\u0308rgen', 'J\u00dcRGEN', 'JU\u0308RGEN', 'j\u00fcrgen\u200d']),
        (
            'Anna B',
            ['anna\u00a0b', 'Anna  B', 'Anna\tB', 'anna\u3000B', 'Anna B\r', 'anna \ufe0fB'],
        ),
        ('\ufb01n', ['FIN', 'fin']),
        ('Wei\u00df', ['WEISS']),
        ("O'Neil-Wu", ['O\u2019Neil\u2010Wu', 'o\u02bcneil\u2013wu']),
        ('I\u015f\u0131k', ['\u0131\u015f\u0131k', 'I\u015eIK', '\u0130\u015fik']),
    ],
)
def test_spellings_of_one_name_have_one_key(name, others):
    for other in others:
        assert identity_key(other) == identity_key(name), other
        assert identity_key(identity_key(other)) == identity_key(other)


def test_different_names_keep_different_keys():
    names = ['1', '10', '1a', 'a1', '-1', '1.5', 'spk 1', 'spk1', 'spk_1', 'jurgen', 'j\u00fcrgen']
    assert len({identity_key(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    'name',
    [
        '',
        ' ',
        'nan',
        'NaN',
        'unknown',
        'UNKNOWN',
        '-',
        'n/a',
        'N/A',
        '#N/A',
        'None',
        '\u200b',
        'NULL',
        '???',
        '...',
        '_',
        '\u2013',
        '<NA>',
        '(null)',
        '[unknown]',
        'Unknown speaker',
        'spk_unknown',
        'n.a.',
        'Unbekannt',
        '\u4e0d\u660e',
        '#REF!',
        '#DIV/0!',
        '\\N',
        'k.A.',
        'k. A.',
        'keine Angabe',
        'TBD',
    ],
)
def test_names_of_nobody_are_unknown(name):
    assert speaker_names.is_unknown(name)


@pytest.mark.parametrize(
    'name',
    [
        '0',
        'Nan\u00e9',
        'Nancy',
        'anon',
        '1',
        '-1',
        'Nat',
        'Nil',
        'unknown_1',
        'speaker',
        '#1',
        'K.A.',
        'ka',
    ],
)
def test_names_of_people_are_known(name):
    assert not speaker_names.is_unknown(name)


def test_keys_of_several_data_sets_keep_the_corpus():
    """1 of a corpus is not 1 of another one."""
    speaker_N = np.array(['a/01', 'a/1', 'b/1', 'a/nan', ''])
    keys = speaker_names.identity_keys(speaker_N, np.array(['a', 'a', 'b', 'a', 'a']))
    assert keys.tolist() == ['a/1', 'a/1', 'b/1', '', '']


def test_unknown_names_are_cleared_and_others_kept_to_the_letter():
    speaker_N = np.array(['nan', '01', 'B ', '-'])
    assert speaker_names.clear_unknown(speaker_N).tolist() == ['', '01', 'B ', '']


def test_what_cannot_be_seen_is_shown():
    assert speaker_names.visible('J\u00fcrgen') == "'J\u00fcrgen'"
    assert speaker_names.visible('1\u200b') == r"'1\u200b'"
    assert speaker_names.visible('Ju\u0308rgen') == r"'Ju\u0308rgen'"
