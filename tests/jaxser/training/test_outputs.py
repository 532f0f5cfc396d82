"""Tests of what results.json contains in addition to the figures."""

from types import SimpleNamespace

import numpy as np
from helpers import tiny_config

from data_pipelines.protocols.protocol import Protocol
from jaxser.training import outputs


def make_results(normalise: str = 'global', leaks: tuple[str, ...] = ()) -> dict:
    """Returns results.json of a sweep without runs."""
    config = tiny_config.get_config()
    config.data.normalise = normalise
    no_text = dict.fromkeys(('speaker', 'sex', 'language', 'corpus'), np.zeros(0, str))
    task = SimpleNamespace(
        utterances=SimpleNamespace(text=no_text),
        protocol=Protocol('speaker_dependent'),
        folds=[],
        table=SimpleNamespace(classes=['sad']),
        split_sha256='0' * 64,
        audit={'leaks': list(leaks)},
        split=SimpleNamespace(left_out={'fear': 3}, unused=2),
    )
    return outputs.make_results(config, task, [], {}, 0.0)


def test_the_protocol_says_what_makes_results_look_better():
    """Shared speakers, statistics of tested audio, and allowed leaks."""
    plain = make_results()['protocol']
    assert 'speakers are shared' in plain
    assert 'transductive' not in plain
    assert 'LEAK' not in plain
    transductive = make_results('speaker_transductive')['protocol']
    assert 'tested audio too (transductive)' in transductive
    assert 'LEAK OF AUDIO ALLOWED' in make_results(leaks=('audio',))['protocol']


def test_utterances_that_are_not_used_are_counted():
    """Beside the label space and the corpora that they were left out of."""
    results = make_results()
    assert results['left_out'] == {'fear': 3}
    assert results['unused'] == 2
    assert results['labels'] == 'native'
    assert results['corpora'] == ['folder']


def test_known_attributes_of_speakers_are_listed():
    """The report groups by them. Several values are joined, and unknown ones are left out."""
    text = {
        'speaker': ['a', 'a', 'b', 'c', ''],
        'sex': ['f', 'f', 'm', '', 'm'],
        'language': ['de', 'en', 'de', '', 'de'],
        'corpus': ['one', 'one', 'one', 'one', 'one'],
    }
    arrays = {name: np.array(values) for name, values in text.items()}
    assert outputs.speaker_attributes(arrays) == {
        'a': {'sex': 'f', 'language': 'de+en', 'corpus': 'one'},
        'b': {'sex': 'm', 'language': 'de', 'corpus': 'one'},
        'c': {'corpus': 'one'},
    }
