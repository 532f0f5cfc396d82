"""What stands in results.json beside the figures."""

from types import SimpleNamespace

import numpy as np
from helpers import tiny_config

from data_pipelines.protocols.protocol import Protocol
from jaxser.training import outputs


def results(normalise: str = 'global', leaks: tuple[str, ...] = ()) -> dict:
    """Of a sweep without runs."""
    config = tiny_config.get_config()
    config.data.normalise = normalise
    nobody = dict.fromkeys(('speaker', 'sex', 'language', 'corpus'), np.zeros(0, str))
    task = SimpleNamespace(
        utterances=SimpleNamespace(text=nobody),
        protocol=Protocol('speaker_dependent'),
        folds=[],
        table=SimpleNamespace(classes=['sad']),
        split_sha256='0' * 64,
        audit={'leaks': list(leaks)},
        split=SimpleNamespace(left_out={'fear': 3}, unused=2),
    )
    return outputs.make_results(config, task, [], {}, 0.0)


def test_what_makes_a_result_look_better_stands_in_its_title():
    """Shared speakers, statistics of tested audio, and leaks that were let pass; and nothing of it where there is none."""
    plain = results()['protocol']
    assert 'speakers are shared' in plain
    assert 'transductive' not in plain
    assert 'LEAK' not in plain
    assert 'tested audio too (transductive)' in results('speaker_transductive')['protocol']
    assert 'LEAK OF AUDIO ALLOWED' in results(leaks=('audio',))['protocol']


def test_what_was_not_used_is_written_down():
    """With the label space and the corpora that it was left out of."""
    found = results()
    assert (found['left_out'], found['unused'], found['labels'], found['corpora']) == (
        {'fear': 3},
        2,
        'native',
        ['folder'],
    )


def test_of_speakers_is_written_down_what_is_known(tmp_path):
    """The report groups by it; nobody is of an empty sex, and who speaks two languages is of both."""
    text = {
        'speaker': ['a', 'a', 'b', 'c', ''],
        'sex': ['f', 'f', 'm', '', 'm'],
        'language': ['de', 'en', 'de', '', 'de'],
    }
    text['corpus'] = ['one'] * 5
    known = outputs.speaker_attributes({k: np.array(v) for k, v in text.items()})
    a, b = (
        {'sex': 'f', 'language': 'de+en', 'corpus': 'one'},
        {'sex': 'm', 'language': 'de', 'corpus': 'one'},
    )
    assert known == {'a': a, 'b': b, 'c': {'corpus': 'one'}}
