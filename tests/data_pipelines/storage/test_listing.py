"""Tests that a corpus's list is checked before anything is computed: who speaks, in which file."""

import os
from pathlib import Path

import pytest

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.storage import schema
from data_pipelines.storage.listing import complete_listing, print_single_utterances
from data_pipelines.storage.prepared import fingerprint_utterances


def make_utterance(name: str, speaker: str, path: str | Path = 'a.wav', **facts) -> Utterance:
    return Utterance(name, Path(path), speaker, 'sad', 'en', 'c', **facts)


def speakers_of(utterances: list[Utterance]) -> list[str]:
    return [utterance.speaker for utterance in utterances]


def test_two_spellings_of_a_name_are_refused_until_they_are_allowed(capsys):
    """Then they are one person, under the first name."""
    names = ['01', '1', 'Spk\u200b', 'spk', 'x']
    listed = [make_utterance(name, name) for name in names]
    with pytest.raises(UserError) as error:
        complete_listing(listed)
    assert r'2 speakers with several spellings' in str(error.value)
    assert r"'01' = '1', 'Spk\u200b' = 'spk'" in str(error.value)
    assert '--allow_names' in str(error.value)
    assert speakers_of(complete_listing(listed, allow_names=True)) == [
        '01',
        '01',
        *['Spk\u200b'] * 2,
        'x',
    ]
    assert "'01' = '1'" in capsys.readouterr().out
    assert complete_listing(listed[1::3]) == listed[1::3]


def test_one_speaker_of_two_sexes_is_refused_until_it_is_allowed():
    listed = [make_utterance('u', 'anna', sex='female'), make_utterance('v', 'Anna', sex='male')]
    with pytest.raises(UserError, match="1 speaker listed as female and as male: 'anna'"):
        complete_listing(listed)
    assert speakers_of(complete_listing(listed, allow_names=True)) == ['anna', 'anna']
    complete_listing([listed[0], make_utterance('w', 'anna')])  # not known is no sex


def test_unknown_speakers_are_nobody_and_counted(capsys):
    """nan, unknown, - and so on are not people, and no spellings of one another."""
    names = ['nan', 'NaN', 'unknown', '-', '', 'b', 'nan']
    listed = [make_utterance(str(n), name, sex='male') for n, name in enumerate(names)]
    listed.append(make_utterance('7', 'nan', sex='female'))
    assert speakers_of(complete_listing(listed)) == ['', '', '', '', '', 'b', '', '']
    output = capsys.readouterr().out
    assert "7 utterances of unknown speakers (1 empty, 1 '-', 1 'NaN', 3 'nan', 1 'unkn" in output


def test_speakers_with_one_utterance_are_doubted(capsys):
    """They may be what a list has in place of unknown speakers. At most five are named."""
    names = ['k.a.', 'b', 'b', '', 's.o.']
    listed = [make_utterance(str(n), name) for n, name in enumerate(names)]
    print_single_utterances(listed)
    assert "2 speakers with one utterance: 'k.a.', 's.o.': are these people? Of an" in (
        capsys.readouterr().out
    )
    print_single_utterances([make_utterance(str(n), f's{n}') for n in range(7)])
    assert "'s4', and 2 more: are these people?" in capsys.readouterr().out
    print_single_utterances(listed[1:4])
    assert not capsys.readouterr().out


def test_windows_of_one_file_name_it_whatever_the_path(tmp_path):
    """By its real path; the fingerprint does not depend on where that is."""
    file = tmp_path / 'a.wav'
    file.touch()
    (tmp_path / 'b').mkdir()
    (tmp_path / 'link.wav').symlink_to(file)
    paths = [file, tmp_path / 'link.wav', tmp_path / 'b/../a.wav', tmp_path / 'c.wav']
    listed = [make_utterance(str(n), 's', path, end=1.0) for n, path in enumerate(paths)]
    completed = complete_listing([*listed, make_utterance('4', 's', os.path.relpath(file))])
    files = [utterance.file for utterance in completed]
    assert len(set(files)) == 2
    assert files[0] == files[1] == files[2] == files[4]
    assert schema.label_columns(completed[0])['window'] == f'{files[0]} 0.0 1.0'
    assert schema.label_columns(completed[4])['window'] == f'{files[0]} 0.0 inf'
    assert fingerprint_utterances(completed[:4]) == fingerprint_utterances(listed)


def test_a_corpus_without_segments_has_no_windows():
    """Its data set is the same wherever its files are."""
    (completed,) = complete_listing([make_utterance('u', 's')])
    assert schema.label_columns(completed)['window'] == ''


def test_hard_links_and_copies_are_the_file_of_which_they_are(tmp_path):
    """Files of the same size and another content are not; nor are missing ones."""
    contents = {'a.wav': b'1234', 'b.wav': b'5678', 'c.wav': b'12345'}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    os.link(tmp_path / 'a.wav', tmp_path / 'hard.wav')
    (tmp_path / 'copy.wav').write_bytes(contents['a.wav'])
    (tmp_path / 'link.wav').symlink_to('copy.wav')
    names = ['a.wav', 'hard.wav', 'copy.wav', 'link.wav', 'b.wav', 'c.wav', 'd.wav', 'e.wav']
    listed = [make_utterance(name, 's', tmp_path / name, end=1.0) for name in names]
    files = [utterance.file for utterance in complete_listing(listed)]
    assert len(set(files[:4])) == 1
    assert len(set(files[3:])) == len(files[3:])


def test_files_without_an_inode_number_are_not_hard_links_of_each_other(tmp_path, monkeypatch):
    """Some network and FAT file systems state 0 for every file."""
    listed = []
    for name in ('a.wav', 'b.wav'):
        (tmp_path / name).write_bytes(name.encode())
        listed.append(make_utterance(name, 's', tmp_path / name, end=1.0))
    real_stat = os.stat

    def stat_without_number(path, **options):
        values = list(real_stat(path, **options))
        values[1] = 0  # st_ino
        return os.stat_result(values)

    with monkeypatch.context() as context:
        context.setattr(os, 'stat', stat_without_number)
        first, second = complete_listing(listed)
    assert first.file != second.file


def test_channels_that_are_used_one_by_one_are_files_of_their_own():
    """But not if an utterance is the mean of them."""
    listed = [make_utterance(str(n), 's', channel=n, end=1.0) for n in (1, 2, 1)]
    files = [utterance.file for utterance in complete_listing(listed)]
    assert files[0] == files[2] != files[1]
    with_mean = complete_listing([*listed, make_utterance('3', 's')])
    assert len({utterance.file for utterance in with_mean}) == 1
