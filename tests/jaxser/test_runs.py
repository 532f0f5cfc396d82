"""Tests of what runs and settings are called."""

import json

from data_pipelines import corpora
from jaxser.runs import SYNTHETIC_CORPORA, SYNTHETIC_WARNING, synthetic_note


def test_synthetic_speech_is_said_of_the_corpora_that_were_used():
    """Of all speech, of a part of it, and not of a list that calls its corpus demo."""
    people = {'a': {'corpus': 'demo'}, 'b': {'corpus': 'emodb'}}
    for named, speakers, expected in (
        (['demo'], {'a': {'corpus': 'demo'}}, SYNTHETIC_WARNING),
        (['demo', 'emodb'], people, 'Partly synthetic speech (eSpeak NG, demo)'),
        (['demo', 'emodb'], {'b': {'corpus': 'emodb'}}, ''),  # of which data.only took one
        (['folder'], {'a': {'corpus': 'demo'}}, ''),
        (['testbed'], {}, SYNTHETIC_WARNING),  # results of before speakers were written down
    ):
        results = {'corpora': named, 'speakers': speakers, 'synthetic': 'demo' in named}
        note = synthetic_note(json.loads(json.dumps(results)))
        assert note.startswith(expected)
        assert bool(note) == bool(expected)


def test_the_synthetic_corpora_are_those_that_are_made_here():
    """A corpus that is synthesised on first use is in the list, and no other."""
    made = {name for name in corpora.corpus_names() if corpora.load_corpus(name).synthesise}
    assert made == SYNTHETIC_CORPORA
