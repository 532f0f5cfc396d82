"""Tests that every corpus must pass, on small releases and on the official lists of files."""

import collections
import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import corpus_trees, tiny_config

from data_pipelines import corpora, labels
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import preparation

# Corpus, file, and what its name says: name, speaker, emotion, language, sex, sentence.
NAMES = [
    ('aesdd', 'anger/a03 (3).wav', ('a03 (3)', '3', 'angry', 'el', '', '03')),
    ('aesdd', 'sadness/s01 (5)b.wav', ('s01 (5)b', '5', 'sad', 'el', '', '01')),
    ('aesdd', 'fear/f20 (01).wav', ('f20 (01)', '1', 'fear', 'el', '', '')),
    (
        'ased',
        '01Neutral/n1-01-02-02-65.wav',
        ('n1-01-02-02-65', '65', 'neutral', 'am', 'male', '01'),
    ),
    ('ased', '04Sad/S4-03-01-01-09.wav', ('S4-03-01-01-09', '09', 'sad', 'am', 'female', 's4_03')),
    ('baved', '0/46-m-20-0-2-158.wav', ('46-m-20-0-2-158', '46', 'high', 'ar', 'male', '0')),
    ('baved', '6/53-m-20-6-0-9.wav', ('53-m-20-6-0-9', '46', 'low', 'ar', 'male', '6')),
    ('cafe', 'Neutre/01-N-1-6.wav', ('01-N-1-6', '01', 'neutral', 'fr', 'male', '6')),
    ('cafe', 'Dégoût/Fort/12-D-2-1.wav', ('12-D-2-1', '12', 'disgust', 'fr', 'female', '1')),
    (
        'casia',
        'CASIA/ZhaoZuoxiang/angry/201.wav',
        ('zhaozuoxiang_angry_201', 'zhaozuoxiang', 'angry', 'zh', '', '201'),
    ),
    (
        'casia',
        'wangzhe/surprise/250.wav',
        ('wangzhe_surprise_250', 'wangzhe', 'surprise', 'zh', '', '250'),
    ),
    (
        'crema_d',
        'AudioWAV/1076_MTI_SAD_XX.wav',
        ('1076_MTI_SAD_XX', '1076', 'sad', 'en', '', 'MTI'),
    ),
    (
        'crema_d',
        'AudioWAV/1001_IEO_DIS_HI.wav',
        ('1001_IEO_DIS_HI', '1001', 'disgust', 'en', '', 'IEO'),
    ),
    ('emodb', 'wav/16b10Lb.wav', ('16b10Lb', '16', 'bored', 'de', 'female', 'b10')),
    ('emovo', 'm3/sor-m3-n5.wav', ('sor-m3-n5', 'm3', 'surprise', 'it', 'male', 'n5')),
    ('emovo', 'f1/gio-f1-b1.wav', ('gio-f1-b1', 'f1', 'happy', 'it', 'female', 'b1')),
    (
        'enterface',
        'subject 1/anger/sentence 1/s1_an_1.avi',
        ('s1_an_1', '1', 'angry', 'en', '', 'an_1'),
    ),
    (
        'enterface',
        'subject 3/fear/sentence 5/s_3_fe_5.avi',
        ('s_3_fe_5', '3', 'fear', 'en', '', 'fe_5'),
    ),
    (
        'enterface',
        'subject 16/surprise/sentence 3/s16_su_3avi.avi',
        ('s16_su_3avi', '16', 'surprise', 'en', '', 'su_3'),
    ),
    ('enterface', 'subject 6/happiness/s6_ha.avi', ('s6_ha', '6', 'happy', 'en', '', '')),
    ('enterface', 'subject 6/happiness/s6_ha_2.wav', ('s6_ha_2', '6', 'happy', 'en', '', 'ha_2')),
    (
        'enterface',
        'subject 11/disgust/sentence 1/s12_di_1.AVI',
        ('s12_di_1', '12', 'disgust', 'en', '', 'di_1'),
    ),
    (
        'esd',
        '0001/Neutral/0001_000350.wav',
        ('0001_000350', '0001', 'neutral', 'zh', 'female', 'zh_350'),
    ),
    ('esd', '0010/Angry/0010_000351.wav', ('0010_000351', '0010', 'angry', 'zh', 'male', 'zh_001')),
    ('esd', '0011/Sad/0011_001400.wav', ('0011_001400', '0011', 'sad', 'en', 'male', 'en_350')),
    (
        'esd',
        '0019/Surprise/0019_001401.wav',
        ('0019_001401', '0019', 'surprise', 'en', 'female', 'en_001'),
    ),
    (
        'jl',
        'JL(wav+txt)/female1_angry_10a_1.wav',
        ('female1_angry_10a_1', 'female1', 'angry', 'en', 'female', '10'),
    ),
    (
        'jl',
        'JL(wav+txt)/male2_apologetic_5b_2.wav',
        ('male2_apologetic_5b_2', 'male2', 'apologetic', 'en', 'male', 'apologetic_5'),
    ),
    ('mesd', 'MESD/Anger_C_A_abajo.wav', ('Anger_C_A_abajo', 'child', 'angry', 'es', '', 'abajo')),
    (
        'mesd',
        'MESD/Neutral_F_A_de_nada.wav',
        ('Neutral_F_A_de_nada', 'female', 'neutral', 'es', 'female', 'de_nada'),
    ),
    (
        'nemo',
        'samples/WR0_surprised_64.wav',
        ('WR0_surprised_64', 'WR0', 'surprise', 'pl', 'male', '64'),
    ),
    (
        'ravdess',
        'Actor_12/03-01-06-01-02-01-12.wav',
        ('03-01-06-01-02-01-12', '12', 'fear', 'en', 'female', '02'),
    ),
    ('savee', 'AudioData/DC/a01.wav', ('DC_a01', 'DC', 'angry', 'en', 'male', 'a01')),
    ('savee', 'DC_su15.wav', ('DC_su15', 'DC', 'surprise', 'en', 'male', 'su15')),
    ('savee', 'KL/KL_n30.wav', ('KL_n30', 'KL', 'neutral', 'en', 'male', 'n30')),
    ('shemo', 'female/F01A01.wav', ('F01A01', 'F01', 'angry', 'fa', 'female', '')),
    ('shemo', 'male/M56F102.wav', ('M56F102', 'M56', 'fear', 'fa', 'male', '')),
    (
        'subesco',
        'F_01_OISHI_S_10_ANGRY_1.wav',
        ('F_01_OISHI_S_10_ANGRY_1', 'F_01', 'angry', 'bn', 'female', '10'),
    ),
    (
        'subesco',
        'F_02_MONIKA_S_2_SURPRISE_3].wav',
        ('F_02_MONIKA_S_2_SURPRISE_3]', 'F_02', 'surprise', 'bn', 'female', '2'),
    ),
    (
        'tess',
        'OAF_angry/OAF_back_angry.wav',
        ('OAF_back_angry', 'OAF', 'angry', 'en', 'female', 'back'),
    ),
    (
        'tess',
        'OAF_neutral/OA_bite_neutral.wav',
        ('OA_bite_neutral', 'OAF', 'neutral', 'en', 'female', 'bite'),
    ),
    (
        'tess',
        'YAF_pleasant_surprised/YAF_rot_ps.wav',
        ('YAF_rot_ps', 'YAF', 'surprise', 'en', 'female', 'rot'),
    ),
    (
        'turev_db',
        'Sound Source/Calm/6783_sk_ağaç.wav',
        ('6783_sk_ağaç', '6783', 'calm', 'tr', '', 'ağaç'),
    ),
    ('urdu', 'Sad/SF10_F4_S078.wav', ('SF10_F4_S078', 'SF10', 'sad', 'ur', 'female', '')),
]
# Files that are not of the corpus, although they look like it.
FOREIGN_FILES = [
    ('aesdd', 'n03 (3).wav'),
    ('aesdd', 'a21 (3).wav'),
    ('ased', 'a5-08-01-01-01.wav'),
    ('baved', '0/46-m-20-7-2-158.wav'),
    ('cafe', '13-C-1-1.wav'),
    ('nemo', 'EB0_calm_1.wav'),
    ('turev_db', '1157_xx_acik.wav'),
    ('casia', 'someone/angry/201.wav'),
    ('casia', '201.wav'),
    ('crema_d', '1001_DFA_XXX_XX.wav'),
    ('emovo', 'f1/dis-f4-b1.wav'),
    ('enterface', 's1_xx_1.avi'),
    ('esd', '0001/Neutral/0001_000000.wav'),
    ('esd', '0001/Neutral/0001_001751.wav'),
    ('esd', '0021/Neutral/0021_000001.wav'),
    ('jl', 'female3_angry_1a_1.wav'),
    ('mesd', 'Joy_C_A_abajo.wav'),
    ('savee', 'XX_a01.wav'),
    ('savee', 'VideoData/a01.wav'),
    ('shemo', 'F01X01.wav'),
    ('subesco', 'F_01_OISHI_S_10_CALM_1.wav'),
    ('tess', 'OAF_back_calm.wav'),
]
RELEASES = sorted(corpus_trees.RELEASES)
SYNTHETIC_OR_OWN = {'audformat', 'demo', 'emobox', 'folder', 'huggingface', 'testbed'}
LABELS_IN_LISTS = {'emns', 'iemocap', 'meld', 'msp_improv', 'msp_podcast'}


def test_every_corpus_has_an_example():
    assert {*RELEASES, *SYNTHETIC_OR_OWN} == {*corpora.corpus_names()}
    assert {name for name, *_ in NAMES} == {*RELEASES} - LABELS_IN_LISTS


@pytest.mark.parametrize(('name', 'path', 'expected'), NAMES)
def test_a_file_name_gives_speaker_emotion_language_sex_and_sentence(
    name, path, expected, tmp_path
):
    corpus_trees.write_file(tmp_path / path)
    (u,) = corpora.load_corpus(name).walk(tmp_path)
    assert (u.name, u.speaker, u.emotion, u.language, u.sex, u.sentence) == expected
    assert (u.path, u.corpus) == (tmp_path / path, name)
    assert u.style == ('natural' if name == 'urdu' else 'acted')
    assert (u.session, u.split) == ('', '')
    assert u.arousal == ({'high': 1, 'low': -1}[u.emotion] if name == 'baved' else None)


@pytest.mark.parametrize(('name', 'path'), FOREIGN_FILES)
def test_a_file_with_another_name_is_not_an_utterance(name, path, tmp_path):
    corpus_trees.write_file(tmp_path / path)
    with pytest.raises(UserError, match='Set --source'):
        corpora.load_corpus(name).walk(tmp_path)


@pytest.mark.parametrize('name', RELEASES)
def test_a_small_release_has_its_speakers_and_emotions(name, tmp_path):
    corpus = corpora.load_corpus(name)
    root = corpus_trees.write_release(tmp_path, name)
    utterances = corpus.walk(root)
    preparation.walk_corpus(corpus, root)  # refuses names that occur twice
    assert len(utterances) == len(corpus_trees.list_audio(name))
    assert len({u.speaker for u in utterances}) == len(corpus_trees.RELEASES[name].speakers)
    emotions = {'jl': {'angry', 'anxious'}, 'baved': {'low', 'high'}}
    assert {u.emotion for u in utterances} == emotions.get(name, {'angry', 'sad'})
    assert {u.language for u in utterances} <= {*corpus.languages}
    for utterance in utterances:
        assert utterance.path.exists()
        assert utterance.emotion in {*labels.EMOTIONS, *corpus_trees.OTHER_CLASSES.get(name, ())}
        assert utterance.sex in ('', 'female', 'male')


@pytest.mark.parametrize('name', sorted({*RELEASES} - {*corpus_trees.LIST_MAKERS}))
def test_the_source_may_be_a_folder_above_the_release_or_within_it(name, tmp_path):
    corpus = corpora.load_corpus(name)
    utterances = corpus.walk(corpus_trees.write_release(tmp_path / 'release', name))
    assert {u.name for u in corpus.walk(tmp_path)} == {u.name for u in utterances}
    folder = utterances[0].path.parent
    expected = {u.name for u in utterances if folder in u.path.parents}
    assert {u.name for u in corpus.walk(folder)} == expected


@pytest.mark.parametrize('name', RELEASES)
def test_a_wrong_folder_is_refused_with_what_was_expected(name, tmp_path):
    corpus_trees.write_file(tmp_path / 'music/song.wav')
    corpus = corpora.load_corpus(name)
    message = r'(?s)(No .*(\.wav|\.txt|\.csv)|is not a folder).*--source'
    with pytest.raises(UserError, match=message) as error:
        corpus.walk(tmp_path)
    assert str(tmp_path) in str(error.value)
    with pytest.raises(UserError, match='--source') as error:
        corpus.walk(tmp_path / 'nowhere')
    assert str(tmp_path / 'nowhere') in str(error.value)


@pytest.mark.parametrize('name', RELEASES)
def test_a_part_of_the_release_is_refused_by_its_counts(name, tmp_path):
    corpus = corpora.load_corpus(name)
    utterances = corpus.walk(corpus_trees.write_release(tmp_path, name))
    if not corpus.expected_counts:
        corpus.check_counts(utterances)  # its releases differ
        return
    with pytest.raises(UserError, match=rf' {len(utterances)} were found; .*--allow_partial'):
        corpus.check_counts(utterances)


# The codes of the official lists, if they are not the emotion words themselves.
CODES = {
    'angry': ['a', 'an', 'anger', 'ang', 'rab', '05angry'],
    'bored': ['boredem'],
    'disgust': ['d', 'di', 'dis'],
    'excited': ['exc'],
    'fear': ['f', 'fe', 'fea', 'fearful', 'pau', '02fearful'],
    'happy': ['h', 'ha', 'hap', 'happiness', 'gio', '03happy'],
    'high': ['2'],
    'low': ['0'],
    'neutral': ['n', 'neu', '01neutral'],
    'normal': ['1'],
    'sad': ['s', 'sa', 'sadness', 'tri', '04sad'],
    'surprise': ['su', 'surprised', 'ps', 'sor'],
}
WITHOUT_LIST = {'aesdd', 'cafe', 'emns', 'meld', 'msp_improv', 'msp_podcast'}
OFFICIAL_LISTS = sorted({*RELEASES} - WITHOUT_LIST)
# Corpora in which every speaker says every sentence in every emotion, equally often.
SENTENCES_PER_LANGUAGE = {'casia': 50, 'esd': 700, 'emovo': 14, 'tess': 200, 'subesco': 10}
# The numbers of women and men.
SEX_COUNTS = {
    'shemo': (31, 56),
    'subesco': (10, 10),
    'esd': (10, 10),
    'emovo': (3, 3),
    'jl': (2, 2),
}


def read_official_list(name: str) -> list[dict[str, str]]:
    """Returns the rows of the list of a corpus's files: path and label."""
    folder = os.environ.get('JAXSER_SHARED')
    if not folder:
        pytest.skip('the environment variable JAXSER_SHARED does not name a folder with layouts/')
    name = 'turev' if name == 'turev_db' else name
    with open(Path(folder) / 'layouts' / f'{name}.csv') as file:
        return list(csv.DictReader(file))


def write_official_release(root: Path, name: str, rows: list[dict[str, str]]) -> None:
    """Writes empty files with the names of the release, and the labels of IEMOCAP."""
    if name != 'iemocap':
        corpus_trees.write_empty_files(root, [row['path'] for row in rows])
        return
    turns_by_dialogue = collections.defaultdict(list)
    for row in rows:
        path = Path(row['path'])
        turns_by_dialogue[path.parent.name].append((path.stem, row['label']))
    for dialogue, turns in turns_by_dialogue.items():
        corpus_trees.write_iemocap_dialogue(root, dialogue, turns)


def official_emotions(rows: list[dict[str, str]]) -> dict[str, str]:
    """Returns the emotion word by path."""
    word_by_code = {}
    for word, codes in CODES.items():
        word_by_code.update(dict.fromkeys(codes, word))
    emotions = {}
    for row in rows:
        label = row['label'].lower()
        emotions[row['path']] = word_by_code.get(label, label)
    return emotions


@pytest.mark.parametrize('name', OFFICIAL_LISTS)
def test_the_official_list_has_the_expected_counts_and_speakers(name, tmp_path):
    rows = read_official_list(name)
    write_official_release(tmp_path, name, rows)
    corpus = corpora.load_corpus(name)
    utterances = corpus.walk(tmp_path)
    corpus.check_counts(utterances)
    assert len({u.name for u in utterances}) == len(utterances) == len(rows)
    assert len({u.speaker for u in utterances}) == corpus.speakers
    emotions = {u.path.relative_to(tmp_path).as_posix(): u.emotion for u in utterances}
    assert emotions == official_emotions(rows)
    if name in SEX_COUNTS:
        check_sex_counts(name, utterances)
    if name in SENTENCES_PER_LANGUAGE:
        check_sentences(corpus, utterances)
    if name == 'iemocap':
        check_iemocap(utterances)


def check_sex_counts(name: str, utterances: list[Utterance]) -> None:
    sexes = collections.Counter(sex for _, sex in {(u.speaker, u.sex) for u in utterances})
    assert (sexes['female'], sexes['male']) == SEX_COUNTS[name]
    assert set(sexes) == {'female', 'male'}


def check_sentences(corpus: Corpus, utterances: list[Utterance]) -> None:
    counts = collections.Counter((u.language, u.sentence, u.emotion) for u in utterances)
    assert len(set(counts.values())) == 1
    num_emotions = len(corpus.expected_counts[0])
    assert len(counts) == num_emotions * SENTENCES_PER_LANGUAGE[corpus.name]


def check_iemocap(utterances: list[Utterance]) -> None:
    sessions = collections.Counter(u.session for u in utterances)
    assert sessions == dict(Ses01=1085, Ses02=1023, Ses03=1151, Ses04=1031, Ses05=1241)
    for utterance in utterances:
        assert utterance.speaker == re.sub(r'(Ses\d\d).*_([FM])\d+', r'\1\2', utterance.name)


class ToneWriter:
    """Writes a tone whose pitch is the speaker's and whose tremolo is the emotion's."""

    RATE = 8_000

    def __init__(self, angry: str):
        self._angry = angry  # the corpus's code of the emotion with the slow tremolo
        self._rng = np.random.default_rng(0)

    def __call__(self, path: Path, speaker: str, emotion: str) -> None:
        time = np.arange(self.RATE // 2) / self.RATE
        tremolo_hertz = 3 if emotion == self._angry else 12
        hertz = 150 + sum(speaker.encode()) % 100
        wave = 0.2 * np.sin(2 * np.pi * hertz * time)
        wave *= 1 + np.sin(2 * np.pi * tremolo_hertz * time)
        # A random envelope, or else the audit would find that the utterances are copies.
        wave *= np.interp(time, np.linspace(0, 0.5, 20), self._rng.uniform(0, 1, 20))
        wave += 0.01 * self._rng.standard_normal(time.size)
        write = corpus_trees.write_film if path.suffix == '.avi' else soundfile.write
        write(path, wave, self.RATE)


@pytest.mark.slow
@pytest.mark.filterwarnings('default')  # TensorFlow and TFDS have deprecations of their own
@pytest.mark.parametrize('name', sorted({*RELEASES} - {'emns'}))  # its one speaker is no split
def test_a_small_release_of_every_corpus_can_be_prepared_and_trained(name, tmp_path):
    """An epoch of two steps on one fold. TESS has two speakers, too few for folds by speaker."""
    from jaxser.training import experiment

    angry, _ = corpus_trees.RELEASES[name].emotions
    corpus_trees.write_release(tmp_path / 'release', name, ToneWriter(angry))
    preparation.prepare_corpus(
        name, tmp_path / 'release', tmp_path / 'data', LogMel(), allow_partial=True, workers=1
    )
    config = tiny_config.get_config()
    config.update_from_flattened_dict(
        {
            'data.dir': str(tmp_path / 'data'),
            'data.corpora': (name,),
            'data.batch': 4,
            'protocol.name': 'speaker_dependent' if name == 'tess' else 'speaker_folds',
            'train.epochs': 1,
            'sweep.fold': (0,),
            'method': 'erm',  # one speaker is in the training data, so there is none to forget
            'sweep.lam': (),
        }
    )
    results = experiment.run_experiment(config, tmp_path / 'run')
    assert [run['status'] for run in results['runs']] == ['ok']
    assert 0 <= results['summary'][0]['uar'] <= 1
