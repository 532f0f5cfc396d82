"""What each release's names and lists of labels say, on trees made up in the documented form; and the table of what is known."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import corpus_trees

from data_pipelines import corpora, labels
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import preparation

KEYS = ['name', 'speaker', 'emotion', 'language', 'sex', 'sentence']
NAMES = [  # corpus, file, and what is to be read from it, in the order of KEYS
    ('casia', 'CASIA/ZhaoZuoxiang/angry/201.wav', 'zhaozuoxiang_angry_201 zhaozuoxiang angry zh  201'),
    ('casia', 'wangzhe/surprise/250.wav', 'wangzhe_surprise_250 wangzhe surprise zh  250'),
    ('crema_d', 'AudioWAV/1076_MTI_SAD_XX.wav', '1076_MTI_SAD_XX 1076 sad en  MTI'),
    ('crema_d', 'AudioWAV/1001_IEO_DIS_HI.wav', '1001_IEO_DIS_HI 1001 disgust en  IEO'),
    ('emodb', 'wav/16b10Lb.wav', '16b10Lb 16 bored de female b10'),
    ('emovo', 'm3/sor-m3-n5.wav', 'sor-m3-n5 m3 surprise it male n5'),
    ('emovo', 'f1/gio-f1-b1.wav', 'gio-f1-b1 f1 happy it female b1'),
    ('enterface', 'subject 1/anger/sentence 1/s1_an_1.avi', 's1_an_1 1 angry en  an_1'),
    ('enterface', 'subject 3/fear/sentence 5/s_3_fe_5.avi', 's_3_fe_5 3 fear en  fe_5'),
    ('enterface', 'subject 16/surprise/sentence 3/s16_su_3avi.avi', 's16_su_3avi 16 surprise en  su_3'),
    ('enterface', 'subject 6/happiness/s6_ha.avi', 's6_ha 6 happy en  '),
    ('enterface', 'subject 6/happiness/s6_ha_2.wav', 's6_ha_2 6 happy en  ha_2'),
    ('enterface', 'subject 11/disgust/sentence 1/s12_di_1.AVI', 's12_di_1 12 disgust en  di_1'),
    ('esd', '0001/Neutral/0001_000350.wav', '0001_000350 0001 neutral zh female zh_350'),
    ('esd', '0010/Angry/0010_000351.wav', '0010_000351 0010 angry zh male zh_001'),
    ('esd', '0011/Sad/0011_001400.wav', '0011_001400 0011 sad en male en_350'),
    ('esd', '0019/Surprise/0019_001401.wav', '0019_001401 0019 surprise en female en_001'),
    ('jl', 'JL(wav+txt)/female1_angry_10a_1.wav', 'female1_angry_10a_1 female1 angry en female 10'),
    ('jl', 'JL(wav+txt)/male2_apologetic_5b_2.wav', 'male2_apologetic_5b_2 male2 apologetic en male apologetic_5'),
    ('mesd', 'MESD/Anger_C_A_abajo.wav', 'Anger_C_A_abajo child angry es  abajo'),
    ('mesd', 'MESD/Neutral_F_A_de_nada.wav', 'Neutral_F_A_de_nada female neutral es female de_nada'),
    ('ravdess', 'Actor_12/03-01-06-01-02-01-12.wav', '03-01-06-01-02-01-12 12 fear en female 02'),
    ('savee', 'AudioData/DC/a01.wav', 'DC_a01 DC angry en male a01'),
    ('savee', 'DC_su15.wav', 'DC_su15 DC surprise en male su15'),
    ('savee', 'KL/KL_n30.wav', 'KL_n30 KL neutral en male n30'),
    ('shemo', 'female/F01A01.wav', 'F01A01 F01 angry fa female '),
    ('shemo', 'male/M56F102.wav', 'M56F102 M56 fear fa male '),
    ('subesco', 'F_01_OISHI_S_10_ANGRY_1.wav', 'F_01_OISHI_S_10_ANGRY_1 F_01 angry bn female 10'),
    ('subesco', 'F_02_MONIKA_S_2_SURPRISE_3].wav', 'F_02_MONIKA_S_2_SURPRISE_3] F_02 surprise bn female 2'),
    ('tess', 'OAF_angry/OAF_back_angry.wav', 'OAF_back_angry OAF angry en female back'),
    ('tess', 'OAF_neutral/OA_bite_neutral.wav', 'OA_bite_neutral OAF neutral en female bite'),
    ('tess', 'YAF_pleasant_surprised/YAF_rot_ps.wav', 'YAF_rot_ps YAF surprise en female rot'),
    ('urdu', 'Sad/SF10_F4_S078.wav', 'SF10_F4_S078 SF10 sad ur female '),
]  # fmt: skip
FOREIGN = [  # files that are not the corpus's, though they look like it
    ('casia', 'someone/angry/201.wav'), ('casia', '201.wav'), ('crema_d', '1001_DFA_XXX_XX.wav'), ('emovo', 'f1/dis-f4-b1.wav'),
    ('enterface', 's1_xx_1.avi'), ('esd', '0001/Neutral/0001_000000.wav'), ('esd', '0001/Neutral/0001_001751.wav'),
    ('esd', '0021/Neutral/0021_000001.wav'), ('jl', 'female3_angry_1a_1.wav'), ('mesd', 'Joy_C_A_abajo.wav'),
    ('savee', 'XX_a01.wav'), ('savee', 'VideoData/a01.wav'), ('shemo', 'F01X01.wav'), ('subesco', 'F_01_OISHI_S_10_CALM_1.wav'),
    ('tess', 'OAF_back_calm.wav'),
]  # fmt: skip
TREES = sorted(corpus_trees.FORMS)


def put(root: Path, path: str, text: str = '') -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    return root


def edit(path: Path, old: str, new: str) -> None:
    """Replaces the first `old` by `new`."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_every_corpus_has_an_example():
    assert {*TREES, 'demo', 'folder', 'testbed'} == {*corpora.corpus_names()}
    assert {name for name, *_ in NAMES} == {*TREES} - {
        'iemocap',
        'msp_improv',
        'msp_podcast',
    }  # whose labels are in lists


@pytest.mark.parametrize(('name', 'path', 'said'), NAMES)
def test_a_name_says_who_speaks_what_and_how(name, path, said, tmp_path):
    (u,) = corpora.load_corpus(name).walk(put(tmp_path, path))
    assert [getattr(u, key) for key in KEYS] == said.split(' ')
    assert (u.path, u.corpus) == (tmp_path / path, name)
    assert u.style == ('natural' if name == 'urdu' else 'acted')
    assert (u.session, u.split, u.arousal) == ('', '', None)


@pytest.mark.parametrize(('name', 'path'), FOREIGN)
def test_a_name_of_another_form_is_no_utterance(name, path, tmp_path):
    with pytest.raises(UserError, match='Set --source'):
        corpora.load_corpus(name).walk(put(tmp_path, path))


@pytest.mark.parametrize('name', TREES)
def test_a_small_tree_has_its_speakers_and_emotions_from_above_and_within(name, tmp_path):
    """Wherever in the tree, or above it, a person points, as long as the lists of labels are where they belong."""
    corpus, root = corpora.load_corpus(name), corpus_trees.lay(tmp_path / 'release', name)
    found = corpus.walk(root)
    preparation.walk_corpus(corpus, root)  # refuses names that occur twice
    assert len(found) == len(corpus_trees.audio(name))
    assert len({u.speaker for u in found}) == len(corpus_trees.FORMS[name][0])
    assert {u.emotion for u in found} == {'angry', 'anxious' if name == 'jl' else 'sad'}
    assert {u.language for u in found} <= {*corpus.languages}
    assert all(
        u.path.exists() and u.emotion in labels.EMOTIONS and u.sex in ('', 'female', 'male')
        for u in found
    )
    if not corpus_trees.lists(name):
        assert {u.name for u in corpus.walk(tmp_path)} == {u.name for u in found}
        within = found[0].path.parent
        assert {u.name for u in corpus.walk(within)} == {
            u.name for u in found if within in u.path.parents
        }


@pytest.mark.parametrize('name', TREES)
def test_a_wrong_directory_is_refused_with_what_was_looked_for(name, tmp_path):
    corpus = corpora.load_corpus(name)
    for root in (put(tmp_path, 'music/song.wav'), tmp_path / 'nowhere'):
        with pytest.raises(UserError, match=r'(?s)(No |is not a folder).*--source') as refusal:
            corpus.walk(root)
        assert str(root) in str(refusal.value)


@pytest.mark.parametrize('name', TREES)
def test_a_part_of_the_release_is_refused_by_its_counts(name, tmp_path):
    corpus = corpora.load_corpus(name)
    found = corpus.walk(corpus_trees.lay(tmp_path, name))
    if not corpus.expected_counts:
        corpus.check_counts(found)  # its releases differ
        return
    with pytest.raises(UserError, match=rf' {len(found)} were found; .*--allow_partial'):
        corpus.check_counts(found)


def test_savee_has_the_same_names_in_both_layouts(tmp_path):
    savee = corpora.load_corpus('savee')
    (flat,), (deep,) = (
        savee.walk(put(tmp_path / p[:2], p)) for p in ('JK_sa09.wav', 'AudioData/JK/sa09.wav')
    )
    assert dataclasses.replace(flat, path=deep.path) == deep


@pytest.mark.parametrize(
    ('folder', 'split'),
    [('train', 'train'), ('evaluation', 'dev'), ('test', 'test'), ('Angry', '')],
)
def test_esd_folders_of_some_copies_are_the_split(folder, split, tmp_path):
    (u,) = corpora.load_corpus('esd').walk(put(tmp_path, f'0001/Angry/{folder}/0001_000351.wav'))
    assert (u.split, u.emotion) == (split, 'angry')


def test_crema_d_sex_is_that_of_the_release_where_it_says_so(tmp_path):
    crema_d = corpora.load_corpus('crema_d')
    sex = lambda: {u.speaker: u.sex for u in crema_d.walk(tmp_path)}  # noqa: E731
    corpus_trees.lay(tmp_path, 'crema_d')
    assert sex() == {'1001': 'male', '1002': 'female', '1003': ''}
    edit(tmp_path / 'VideoDemographics.csv', 'ActorID', 'Actor')
    with pytest.raises(UserError, match=r'VideoDemographics\.csv has no column ActorID'):
        sex()
    (tmp_path / 'VideoDemographics.csv').unlink()
    assert {*sex().values()} == {''}


def test_iemocap_ratings_are_valence_activation_dominance_from_1_to_5(tmp_path):
    corpus_trees.lay(tmp_path, 'iemocap')
    file = tmp_path / 'Session1/dialog/EmoEvaluation/Ses01F_impro01.txt'
    edit(file, '[2.5000, 4.0000, 3.0000]', '[1.0000, 5.5000, 4.5000]')
    edit(file, '[2.5000, 4.0000, 3.0000]', '[5.0000, 1.0000, 0.5000]')
    found = corpora.load_corpus('iemocap').walk(tmp_path)
    assert [(u.valence, u.arousal, u.dominance) for u in found[:3]] == [
        (-1, None, 0.75),
        (1, -1, None),
        (-0.25, 0.5, 0),
    ]
    edit(file, '[1.0000, 5.5000, 4.5000]', '[1.0000, x, 4.5000]')
    with pytest.raises(
        UserError,
        match=r'Ses01F_impro01\.txt, line 3, rates Ses01F_impro01_F000 as \[1\.0000, x, 4\.5000\]',
    ):
        corpora.load_corpus('iemocap').walk(tmp_path)
    edit(file, '[1.0000, x, 4.5000]', '[1.0000, 4.5000]')
    with pytest.raises(UserError, match='expected three numbers'):
        corpora.load_corpus('iemocap').walk(tmp_path)


def podcast(root: Path, *rows: str) -> list:
    put(root, 'Audios/MSP-PODCAST_0001_0008.wav')
    header = 'FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set'
    return corpora.load_corpus('msp_podcast').walk(
        put(root, 'Labels/labels_consensus.csv', '\n'.join([header, *rows, '']))
    )


def test_msp_podcast_reads_its_list(tmp_path):
    a, b, c = podcast(
        tmp_path,
        'MSP-PODCAST_0001_0008.wav,C,7,4.0,1,30,Male,Train',
        'MSP-PODCAST_0001_0009.wav,X,2.5,5.5,4,Unknown,Unknown,Test1',
        'MSP-PODCAST_0001_0010.wav,,,,,Unknown,,Test3',
    )
    assert (a.name, a.speaker, a.emotion, a.sex, a.split) == (
        'MSP-PODCAST_0001_0008',
        '30',
        'contempt',
        'male',
        'train',
    )
    assert (a.arousal, a.valence, a.dominance) == (1, 0, -1)
    assert (a.path, a.language, a.style) == (
        tmp_path / 'Audios/MSP-PODCAST_0001_0008.wav',
        'en',
        'natural',
    )
    assert (b.speaker, b.emotion, b.sex, b.split, b.arousal, b.valence) == (
        '',
        'undecided',
        '',
        'test',
        -0.5,
        0.5,
    )
    assert (c.emotion, c.split, c.arousal, c.valence, c.dominance) == (
        'undecided',
        'test3',
        None,
        None,
        None,
    )
    assert not b.path.exists()  # listed all the same, and rejected as missing


def test_msp_podcast_knows_all_letters_and_partitions(tmp_path):
    words = (
        'angry',
        'sad',
        'happy',
        'surprise',
        'fear',
        'disgust',
        'contempt',
        'neutral',
        'other',
        'undecided',
    )
    found = podcast(
        tmp_path, *(f'{letter}.wav,{letter},4,4,4,1,Female,Test2' for letter in 'ASHUFDCNOX')
    )
    assert [u.emotion for u in found] == [*words]
    found = podcast(
        tmp_path,
        *(f'{n}.wav,A,4,4,4,1,Female,{n}' for n in ('Train', 'Development', 'Validation', 'Test2')),
    )
    assert [u.split for u in found] == ['train', 'dev', 'dev', 'test2']


@pytest.mark.parametrize(
    ('row', 'said'),
    [
        (
            'a.wav,Q,4,4,4,1,Male,Train',
            r'labels_consensus\.csv, line 3, labels a\.wav as Q of Train; expected one of A, S',
        ),
        (
            'a.wav,A,4,4,4,1,Male,Test9',
            r'line 3, labels a\.wav as A of Test9; .*Train, Development',
        ),
        ('a.wav,A,4,4,4', r'line 3, labels a\.wav as A of None'),
        ('a.wav,A,4,high,4,1,Male,Train', r"line 3, rates a\.wav .*'high'"),
    ],
)
def test_msp_podcast_refuses_a_line_that_it_cannot_read(row, said, tmp_path):
    with pytest.raises(UserError, match=said):
        podcast(tmp_path, 'b.wav,A,4,4,4,1,Male,Train', row)


def test_msp_podcast_without_its_list_or_its_audio_is_refused(tmp_path):
    walk = corpora.load_corpus('msp_podcast').walk
    with pytest.raises(
        UserError, match=r'No Labels/labels_consensus\.csv, or no Audios/, in .*--source'
    ):
        walk(put(tmp_path, 'Audios/MSP-PODCAST_0001_0008.wav'))
    with pytest.raises(UserError, match=r'labels_consensus\.csv has no column EmoClass, EmoAct'):
        walk(put(tmp_path, 'Labels/labels_consensus.csv', 'FileName,SpkrID,Gender,Split_Set\n'))
    podcast(tmp_path)
    with pytest.raises(UserError, match='No utterance of MSP-Podcast was found in'):
        preparation.walk_corpus(corpora.load_corpus('msp_podcast'), tmp_path)


def improv(root: Path, *lines: str, name: str = 'Evalution.txt') -> list:
    put(root, 'Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav')
    return corpora.load_corpus('msp_improv').walk(put(root, name, '\n'.join(lines)))


@pytest.mark.parametrize('name', ['Evalution.txt', 'Evaluation.txt'])
def test_msp_improv_reads_its_list_and_passes_over_the_votes(name, tmp_path):
    a, b, c, d = improv(
        tmp_path,
        'UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.800000; V:4.000000; D:1.000000 ; N:4.200000;',
        'ann-1; Neutral; Neutral; A:3.000000; V:4.000000; D:1.000000; N:4.000000;',
        '',
        'UTD-IMPROV-S20H-M06-R-MM02.avi; H; A:2.8; V:3; D:NaN ; N:NaN;',
        'UTD-IMPROV-S03S-F02-T-MF12.avi; X; A:2.8; V:1.5; D:5.0;',
        'UTD-IMPROV-S03S-F02-S-MF13.avi; O; A:2.8; V:1.5; D:5.0;',
        name=name,
    )
    assert (a.name, a.speaker, a.sex, a.session, a.emotion) == (
        'MSP-IMPROV-S01A-F01-P-FM01',
        'F01',
        'female',
        '01',
        'neutral',
    )
    assert (a.style, a.sentence, a.valence, a.dominance, a.arousal) == (
        'natural',
        '',
        0.5,
        -1,
        None,
    )
    assert (b.speaker, b.sex, b.session, b.style, b.sentence) == (
        'M06',
        'male',
        '06',
        'scripted',
        '20',
    )
    assert (b.valence, b.dominance) == (0, None)
    assert (c.style, c.sentence, c.emotion) == ('improvised', '03', 'undecided')
    assert (d.style, d.sentence, d.emotion) == ('improvised', '', 'other')
    assert a.path.exists()
    assert (
        b.path == tmp_path / 'Audio/session6/S20H/R/MSP-IMPROV-S20H-M06-R-MM02.wav'
    )  # missing, and where it should be


@pytest.mark.parametrize(
    'line',
    [
        'UTD-IMPROV-S01A-F01-P-FM01.avi; J; A:2.8; V:3.2; D:3.0;',
        'UTD-IMPROV-S01A-X01-P-FM01.avi; N; A:2.8; V:3.2; D:3.0;',
        'UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.8; V:low; D:3.0;',
        'UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.8',
    ],
)
def test_msp_improv_refuses_a_line_that_it_cannot_read(line, tmp_path):
    with pytest.raises(
        UserError,
        match=r'Evalution\.txt, line 2, is .*; expected a line like UTD-IMPROV-.*one of A, H, N, S, O, X',
    ):
        improv(tmp_path, '', line)


def test_msp_improv_without_its_list_or_its_audio_is_refused(tmp_path):
    walk = corpora.load_corpus('msp_improv').walk
    with pytest.raises(UserError, match=r'No Evalution\.txt in .*--source'):
        walk(tmp_path)
    with pytest.raises(UserError, match='No file like Audio/session1'):
        walk(put(tmp_path, 'Evalution.txt'))


def test_a_rating_is_put_between_minus_one_and_one():
    assert [corpora.scale_rating(text, 1, 5) for text in ('1', '3.0', '5', '2')] == [-1, 0, 1, -0.5]
    assert [corpora.scale_rating(text, 1, 7) for text in ('', 'NaN', '0.9', '7.1')] == [None] * 4
    with pytest.raises(ValueError, match='often'):
        corpora.scale_rating('often', 1, 5)


def table(*arguments: str, columns: int = 80) -> str:
    command = [sys.executable, '-m', 'data_pipelines.corpora', *arguments]
    environment = {
        'COLUMNS': str(columns),
        'PATH': '',
        'PYTHONIOENCODING': 'utf-8',
        'PYTHONPATH': str(Path(__file__).parents[3]),
    }
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, encoding='utf-8'
    ).stdout


def test_the_table_of_corpora_fits_80_columns_and_breaks_no_address(tmp_path):
    for path in (
        'emodb/logmel64-0123abcd/1.0.0/prepared.json',
        'tess/logmel40-0123abcd.npz',
        'esd/logmel64-0/1.0.0/other.json',
    ):
        put(tmp_path, path)
    put(tmp_path, 'emodb/logmel64-0123abcd.npz')
    text = table('--dir', str(tmp_path))
    rows = {
        cells[1].strip(): [c.strip() for c in cells[2:-1]]
        for line in text.splitlines()
        if (cells := line.split('│'))[1:]
    }
    assert [*rows] == corpora.corpus_names()
    assert all(len(line) <= 80 for line in text.splitlines() if '│' in line)
    assert rows['emodb'] == ['de', '10', '535', '7', 'shards, .npz']
    assert rows['iemocap'] == ['en', '10', '10,039', '9', '']
    assert rows['esd'] == ['zh en', '20', '35,000', '5', '']
    assert rows['tess'][-1] == '.npz'
    assert rows['msp_podcast'] == ['en', '', '', '', '']
    for name in corpora.corpus_names():
        corpus = corpora.load_corpus(name)
        assert f'{corpus.name:12} {corpus.homepage}\n' in text
        assert corpus.licence in text


def test_the_table_of_corpora_imports_nothing_slow():
    script = (
        'import runpy, sys; sys.argv = ["corpora"]; runpy.run_module("data_pipelines.corpora", run_name="__main__")\n'
        'assert not {"tensorflow", "librosa", "jax", "matplotlib"} & {*sys.modules}'
    )
    subprocess.run(
        [sys.executable, '-c', script],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[3],
    )


@pytest.mark.slow
@pytest.mark.filterwarnings('default')  # TensorFlow and TFDS have deprecations of their own
@pytest.mark.parametrize('name', TREES)
def test_a_stand_in_of_every_corpus_prepares_and_trains(name, tmp_path):
    """Tones in a small tree, an epoch of two steps on one fold; TESS's two speakers allow no folds by speaker."""
    import numpy as np
    import soundfile
    from helpers import tiny_config

    from jaxser.training import experiment

    protocol = 'speaker_dependent' if name == 'tess' else 'speaker_folds'
    random, time = np.random.default_rng(0), np.arange(4_000) / 8_000

    def tone(path: Path, speaker: str, emotion: str) -> None:
        tremolo = 1 + np.sin(
            2 * np.pi * (3 if emotion == corpus_trees.FORMS[name][1][0] else 12) * time
        )
        wave = 0.2 * np.sin(2 * np.pi * (150 + sum(speaker.encode()) % 100) * time) * tremolo
        wave *= np.interp(
            time, np.linspace(0, 0.5, 20), random.uniform(0, 1, 20)
        )  # else the audit takes them for copies
        wave += 0.01 * random.standard_normal(time.size)
        (corpus_trees.film if path.suffix == '.avi' else soundfile.write)(path, wave, 8_000)

    corpus_trees.lay(tmp_path / 'release', name, tone)
    preparation.prepare_corpus(
        name, tmp_path / 'release', tmp_path / 'data', LogMel(), allow_partial=True, workers=1
    )
    config = tiny_config.get_config()
    config.update_from_flattened_dict(
        {'data.dir': str(tmp_path / 'data'), 'data.corpora': (name,), 'data.batch': 4}
    )
    config.update_from_flattened_dict(
        {'protocol.name': protocol, 'train.epochs': 1, 'sweep.fold': (0,)}
    )
    config.update_from_flattened_dict(
        {'method': 'erm', 'sweep.lam': ()}
    )  # one speaker trains: nobody to forget
    results = experiment.run_experiment(config, tmp_path / 'run')
    assert [r['status'] for r in results['runs']] == ['ok']
    assert 0 <= results['summary'][0]['uar'] <= 1
