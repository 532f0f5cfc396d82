"""Tests how MSP-IMPROV is read."""

from pathlib import Path

import pytest
from helpers import corpus_trees

from data_pipelines.corpora import msp_improv
from data_pipelines.errors import UserError


def write_list(root: Path, *lines: str, name: str = 'Evalution.txt') -> Path:
    """Writes an audio file and a list of labels, and returns `root`."""
    corpus_trees.write_file(root / 'Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav')
    corpus_trees.write_file(root / name, '\n'.join(lines))
    return root


@pytest.mark.parametrize('name', ['Evalution.txt', 'Evaluation.txt'])
def test_the_list_is_read_and_the_votes_of_listeners_are_ignored(name, tmp_path):
    lines = [
        'UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.800000; V:4.000000; D:1.000000 ; N:4.200000;',
        'ann-1; Neutral; Neutral; A:3.000000; V:4.000000; D:1.000000; N:4.000000;',
        '',
        'UTD-IMPROV-S20H-M06-R-MM02.avi; H; A:2.8; V:3; D:NaN ; N:NaN;',
        'UTD-IMPROV-S03S-F02-T-MF12.avi; X; A:2.8; V:1.5; D:5.0;',
        'UTD-IMPROV-S03S-F02-S-MF13.avi; O; A:2.8; V:1.5; D:5.0;',
    ]
    natural, read, target, other = msp_improv.walk(write_list(tmp_path, *lines, name=name))
    assert natural.name == 'MSP-IMPROV-S01A-F01-P-FM01'
    assert (natural.speaker, natural.sex, natural.session) == ('F01', 'female', '01')
    assert (natural.emotion, natural.style, natural.sentence) == ('neutral', 'natural', '')
    assert (natural.valence, natural.dominance, natural.arousal) == (0.5, -1, None)
    assert (read.speaker, read.sex, read.session) == ('M06', 'male', '06')
    assert (read.style, read.sentence) == ('scripted', '20')
    assert (read.valence, read.dominance) == (0, None)
    assert (target.style, target.sentence, target.emotion) == ('improvised', '03', 'undecided')
    assert (other.style, other.sentence, other.emotion) == ('improvised', '', 'other')
    assert natural.path.exists()
    # The audio is missing; the path is where the release has it.
    assert read.path == tmp_path / 'Audio/session6/S20H/R/MSP-IMPROV-S20H-M06-R-MM02.wav'


@pytest.mark.parametrize(
    'line',
    [
        'UTD-IMPROV-S01A-F01-P-FM01.avi; J; A:2.8; V:3.2; D:3.0;',
        'UTD-IMPROV-S01A-X01-P-FM01.avi; N; A:2.8; V:3.2; D:3.0;',
        'UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.8; V:low; D:3.0;',
        'UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.8',
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_its_number(line, tmp_path):
    message = (
        r'Evalution\.txt, line 2, is .*; '
        r'expected a line like UTD-IMPROV-.*one of A, H, N, S, O, X'
    )
    with pytest.raises(UserError, match=message):
        msp_improv.walk(write_list(tmp_path, '', line))


def test_a_release_without_its_list_or_its_audio_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'No Evalution\.txt in .*--source'):
        msp_improv.walk(tmp_path)
    corpus_trees.write_file(tmp_path / 'Evalution.txt')
    with pytest.raises(UserError, match='No file like Audio/session1'):
        msp_improv.walk(tmp_path)
