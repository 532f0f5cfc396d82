"""Tests how the audio files of a corpus are found, with EMO-DB as the example."""

import pytest
from helpers import corpus_trees

from data_pipelines.corpora import emodb


@pytest.mark.parametrize('suffix', ['.wav', '.WAV', '.flac', '.Flac'])
def test_wav_and_flac_are_found_in_any_case(suffix, tmp_path):
    paths = [f'wav/03a01Fa{suffix}', 'wav/03a01Fa.txt', 'wav/._03a01Fa.wav']
    corpus_trees.write_empty_files(tmp_path, paths)
    assert len(emodb.walk(tmp_path)) == 1


def test_files_are_sorted_by_path_whatever_the_order_of_the_file_system(tmp_path):
    names = ['08a01Na', '03b02Wa', '03a01Fa', '16a05Tc']
    corpus_trees.write_empty_files(tmp_path, [f'wav/{name}.wav' for name in names])
    assert [utterance.name for utterance in emodb.walk(tmp_path)] == sorted(names)


def test_folders_and_dead_links_are_found_so_that_they_are_rejected_later(tmp_path):
    (tmp_path / '03a01Fa.wav').mkdir()
    (tmp_path / '03a01Nc.wav').symlink_to(tmp_path / 'gone')
    assert len(emodb.walk(tmp_path)) == 2


def test_ignored_files_are_counted_with_an_example(tmp_path, capsys):
    corpus_trees.write_empty_files(tmp_path, ['wav/03a01Fa.wav', 'b.wav', 'a.wav'])
    emodb.walk(tmp_path)
    expected = (
        '2 audio files are ignored, since their names are not like wav/03a01Fa.wav: a.wav, ...'
    )
    assert capsys.readouterr().out == expected + '\n'


def test_files_of_other_formats_are_counted(tmp_path, capsys):
    paths = ['wav/03a01Fa.wav', 'wav/03a01Nc.mp3', 'wav/03a01Wa.m4a', 'wav/notes.mp3']
    corpus_trees.write_empty_files(tmp_path, paths)
    emodb.walk(tmp_path)
    expected = '2 audio files of other formats are ignored, since this corpus is read as .wav'
    assert expected in capsys.readouterr().out
