"""Tests how IEMOCAP is read."""

from pathlib import Path

import pytest
from helpers import corpus_trees
from helpers.corpus_trees import write_iemocap_dialogue

from data_pipelines.corpora import iemocap
from data_pipelines.errors import UserError


def test_the_speaker_is_the_letter_before_the_number_and_not_that_of_the_dialogue(tmp_path):
    improvised = [('Ses01F_impro01_F000', 'neu'), ('Ses01F_impro01_M003', 'ang')]
    scripted = [('Ses05M_script03_2_F001', 'hap'), ('Ses05M_script03_2_M045', 'xxx')]
    write_iemocap_dialogue(tmp_path, 'Ses01F_impro01', improvised)
    write_iemocap_dialogue(tmp_path, 'Ses05M_script03_2', scripted)
    utterances = iemocap.walk(tmp_path)
    assert [(u.speaker, u.sex, u.session, u.style, u.emotion) for u in utterances] == [
        ('Ses01F', 'female', 'Ses01', 'improvised', 'neutral'),
        ('Ses01M', 'male', 'Ses01', 'improvised', 'angry'),
        ('Ses05F', 'female', 'Ses05', 'scripted', 'happy'),
        ('Ses05M', 'male', 'Ses05', 'scripted', 'undecided'),
    ]
    assert all(u.path.exists() for u in utterances)


def test_apple_doubles_and_the_votes_of_single_listeners_are_ignored(tmp_path):
    write_iemocap_dialogue(tmp_path, 'Ses01F_impro01', [('Ses01F_impro01_F000', 'neu')])
    folder = tmp_path / 'Session1/dialog/EmoEvaluation'
    text = (folder / 'Ses01F_impro01.txt').read_text()
    (folder / '._Ses01F_impro01.txt').write_bytes(b'\x00\x05\x16\x07' + text.encode())
    for subfolder in ('Attribute', 'Categorical', 'Self-evaluation'):
        path = folder / subfolder / 'Ses01F_impro01.txt'
        corpus_trees.write_file(path, text.replace('neu', 'ang'))
    (utterance,) = iemocap.walk(tmp_path)
    assert utterance.emotion == 'neutral'


def test_a_labelled_utterance_without_audio_is_listed(tmp_path):
    turns = [('Ses02M_impro05a_F000', 'sad')]
    write_iemocap_dialogue(tmp_path, 'Ses02M_impro05a', turns, audio=False)
    (utterance,) = iemocap.walk(tmp_path)
    expected = 'Session2/sentences/wav/Ses02M_impro05a/Ses02M_impro05a_F000.wav'
    assert utterance.path == tmp_path / expected
    assert not utterance.path.exists()


def test_audio_without_a_label_and_a_turn_of_another_form_are_said(tmp_path, capsys):
    write_iemocap_dialogue(tmp_path, 'Ses01F_impro01', [('Ses01F_impro01_F000', 'neu')])
    assert len(iemocap.walk(tmp_path)) == 1
    assert capsys.readouterr().out == ''
    audio = tmp_path / 'Session1/sentences/wav'
    for name in ('Ses01F_impro01/Ses01F_impro01_F001', 'Ses01F_impro02/Ses01F_impro02_F000'):
        corpus_trees.write_file(audio / f'{name}.wav')
    labels = tmp_path / 'Session1/dialog/EmoEvaluation/Ses01F_impro01.txt'
    labels.write_text(labels.read_text() + 2 * '[1 - 2] Ses01F_impro01_F001 neu\n')
    assert len(iemocap.walk(tmp_path)) == 1
    line, count = capsys.readouterr().out.splitlines()
    assert line.startswith('2 lines of EmoEvaluation left out, since a turn with a label')
    assert count.startswith('2 audio files left out, since no file of EmoEvaluation labels them: ')
    assert count.endswith('Ses01F_impro01_F001.wav, ...')


def test_an_unknown_label_is_refused_with_its_file_and_line(tmp_path):
    turns = [('Ses01F_impro01_F000', 'neu'), ('Ses01F_impro01_F001', 'joy')]
    write_iemocap_dialogue(tmp_path, 'Ses01F_impro01', turns)
    message = r'Ses01F_impro01\.txt, line 6, labels Ses01F_impro01_F001 as joy'
    with pytest.raises(UserError, match=message):
        iemocap.walk(tmp_path)


def test_the_words_are_the_sentence_of_a_scripted_turn_if_there_is_a_transcription(tmp_path):
    for session, words in (('01', 'Oh, my God!'), ('02', 'oh my God.')):
        for style in ('script01_1', 'impro01'):
            name = f'Ses{session}F_{style}'
            write_iemocap_dialogue(tmp_path, name, [(f'{name}_F000', 'neu')])
            corpus_trees.write_file(
                tmp_path / f'Session{int(session)}/dialog/transcriptions/{name}.txt',
                f'{name}_F000 [006.2901-008.2357]: {words}\nF: [not a turn]\n',
            )
    assert {(u.style, u.sentence) for u in iemocap.walk(tmp_path)} == {
        ('scripted', 'oh my god'),
        ('improvised', ''),
    }


def test_the_full_release_and_the_four_class_subset_are_both_complete():
    full, four = iemocap.CORPUS.expected_counts
    assert sum(full.values()) == 10_039
    assert sum(four.values()) == 5_531


def test_ratings_are_valence_activation_and_dominance_from_1_to_5(tmp_path):
    corpus_trees.write_release(tmp_path, 'iemocap')
    path = tmp_path / 'Session1/dialog/EmoEvaluation/Ses01F_impro01.txt'
    corpus_trees.edit_file(path, '[2.5000, 4.0000, 3.0000]', '[1.0000, 5.5000, 4.5000]')
    corpus_trees.edit_file(path, '[2.5000, 4.0000, 3.0000]', '[5.0000, 1.0000, 0.5000]')
    utterances = iemocap.walk(tmp_path)
    assert [(u.valence, u.arousal, u.dominance) for u in utterances[:3]] == [
        (-1, None, 0.75),
        (1, -1, None),
        (-0.25, 0.5, 0),
    ]


@pytest.mark.parametrize('ratings', ['[1.0000, x, 4.5000]', '[1.0000, 4.5000]'])
def test_ratings_that_are_not_three_numbers_are_refused_with_file_and_line(ratings, tmp_path):
    corpus_trees.write_release(tmp_path, 'iemocap')
    path = tmp_path / 'Session1/dialog/EmoEvaluation/Ses01F_impro01.txt'
    corpus_trees.edit_file(path, '[2.5000, 4.0000, 3.0000]', ratings)
    with pytest.raises(UserError) as error:
        iemocap.walk(tmp_path)
    message = f'Ses01F_impro01.txt, line 3, rates Ses01F_impro01_F000 as {ratings}; '
    assert message + 'expected three numbers' in str(error.value)


def write_choices(root: Path, *choices: str) -> list[dict | None]:
    """Writes two turns, the first with these lines, and returns the votes of both."""
    turns = [('Ses01F_impro01_F000', 'neu'), ('Ses01F_impro01_M000', 'xxx')]
    write_iemocap_dialogue(root, 'Ses01F_impro01', turns)
    path = root / 'Session1/dialog/EmoEvaluation/Ses01F_impro01.txt'
    corpus_trees.edit_file(path, 'C-E2:\tNeutral;\t()', '\n'.join(choices))
    return [utterance.votes for utterance in iemocap.walk(root)]


def test_the_votes_are_the_choices_of_the_listeners_and_not_those_of_the_actors(tmp_path):
    """A listener may choose several emotions."""
    votes = write_choices(
        tmp_path,
        'C-E1:\tNeutral state;\t()',
        'C-E3:\tExcited; Happiness;\t(surprised; Anger)',
        'C-E4:\tFrustration; Other;\t()',
        'C-F1:\tSadness;\t()',
        'A-E3:\tval 2; act 4; dom  4;\t()',
    )
    first = {'neutral': 1, 'excited': 1, 'happy': 1, 'frustrated': 1, 'other': 1}
    assert votes == [first, {'neutral': 1}]


def test_lines_below_a_turn_of_another_form_are_no_votes_of_the_turn_before(tmp_path, capsys):
    lines = ('C-E1:\tAnger;\t()', '', '[1 - 2] Ses01F_impro01_F001 neu', 'C-E1:\tSadness;\t()')
    assert write_choices(tmp_path, *lines) == [{'angry': 1}, {'neutral': 1}]
    assert '1 line of EmoEvaluation left out' in capsys.readouterr().out


def test_a_release_without_choices_of_listeners_has_no_votes_which_is_said(tmp_path, capsys):
    assert write_choices(tmp_path, 'C-F1:\tSadness;\t()') == [None, {'neutral': 1}]
    assert capsys.readouterr().out == ''
    path = tmp_path / 'Session1/dialog/EmoEvaluation/Ses01F_impro01.txt'
    corpus_trees.edit_file(path, 'C-E2', 'C-M1')
    assert [u.votes for u in iemocap.walk(tmp_path)] == [None, None]
    assert 'so there are no votes' in capsys.readouterr().out
