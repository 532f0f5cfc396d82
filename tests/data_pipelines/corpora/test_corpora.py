"""How each release is walked: names, labels, talkers, counts, and what is said to someone who points at the wrong place."""

import collections
import csv
import itertools
import os
import re
from pathlib import Path

import pytest

from data_pipelines import corpora, labels
from data_pipelines.corpora import emodb, folder, iemocap, ravdess, urdu
from data_pipelines.errors import UserError

RAVDESS = [
    f'Actor_{actor:02d}/03-01-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}.wav'
    for actor, emotion, intensity, statement, repetition in itertools.product(
        range(1, 25), range(1, 9), *[(1, 2)] * 3
    )
    if (emotion, intensity) != (1, 2)  # there is no strong neutral
]


def touch(root: Path, paths) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def evaluation(root: Path, name: str, turns: list[tuple[str, str]], audio: bool = True) -> None:
    """One file of EmoEvaluation as IEMOCAP has it, and empty wavs for its turns."""
    session = root / f'Session{int(name[3:5])}'
    path = session / f'dialog/EmoEvaluation/{name}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ['% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]', '']
    for utterance, label in turns:
        lines += [
            f'[6.2901 - 8.2357]\t{utterance}\t{label}\t[2.5000, 2.5000, 2.5000]',
            'C-E2:\tNeutral;\t()',
            '',
        ]
    path.write_text('\n'.join(lines))
    touch(
        session,
        [f'sentences/wav/{name}/{utterance}.wav' for utterance, _ in turns] if audio else [],
    )


def listing(tmp_path: Path, text: str) -> Path:
    path = tmp_path / 'list.csv'
    path.write_text(text)
    return path


def counts(utterances) -> dict[str, int]:
    return dict(collections.Counter(u.emotion for u in utterances))


@pytest.mark.parametrize('name', corpora.corpus_names())
def test_a_corpus_is_found_by_the_name_it_gives_itself_and_uses_shared_words(name):
    corpus = corpora.load_corpus(name)
    assert corpus.name == name
    assert {e for expected in corpus.expected_counts for e in expected} <= set(labels.EMOTIONS)


def test_emodb_names_give_speaker_sex_sentence_and_emotion(tmp_path):
    a, b = emodb.walk(touch(tmp_path, ['wav/16b10Lb.wav', 'wav/03a01Fa.wav']))
    assert (a.name, a.speaker, a.sex, a.sentence, a.emotion, a.language) == (
        '03a01Fa',
        '03',
        'male',
        'a01',
        'happy',
        'de',
    )
    assert (b.name, b.speaker, b.sex, b.sentence, b.emotion) == (
        '16b10Lb',
        '16',
        'female',
        'b10',
        'bored',
    )


def test_emodb_complete_is_535_from_five_men_and_five_women(tmp_path):
    letters = {'W': 127, 'L': 81, 'E': 46, 'A': 69, 'F': 71, 'T': 62, 'N': 79}
    speakers = ['03', '08', '09', '10', '11', '12', '13', '14', '15', '16']
    takes = [
        f'{s}{t}'
        for t, s in itertools.product(
            ['a01', 'a02', 'a04', 'a05', 'a07', 'b01', 'b02', 'b03', 'b09', 'b10'], speakers
        )
    ]
    names = [f'wav/{take}{letter}{version}.wav' for letter, n in letters.items() for version, take in
             itertools.islice(itertools.product('ab', takes), n)]  # fmt: skip
    found = emodb.walk(touch(tmp_path, names))
    emodb.CORPUS.check_counts(found)
    assert len(found) == 535
    assert collections.Counter(sex for _, sex in {(u.speaker, u.sex) for u in found}) == {
        'male': 5,
        'female': 5,
    }


def test_ravdess_complete_is_1440_from_24_actors_the_odd_ones_men(tmp_path):
    found = ravdess.walk(touch(tmp_path, RAVDESS))
    ravdess.CORPUS.check_counts(found)
    assert len(found) == 1440
    assert {u.speaker: u.sex for u in found} == {
        f'{i:02d}': 'male' if i % 2 else 'female' for i in range(1, 25)
    }
    assert {u.sentence for u in found} == {'01', '02'}


def test_ravdess_leaves_song_and_video_out(tmp_path):
    touch(
        tmp_path,
        [
            'Actor_01/03-02-03-01-01-01-01.wav',
            'Actor_01/01-01-03-01-01-01-01.wav',
            'Actor_01/03-01-03-01-01-01-01.wav',
        ],
    )
    assert [u.name for u in ravdess.walk(tmp_path)] == ['03-01-03-01-01-01-01']


def test_urdu_names_give_speaker_sex_and_emotion(tmp_path):
    a, b = urdu.walk(touch(tmp_path, ['Sad/SF10_F4_S078.wav', 'Angry/SM1_F10_A010.wav']))
    assert (a.speaker, a.sex, a.emotion, a.language) == ('SM1', 'male', 'angry', 'ur')
    assert (b.speaker, b.sex, b.emotion) == ('SF10', 'female', 'sad')


def test_wrong_counts_are_refused_class_by_class_until_partial_is_allowed(tmp_path):
    found = ravdess.walk(touch(tmp_path, [p for p in RAVDESS if '-05-01-01-01-' not in p]))
    with pytest.raises(
        UserError,
        match=r'1440 .* 1416 were found; angry: expected 192, found 168\. .*--allow_partial',
    ):
        ravdess.CORPUS.check_counts(found)
    ravdess.CORPUS.check_counts(found, allow_partial=True)


@pytest.mark.parametrize('suffix', ['.wav', '.WAV', '.flac', '.Flac'])
def test_audio_is_found_as_wav_or_flac_in_any_case(tmp_path, suffix):
    assert (
        len(
            emodb.walk(
                touch(tmp_path, [f'wav/03a01Fa{suffix}', 'wav/03a01Fa.txt', 'wav/._03a01Fa.wav'])
            )
        )
        == 1
    )


def test_the_order_is_that_of_the_paths_whatever_the_file_system_says(tmp_path):
    names = ['08a01Na', '03b02Wa', '03a01Fa', '16a05Tc']
    assert [u.name for u in emodb.walk(touch(tmp_path, [f'wav/{n}.wav' for n in names]))] == sorted(
        names
    )


@pytest.mark.parametrize('corpus', [emodb, ravdess, urdu, iemocap])
def test_a_wrong_directory_is_refused_with_what_was_looked_for(corpus, tmp_path):
    touch(tmp_path, ['music/song.wav'])
    with pytest.raises(UserError, match=r'(?s)No .*(\.wav|\.txt).*--source'):
        corpus.walk(tmp_path)
    with pytest.raises(UserError, match='--source'):
        corpus.walk(tmp_path / 'nowhere')


def test_something_that_is_no_file_is_listed_rather_than_lost(tmp_path):
    """A folder or a dead link of an utterance's name must end as a rejection."""
    (tmp_path / '03a01Fa.wav').mkdir()
    (tmp_path / '03a01Nc.wav').symlink_to(tmp_path / 'gone')
    assert len(emodb.walk(tmp_path)) == 2


def test_iemocap_talker_is_the_letter_before_the_number_not_that_of_the_dialogue(tmp_path):
    evaluation(
        tmp_path, 'Ses01F_impro01', [('Ses01F_impro01_F000', 'neu'), ('Ses01F_impro01_M003', 'ang')]
    )
    evaluation(
        tmp_path,
        'Ses05M_script03_2',
        [('Ses05M_script03_2_F001', 'hap'), ('Ses05M_script03_2_M045', 'xxx')],
    )
    found = iemocap.walk(tmp_path)
    assert [(u.speaker, u.sex, u.session, u.style, u.emotion) for u in found] == [
        ('Ses01F', 'female', 'Ses01', 'improvised', 'neutral'),
        ('Ses01M', 'male', 'Ses01', 'improvised', 'angry'),
        ('Ses05F', 'female', 'Ses05', 'scripted', 'happy'),
        ('Ses05M', 'male', 'Ses05', 'scripted', 'undecided'),
    ]
    assert all(u.path.exists() for u in found)


def test_iemocap_passes_over_apple_doubles_and_single_listeners(tmp_path):
    evaluation(tmp_path, 'Ses01F_impro01', [('Ses01F_impro01_F000', 'neu')])
    labels_of = tmp_path / 'Session1/dialog/EmoEvaluation'
    text = (labels_of / 'Ses01F_impro01.txt').read_text()
    (labels_of / '._Ses01F_impro01.txt').write_bytes(b'\x00\x05\x16\x07' + text.encode())
    for part in ('Attribute', 'Categorical', 'Self-evaluation'):
        touch(labels_of, [f'{part}/x.txt'])
        (labels_of / part / 'Ses01F_impro01.txt').write_text(text.replace('neu', 'ang'))
    assert counts(iemocap.walk(tmp_path)) == {'neutral': 1}


def test_iemocap_lists_a_labelled_utterance_whose_audio_is_missing(tmp_path):
    evaluation(tmp_path, 'Ses02M_impro05a', [('Ses02M_impro05a_F000', 'sad')], audio=False)
    (u,) = iemocap.walk(tmp_path)
    assert u.path == tmp_path / 'Session2/sentences/wav/Ses02M_impro05a/Ses02M_impro05a_F000.wav'
    assert not u.path.exists()


def test_iemocap_refuses_a_label_it_does_not_know_by_file_and_line(tmp_path):
    evaluation(
        tmp_path, 'Ses01F_impro01', [('Ses01F_impro01_F000', 'neu'), ('Ses01F_impro01_F001', 'joy')]
    )
    with pytest.raises(
        UserError, match=r'Ses01F_impro01\.txt, line 6, labels Ses01F_impro01_F001 as joy'
    ):
        iemocap.walk(tmp_path)


def test_iemocap_scripted_sentences_are_the_words_where_there_are_transcriptions(tmp_path):
    for session, words in (('01', 'Oh, my God!'), ('02', 'oh my God.')):
        for style in ('script01_1', 'impro01'):
            name = f'Ses{session}F_{style}'
            evaluation(tmp_path, name, [(f'{name}_F000', 'neu')])
            text = tmp_path / f'Session{int(session)}/dialog/transcriptions/{name}.txt'
            text.parent.mkdir(exist_ok=True)
            text.write_text(f'{name}_F000 [006.2901-008.2357]: {words}\nF: [not a turn]\n')
    assert {(u.style, u.sentence) for u in iemocap.walk(tmp_path)} == {
        ('scripted', 'oh my god'),
        ('improvised', ''),
    }


def test_iemocap_full_release_and_four_class_subset_are_both_right():
    full, four = iemocap.CORPUS.expected_counts
    assert sum(full.values()) == 10_039
    assert sum(four.values()) == 5_531


def test_folder_reads_every_column_and_paths_relative_to_the_csv(tmp_path):
    path = listing(
        tmp_path,
        'path,speaker,emotion,start,end,language,corpus,sex,session,sentence,style,split,arousal,valence,dominance\n'
        'a/b.wav,anna,happy,0.5,2,de,mine,female,s1,"Guten Tag, Welt",acted,dev,-1,0.25,1\n'
        'a/b.wav,anna,sad,2,,,,,,,,,,,\n',
    )
    a, b = folder.walk(path)
    assert (a.path, a.start, a.end) == (tmp_path / 'a/b.wav', 0.5, 2.0)
    assert (a.corpus, a.sex, a.session, a.sentence, a.style) == (
        'mine',
        'female',
        's1',
        'Guten Tag, Welt',
        'acted',
    )
    assert (a.split, a.arousal, a.valence, a.dominance) == ('dev', -1.0, 0.25, 1.0)
    assert (b.start, b.end, b.corpus, b.language) == (2.0, None, 'folder', '')
    assert (b.split, b.arousal, b.valence, b.dominance) == ('', None, None, None)
    assert a.name != b.name


def test_folder_accepts_what_excel_and_other_eyes_write(tmp_path):
    """A byte order mark, CRLF, columns in another order, an absolute path."""
    path = listing(tmp_path, f'\ufeffemotion,speaker,path\r\nangry,1,{tmp_path / "x.wav"}\r\n')
    assert [u.path for u in folder.walk(path)] == [tmp_path / 'x.wav']


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('path,speaker\nx.wav,1\n', 'missing: emotion'),
        ('path,speaker,emotion,mood\nx.wav,1,sad,2\n', 'unknown: mood'),
        ('path;speaker;emotion\nx.wav;1;sad\n', 'separated by commas'),
        ('', r'columns \(none\)'),
        ('path,speaker,emotion\n', 'no utterances'),
        (
            'path,speaker,emotion\nx.wav,1,sad\ny.wav,1,joyful\n',
            "line 3: emotion 'joyful' is none of angry, anxious",
        ),
        ('path,speaker,emotion\nx.wav,,sad\n', 'line 2: no speaker'),
        ('path,speaker,emotion\nx.wav,1\n', 'line 2: more or fewer cells'),
        ('path,speaker,emotion\nx.wav,1,sad,2\n', 'line 2: more or fewer cells'),
        ('path,speaker,emotion,start\nx.wav,1,sad,soon\n', "line 2: start 'soon'"),
        (
            'path,speaker,emotion,split\nx.wav,1,sad,trian\n',
            "line 2: split 'trian' is neither train nor dev nor test",
        ),
        (
            'path,speaker,emotion,start,end\nx.wav,1,sad,-1,1\n',
            'line 2: start -1 is before the beginning',
        ),
        (
            'path,speaker,emotion,start,end\nx.wav,1,sad,2,1\n',
            'line 2: the segment from 2 to 1 s has no length',
        ),
        ('path,speaker,emotion,start,end\nx.wav,1,sad,nan,1\n', 'line 2: the segment'),
        ('path,speaker,emotion,sex\nx.wav,1,sad,m\n', "line 2: sex 'm'"),
        (
            'path,speaker,emotion,arousal\nx.wav,1,sad,0.5\ny.wav,1,sad,1.5\n',
            "line 3: arousal '1.5' is not a number from -1 to 1",
        ),
        (
            'path,speaker,emotion,arousal\nx.wav,1,sad,-1.01\n',
            "line 2: arousal '-1.01' is not a number",
        ),
        (
            'path,speaker,emotion,valence\nx.wav,1,sad,nan\n',
            "line 2: valence 'nan' is not a number from -1 to 1",
        ),
        (
            'path,speaker,emotion,dominance\nx.wav,1,sad,high\n',
            "line 2: dominance 'high' is not a number from -1 to 1",
        ),
        (
            'path,speaker,emotion\nx.wav,1,sad\nx.wav,2,sad\n',
            r'more than once: x\.wav on lines 2, 3',
        ),
        ('path,speaker,emotion\n"x.wav,1,sad\n', 'is not CSV'),
    ],
)
def test_folder_refuses_a_list_that_is_wrong_and_says_where(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        folder.walk(listing(tmp_path, text))


def test_folder_takes_blanks_at_the_ends_of_cells_for_a_slip(tmp_path):
    """Otherwise a speaker would be two people, one on each side of a split."""
    found = folder.walk(listing(tmp_path, 'path,speaker,emotion\na.wav,s1,sad\nb.wav,s1 , sad\n'))
    assert {(u.speaker, u.emotion) for u in found} == {('s1', 'sad')}


def test_folder_refuses_latin_1_texts_but_takes_any_bytes_as_a_path(tmp_path):
    path = tmp_path / 'list.csv'
    path.write_bytes('path,speaker,emotion\nx.wav,Jürgen,sad\n'.encode('latin-1'))
    with pytest.raises(UserError, match='line 2: text that is not UTF-8'):
        folder.walk(path)
    path.write_bytes('path,speaker,emotion\nJürgen.wav,1,sad\n'.encode('latin-1'))
    (u,) = folder.walk(path)
    assert os.fsencode(u.path.name) == 'Jürgen.wav'.encode('latin-1')
    u.name.encode()  # no surrogates: it goes into the shards


WORDS = {  # of the labels as the lists code them, where they are not the words themselves
    'angry': ['a', 'an', 'anger', 'ang', 'rab'],
    'bored': ['boredem'],
    'disgust': ['d', 'di', 'dis'],
    'excited': ['exc'],
    'fear': ['f', 'fe', 'fea', 'fearful', 'pau'],
    'happy': ['h', 'ha', 'hap', 'happiness', 'gio'],
    'neutral': ['n', 'neu'],
    'sad': ['s', 'sa', 'sadness', 'tri'],
    'surprise': ['su', 'surprised', 'ps', 'sor'],
}
OFFICIAL = [
    'casia', 'crema_d', 'emodb', 'emovo', 'enterface', 'esd', 'iemocap', 'jl', 'mesd', 'ravdess', 'savee', 'shemo', 'subesco',
    'tess', 'urdu',
]  # fmt: skip


@pytest.mark.parametrize('name', OFFICIAL)
def test_the_official_list_has_the_expected_counts_and_speakers(name, tmp_path):
    if not os.environ.get('JAXSER_SHARED'):
        pytest.skip(
            'the environment variable JAXSER_SHARED does not name a folder with layouts/*.csv'
        )
    with open(Path(os.environ['JAXSER_SHARED']) / 'layouts' / f'{name}.csv') as file:
        rows = list(csv.DictReader(file))
    dialogues = collections.defaultdict(list)
    if name == 'iemocap':
        for row in rows:
            dialogues[Path(row['path']).parent.name].append((Path(row['path']).stem, row['label']))
        for dialogue, turns in dialogues.items():
            evaluation(tmp_path, dialogue, turns)
    else:
        touch(tmp_path, [row['path'] for row in rows])
    corpus = corpora.load_corpus(name)
    found = corpus.walk(tmp_path)
    corpus.check_counts(found)
    assert len({u.name for u in found}) == len(found) == len(rows)
    assert len({u.speaker for u in found}) == corpus.speakers
    word = {code: word for word, codes in WORDS.items() for code in codes}
    official = {row['path']: word.get(row['label'].lower(), row['label'].lower()) for row in rows}
    assert {u.path.relative_to(tmp_path).as_posix(): u.emotion for u in found} == official
    if name == 'iemocap':
        assert collections.Counter(u.session for u in found) == dict(
            Ses01=1085, Ses02=1023, Ses03=1151, Ses04=1031, Ses05=1241
        )
        assert all(u.speaker == re.sub(r'(Ses\d\d).*_([FM])\d+', r'\1\2', u.name) for u in found)
    if name == 'shemo':
        assert collections.Counter(sex for _, sex in {(u.speaker, u.sex) for u in found}) == dict(
            female=31, male=56
        )
    if name in ('subesco', 'esd', 'emovo', 'jl'):
        women, men = ({u.speaker for u in found if u.sex == sex} for sex in ('female', 'male'))
        assert len(women) == len(men) == corpus.speakers / 2
    if name in (
        'casia',
        'esd',
        'emovo',
        'tess',
        'subesco',
    ):  # everybody says everything, and each as often
        said = collections.Counter((u.language, u.sentence, u.emotion) for u in found)
        assert len({*said.values()}) == 1
        assert (
            len(said)
            == len(corpus.expected_counts[0])
            * {'casia': 50, 'esd': 700, 'emovo': 14, 'tess': 200, 'subesco': 10}[name]
        )
