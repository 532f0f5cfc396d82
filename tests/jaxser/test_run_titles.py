"""Tests of what runs and settings are called, and of the note on synthetic speech."""

import json

import pytest

from data_pipelines import corpora
from jaxser.runs import SYNTHETIC_CORPORA, SYNTHETIC_WARNING, setting_title, synthetic_note


@pytest.mark.parametrize(
    ('row', 'title'),
    [
        ({'method': 'erm', 'speaker_norm': 'tap', 'lam': None}, 'erm'),
        (
            {'method': 'speaker_norm', 'speaker_norm': 'snp', 'lam': 0.1},
            'speaker_norm snp, lam = 0.1',
        ),
        ({'method': 'dann', 'speaker_norm': 'tap', 'lam': 0.0}, 'dann, lam = 0'),
        ({'speaker_norm': 'tap', 'lam': 1.0}, 'speaker_norm = tap, lam = 1'),
        ({'model.batch_norm': 'joint'}, 'model.batch_norm = joint'),
        ({'method': 'similarity', 'similarity': 'conditional', 'lam': 3.0}, 'similarity, lam = 3'),
        (
            {'method': 'similarity', 'similarity': 'unconditional', 'lam': -1.0},
            'similarity unconditional, lam = -1',
        ),
        ({'method': 'dann', 'similarity': 'unconditional', 'lam': 1.0}, 'dann, lam = 1'),
        ({'similarity': 'conditional', 'lam': 1.0}, 'similarity = conditional, lam = 1'),
        (
            {'method': 'dann', 'lam': 0.3, 'head_rate': 10.0},
            'dann, lam = 0.3, head_rate = 10',
        ),
    ],
)
def test_the_title_of_a_setting_has_the_keys_that_differ_and_that_its_method_uses(row, title):
    assert setting_title(row, list(row)) == title


SYNTHETIC_SPEAKER = {'corpus': 'demo'}
RECORDED_SPEAKER = {'corpus': 'emodb'}


@pytest.mark.parametrize(
    ('named', 'speakers', 'expected'),
    [
        (['demo'], {'a': SYNTHETIC_SPEAKER}, SYNTHETIC_WARNING),
        (
            ['demo', 'emodb'],
            {'a': SYNTHETIC_SPEAKER, 'b': RECORDED_SPEAKER},
            'Partly synthetic speech (eSpeak NG, demo)',
        ),
        (['demo', 'emodb'], {'b': RECORDED_SPEAKER}, ''),  # data.only took one of two corpora
        (['folder'], {'a': SYNTHETIC_SPEAKER}, ''),  # a list that calls its corpus demo
        (['testbed'], {}, SYNTHETIC_WARNING),  # an earlier version, which did not write speakers
    ],
)
def test_the_note_on_synthetic_speech_is_about_the_corpora_that_were_used(
    named, speakers, expected
):
    results = {'corpora': named, 'speakers': speakers, 'synthetic': 'demo' in named}
    note = synthetic_note(json.loads(json.dumps(results)))
    assert note.startswith(expected)
    assert bool(note) == bool(expected)


def test_the_synthetic_corpora_are_those_that_this_project_synthesises():
    synthesised = set()
    for name in corpora.corpus_names():
        if corpora.load_corpus(name).synthesise:
            synthesised.add(name)
    assert synthesised == SYNTHETIC_CORPORA
