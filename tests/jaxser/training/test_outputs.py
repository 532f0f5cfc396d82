"""Tests of what results.json contains in addition to the figures."""

from types import SimpleNamespace

import numpy as np
import pytest
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
        steps_per_epoch=4,
        classes=['sad'],
        ratings=(),
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


@pytest.mark.parametrize(
    ('values', 'name'),
    [
        ({'method': 'similarity'}, 'similarity'),
        ({'method': 'similarity', 'similarity': 'unconditional'}, 'similarity unconditional'),
        ({'method': 'speaker_norm', 'speaker_norm': 'snp'}, 'speaker_norm snp'),
        ({'method': 'dann', 'similarity': 'unconditional'}, 'dann'),
    ],
)
def test_the_method_is_named_with_its_variant(values, name):
    """As the configuration sets it, and as a sweep with one value sets it."""
    config = tiny_config.get_config()
    run = {'hyper': values, 'status': 'ok'}
    assert outputs._method_of_sweep(config, [run, run]) == name
    config.update(values)
    assert outputs._method_of_sweep(config, [{'hyper': {'lam': 0.0}, 'status': 'ok'}]) == name


@pytest.mark.parametrize(
    ('enrol', 'swept', 'text'),
    [
        (8, [], '8 of them enrolled for each speaker (transductive, not inductive)'),
        (
            'all',
            [0, 4, 'all'],
            '0, 4 or all of them enrolled for each speaker (transductive, except 0)',
        ),
        (0, [], 'none of them enrolled'),
        ('all', [0], 'none of them enrolled'),
    ],
)
def test_the_protocol_says_how_many_utterances_are_enrolled(enrol, swept, text):
    """Only a result with enrolled utterances is transductive."""
    config = tiny_config.get_config()
    config.protocol.enrol = enrol
    runs = [{'hyper': {'enrol': value}} for value in swept]
    (note,) = outputs._enrolment_notes(config, runs)
    assert note.startswith(text)
    config.protocol.enrol = 'none'
    assert outputs._enrolment_notes(config, runs) == []


def test_utterances_that_are_not_used_are_counted():
    """Beside the label space and the corpora that they were left out of."""
    results = make_results()
    assert results['steps'] == 4 * tiny_config.get_config().train.epochs
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
