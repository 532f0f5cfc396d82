"""Benchmark tasks: each is a valid configuration, and gives the official split of its corpora."""

import csv
import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.audio import RATE, make_tone
from helpers.corpus_trees import make_ravdess_paths, write_empty_files

from configs.task import get_config
from data_pipelines import corpora, tasks
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.labels import LABEL_SPACES
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.split import make_split
from data_pipelines.storage.dataset import find_prepared_data
from data_pipelines.storage.preparation import prepare_corpus
from data_pipelines.tasks import BenchmarkTask, _splitting
from jaxser.configuration.resolve import resolve_config

NAMES = tasks.task_names()
# Of CREMA-D, by the release's VideoDemographics.csv; the other actors are women.
CREMA_D_MEN = (
    1001, 1005, 1011, 1014, 1015, 1016, 1017, 1019, 1022, 1023, 1026, 1027, 1031, 1032, 1033,
    1034, 1035, 1036, 1038, 1039, 1040, 1041, 1042, 1044, 1045, 1048, 1050, 1051, 1057, 1059,
    1062, 1064, 1065, 1066, 1067, 1068, 1069, 1070, 1071, 1077, 1080, 1081, 1083, 1085, 1086,
    1087, 1088, 1090,
)  # fmt: skip
ESD_EMOTIONS = ('Neutral', 'Angry', 'Happy', 'Sad', 'Surprise')
CASIA_SPEAKERS = ('liuchanhg', 'wangzhe', 'zhaoquanyin', 'zhaozuoxiang')
CASIA_EMOTIONS = ('angry', 'fear', 'happy', 'neutral', 'sad', 'surprise')


def write_ravdess(root: Path) -> Path:
    return write_empty_files(root, make_ravdess_paths())


def write_esd(root: Path) -> Path:
    paths = []
    for speaker in range(1, 21):
        for number in range(1, 1751):
            emotion = ESD_EMOTIONS[(number - 1) // 350]
            paths.append(f'{speaker:04}/{emotion}/{speaker:04}_{number:06}.wav')
    return write_empty_files(root, paths)


def write_casia(root: Path) -> Path:
    paths = []
    for speaker in CASIA_SPEAKERS:
        for emotion in CASIA_EMOTIONS:
            paths += [f'{speaker}/{emotion}/{number}.wav' for number in range(201, 251)]
    return write_empty_files(root, paths)


def write_crema_d_demographics(root: Path) -> None:
    lines = ['ActorID,Age,Sex,Race,Ethnicity']
    for actor in range(1001, 1092):
        lines.append(f'{actor},,{"Male" if actor in CREMA_D_MEN else "Female"},,')
    (root / 'VideoDemographics.csv').write_text('\n'.join(lines))


def task_and_split(name: str, sources: dict[str, Path]):
    """Returns the task of a name, and its split from the files in some folders."""
    task = tasks.load_task(name)
    return task, _splitting.make_task_split(get_config(name), task, sources).split


def assert_official(task: BenchmarkTask, split) -> None:
    """Asserts that a split is the task's official one."""
    assert _splitting.find_differences(task, split) == []
    assert split.sha256 == task.split_sha256


@pytest.mark.parametrize('name', NAMES)
def test_a_task_is_a_valid_configuration_without_withheld_utterances(name):
    """Its counts have the classes of its label space, and its hash is a SHA-256 or unknown."""
    task = tasks.load_task(name)
    config = get_config(name)
    assert task.name == name
    assert name.startswith(task.corpora[0].split('_')[0])
    assert config.method == 'erm'
    protocol = Protocol(**config.protocol)
    assert protocol.withhold == 0
    assert (*protocol.source, *protocol.target) in ((), task.corpora)
    assert config.data.corpora == task.corpora
    for key, value in task.changes.items():
        section, _, name_of_key = key.partition('.')
        assert config[section][name_of_key] == value
    assert task.measure in tasks.MEASURE_TITLES
    assert (task.measure == 'ccc') == bool(task.ratings) == (task.task == 'ratings')
    assert (config.task, config.data.ratings[: len(task.ratings)]) == (task.task, task.ratings)
    if task.split_sha256 is not None:
        assert re.fullmatch('[0-9a-f]{64}', task.split_sha256)
    for corpus in task.corpora:
        corpora.load_corpus(corpus)
    if task.counts is not None:
        assert tuple(task.counts) == task.corpora
        classes = set().union(*task.counts.values())
        assert classes <= set(LABEL_SPACES[config.data.labels].values())
        assert all(set(counts) == classes for counts in task.counts.values())


def test_no_two_tasks_have_the_same_split():
    hashes = [tasks.load_task(name).split_sha256 for name in NAMES]
    known = [sha256 for sha256 in hashes if sha256]
    assert len(set(known)) == len(known)


def test_an_unknown_task_is_refused_with_similar_names():
    with pytest.raises(UserError, match=r"no task 'emodb_for'; .* Did you mean 'emodb_four'\?"):
        tasks.load_task('emodb_for')
    with pytest.raises(UserError, match='that begin with emodb are emodb_casia, '):
        tasks.load_task('emodb4')
    with pytest.raises(UserError, match='expected one of casia_emodb'):
        tasks.load_task('x')
    with pytest.raises(ValueError, match='There is no task'):
        get_config('emodb_for')


def test_ravdess_has_the_official_splits_and_relative_paths(tmp_path):
    """By speaker, each utterance is tested once; by speaker and sentence, half of them are."""
    source = write_ravdess(tmp_path / 'ravdess')
    task = tasks.load_task('ravdess_speaker')
    task_split = _splitting.make_task_split(get_config(task.name), task, {'ravdess': source})
    assert_official(task, task_split.split)
    assert task_split.audio_paths[0] == 'Actor_01/03-01-01-01-01-01-01.wav'
    assert sum(len(fold.test) for fold in task_split.split.folds) == 1440
    task, split = task_and_split('ravdess_speaker_sentence', {'ravdess': source})
    assert_official(task, split)
    tested = np.concatenate([fold.test for fold in split.folds])
    assert len(np.unique(tested)) == len(tested) == 720
    assert len(set(split.utterances.text['speaker'][tested])) == 24
    for fold in split.folds:
        sentences = split.utterances.text['sentence']
        assert set(sentences[fold.train]) == set(sentences[fold.dev]) != set(sentences[fold.test])


@pytest.mark.slow
def test_esd_has_the_official_split_of_each_language(tmp_path):
    source = write_esd(tmp_path)
    for name in ('esd_english', 'esd_mandarin'):
        assert_official(*task_and_split(name, {'esd': source}))


def write_enterface(root: Path, sixth: str) -> Path:
    """Writes some subjects of eNTERFACE'05; releases differ in the files of subject 6."""
    paths = []
    for emotion in ('an', 'di', 'fe', 'ha', 'sa', 'su'):
        for sentence in range(1, 6):
            for subject in (1, 2, 3, 5, 7, *([6] if 'sentences' in sixth else ())):
                paths.append(f'subject {subject}/{emotion}/s{subject}_{emotion}_{sentence}.avi')
        if 'films' in sixth:
            paths.append(f'subject 6/{emotion}/s6_{emotion}.avi')
    return write_empty_files(root, paths)


@pytest.mark.parametrize('name', ['enterface_casia', 'casia_enterface'])
def test_all_releases_of_enterface_give_the_same_split(name, tmp_path):
    """Subject 6 is left out, who has minute-long films, single sentences or both."""
    casia = write_casia(tmp_path / 'casia')
    hashes = set()
    for sixth in ('films', 'sentences', 'films and sentences'):
        enterface = write_enterface(tmp_path / sixth, sixth)
        _, split = task_and_split(name, {'casia': casia, 'enterface': enterface})
        assert 'enterface/6' not in split.utterances.text['speaker']
        hashes.add(split.sha256)
    assert len(hashes) == 1


def write_crema_d(root: Path) -> Path:
    """Writes six actors of CREMA-D with sound, of which the silent file of the release has none."""
    (root / 'AudioWAV').mkdir(parents=True)
    for number, actor in enumerate((1001, 1002, 1003, 1004, 1005, 1076)):
        for sentence in ('DFA', 'MTI'):
            for emotion in ('ANG', 'SAD'):
                name = f'{actor}_{sentence}_{emotion}_XX'
                wave = make_tone(0.3, hertz=200 + 20 * number)
                if name == '1076_MTI_SAD_XX':
                    wave[:] = 0
                soundfile.write(root / 'AudioWAV' / f'{name}.wav', wave, RATE)
    return root


def prepared_split(name: str, data_dir: Path):
    """Returns the split that a sweep on prepared data makes of a task."""
    config = get_config(name)
    config.data.dir = str(data_dir)
    config = resolve_config(config)
    return make_split(config, find_prepared_data(config.data))


def test_a_sweep_on_prepared_data_has_the_split_that_is_made_of_the_files(tmp_path):
    """Without the silent file, which `prepare` rejects and the task excludes."""
    source = write_crema_d(tmp_path / 'crema_d')
    prepare_corpus('crema_d', source, tmp_path / 'data', LogMel(), allow_partial=True, workers=1)
    _, split = task_and_split('crema_d_speaker', {'crema_d': source})
    prepared = prepared_split('crema_d_speaker', tmp_path / 'data')
    assert len(split.utterances) == 23
    assert prepared.sha256 == split.sha256
    task = dataclasses.replace(tasks.load_task('crema_d_speaker'), excluded=())
    task_split = _splitting.make_task_split(get_config(task.name), task, {'crema_d': source})
    assert task_split.split.sha256 != prepared.sha256


def test_files_that_a_list_names_and_that_are_missing_are_counted(tmp_path, capsys):
    """As `prepare` rejects them, they are not in the split."""
    source = write_ravdess(tmp_path)
    missing = source / 'Actor_03/03-01-05-01-02-01-03.wav'
    missing.unlink()
    missing.symlink_to('nowhere.wav')
    task, split = task_and_split('ravdess_speaker', {'ravdess': source})
    assert '1 file missing that the lists of the corpus name' in capsys.readouterr().out
    assert _splitting.find_differences(task, split) == [
        'ravdess, angry: expected 192 utterances, found 191'
    ]


def test_a_split_with_the_right_counts_and_other_speakers_is_not_the_official_one(tmp_path):
    source = write_ravdess(tmp_path)
    paths = [source / f'Actor_03/03-01-05-01-02-01-{actor}.wav' for actor in ('03', '04')]
    paths[0].rename(source / 'Actor_03/03-01-05-01-02-03-03.wav')
    task, split = task_and_split('ravdess_speaker', {'ravdess': source})
    (difference,) = _splitting.find_differences(task, split)
    assert 'numbers of utterances are right' in difference
    assert task.split_sha256 in difference


def test_a_sex_that_is_not_known_changes_the_split_of_crema_d(tmp_path):
    """The speakers are dealt to the parts by sex: the release's list must be there."""
    source = write_crema_d(tmp_path)
    hashes = {task_and_split('crema_d_speaker', {'crema_d': source})[1].sha256}
    write_crema_d_demographics(source)
    hashes.add(task_and_split('crema_d_speaker', {'crema_d': source})[1].sha256)
    assert len(hashes) == 2


def shared_folder(kind: str) -> Path:
    """Returns a folder of $JAXSER_SHARED; skips the test if there is none."""
    folder = Path(os.environ.get('JAXSER_SHARED', '')) / kind
    if not os.environ.get('JAXSER_SHARED') or not folder.is_dir():
        pytest.skip(f'JAXSER_SHARED has no {kind}')
    return folder


NAMES_WITH_HASH = [name for name in NAMES if tasks.load_task(name).split_sha256]


@pytest.mark.parametrize('name', [name for name in NAMES_WITH_HASH if not name.startswith('esd')])
def test_the_official_lists_of_files_give_the_official_split(name, once):
    """Of $JAXSER_SHARED/layouts, which has the paths of the releases."""
    layouts = shared_folder('layouts')

    def write_corpus(root: Path) -> None:
        with open(layouts / f'{root.name}.csv') as file:
            write_empty_files(root, [row['path'] for row in csv.DictReader(file)])
        if root.name == 'crema_d':
            write_crema_d_demographics(root)

    corpora_of_task = tasks.load_task(name).corpora
    assert_official(
        *task_and_split(name, {corpus: once(corpus, write_corpus) for corpus in corpora_of_task})
    )


REAL_CORPORA = {'emodb', 'ravdess', 'urdu'}
REAL_NAMES = [
    name
    for name in NAMES_WITH_HASH
    if set(tasks.load_task(name).corpora) <= REAL_CORPORA and name != 'emodb_seven'
]


@pytest.mark.parametrize('name', REAL_NAMES)
def test_real_files_give_the_official_split(name):
    """Of $JAXSER_SHARED/corpora, which has the four classes of EMO-DB."""
    folder = shared_folder('corpora')
    corpora_of_task = tasks.load_task(name).corpora
    assert_official(*task_and_split(name, {corpus: folder / corpus for corpus in corpora_of_task}))


@pytest.mark.slow
def test_sweeps_on_real_prepared_data_have_the_official_splits(tmp_path):
    """Nothing of EMO-DB and RAVDESS is rejected, and the order is that of the files."""
    folder = shared_folder('corpora')
    for corpus in ('emodb', 'ravdess'):
        prepare_corpus(corpus, folder / corpus, tmp_path, LogMel(), allow_partial=True)
    for name in REAL_NAMES:
        task = tasks.load_task(name)
        if 'urdu' not in task.corpora:
            assert prepared_split(name, tmp_path).sha256 == task.split_sha256
