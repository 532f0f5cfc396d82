"""The command python -m data_pipelines.tasks: what it lists, explains, writes and refuses."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.corpus_trees import make_ravdess_paths, write_empty_files

from data_pipelines import tasks
from data_pipelines.errors import UserError
from data_pipelines.protocols.split_file import read_split_file
from data_pipelines.tasks.__main__ import main

ROOT = Path(__file__).parents[3]
LARGE = {'jax', 'jaxlib', 'flax', 'tensorflow', 'tensorflow_datasets', 'librosa', 'soundfile'}
MAX_SECONDS = 2  # of processor time
PRINT_LOADED = """
import sys
from data_pipelines.tasks.__main__ import main

main(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture
def ravdess(tmp_path) -> Path:
    """The folder of a complete RAVDESS of empty files."""
    return write_empty_files(tmp_path / 'ravdess', make_ravdess_paths())


def refusal(*arguments: object) -> str:
    """Returns the message with which the command refuses its arguments."""
    with pytest.raises(UserError) as caught:
        main([str(argument) for argument in arguments])
    return str(caught.value)


def test_the_table_has_every_task(capsys):
    """Its corpora, measure and number of utterances, and whether its hash is known."""
    main([])
    output = capsys.readouterr().out
    for name in tasks.task_names():
        (line,) = [line.split() for line in output.splitlines() if line.split()[:1] == [name]]
        task = tasks.load_task(name)
        assert line[-1] == ('known' if task.split_sha256 else 'unknown')
        if task.utterances:
            assert line[-2] == f'{task.utterances:,}'
    assert '…' not in output


@pytest.mark.parametrize('name', tasks.task_names())
def test_a_task_is_explained_with_the_command_that_writes_its_split(name, capsys):
    main([name])
    output = capsys.readouterr().out
    task = tasks.load_task(name)
    assert output.startswith(f'{name}: {task.title}\n')
    assert (task.split_sha256 or 'its SHA-256 is not known yet') in output
    for key in task.changes:
        assert key in output.replace('\n', ' ')
    sources = [f'--source {corpus}=PATH' for corpus in task.corpora]
    if len(sources) == 1:
        sources = ['--source PATH']
    command = f'python -m data_pipelines.tasks {name} {" ".join(sources)} --out split.csv'
    assert output.rstrip().endswith(command)


def test_the_official_split_is_written_and_called_so(ravdess, tmp_path, capsys):
    """The folder of the file is made; the file has the task's hash."""
    out = tmp_path / 'new' / 'split.csv'
    main(['ravdess_speaker', '--source', str(ravdess), '--out', str(out)])
    output = capsys.readouterr().out
    task = tasks.load_task('ravdess_speaker')
    split = read_split_file(out)
    assert split.sha256 == task.split_sha256
    assert set(split.text['part'].tolist()) == {'train', 'dev', 'test'}
    assert split.text['path'][0].startswith('Actor_')
    assert f'Written: {out}, 1440 utterances' in output
    assert f'SHA-256 of the split: {task.split_sha256}' in output
    assert 'This is the official split of the task ravdess_speaker.' in output
    assert '--config=configs/task.py:ravdess_speaker' in output
    assert f'--split {out} --task ravdess_speaker' in output


def test_a_corpus_that_is_not_complete_is_refused_unless_allowed(ravdess, tmp_path, capsys):
    """The classes that differ are named; the split that is written anyway is not the task's."""
    (ravdess / 'Actor_05/03-01-05-01-01-01-05.wav').unlink()
    (ravdess / 'Actor_05/03-01-04-01-01-01-05.wav').unlink()
    out = tmp_path / 'split.csv'
    arguments = ['ravdess_speaker', '--source', str(ravdess), '--out', str(out)]
    message = refusal(*arguments)
    assert 'ravdess, angry: expected 192 utterances, found 191' in message
    assert 'ravdess, sad: expected 192 utterances, found 191' in message
    assert '--allow_partial' in message
    assert not out.exists()
    main([*arguments, '--allow_partial'])
    output = capsys.readouterr().out
    assert 'This is NOT the split of the task ravdess_speaker' in output
    assert 'official' not in output
    assert '--task' not in output  # jaxser.score would refuse the split
    assert read_split_file(out).sha256 != tasks.load_task('ravdess_speaker').split_sha256


def test_files_that_do_not_suffice_for_the_protocol_are_refused(tmp_path):
    """The task fixes the protocol, so that the advice is another release."""
    paths = [path for path in make_ravdess_paths() if path.startswith('Actor_01')]
    source = write_empty_files(tmp_path / 'ravdess', paths)
    arguments = ['--source', source, '--out', tmp_path / 'split.csv', '--allow_partial']
    message = refusal('ravdess_speaker', *arguments)
    assert message.startswith('These files do not suffice for the protocol of ravdess_speaker')
    assert 'Use the complete release of ravdess.' in message
    assert 'Only 1 speaker' in message


def test_a_file_that_cannot_be_written_is_refused_before_the_corpus_is_read(tmp_path):
    (tmp_path / 'file').touch()
    arguments = ['ravdess_speaker', '--source', tmp_path / 'nowhere', '--out']
    assert f'--out {tmp_path} is a folder. Name a file' in refusal(*arguments, tmp_path)
    message = refusal(*arguments, tmp_path / 'file' / 'split.csv')
    assert f'{tmp_path}/file is a file and not a folder' in message


def write_msp_podcast(root: Path) -> Path:
    """Writes nine utterances in three parts; one is not rated, and one has no agreed class."""
    lines = ['FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set']
    for number in range(9):
        part = ('Train', 'Development', 'Test1')[number // 3]
        emotion = ('A', 'S', 'X' if number == 2 else 'A')[number % 3]
        rating = 1 + 6 * number / 8
        arousal = '' if number == 1 else rating
        ratings = f'{arousal},{8 - rating},{rating}'
        lines.append(f'MSP_{number}.wav,{emotion},{ratings},{number // 3},Female,{part}')
    write_empty_files(root, [f'Audios/MSP_{number}.wav' for number in range(9)])
    (root / 'Labels').mkdir()
    (root / 'Labels' / 'labels_consensus.csv').write_text('\n'.join(lines) + '\n')
    return root


def test_ratings_are_in_the_split_of_a_task_that_predicts_them(tmp_path, capsys):
    """From -1 to 1; an utterance that is not rated is left out. The hash is not known yet."""
    source = write_msp_podcast(tmp_path / 'msp')
    out = tmp_path / 'split.csv'
    main(['msp_podcast_ratings', '--source', str(source), '--out', str(out)])
    output = capsys.readouterr().out
    split = read_split_file(out)
    assert split.ratings == ('arousal', 'valence', 'dominance')
    assert split.text['utterance'].tolist() == [f'MSP_{n}' for n in (0, 2, 3, 4, 5, 6, 7, 8)]
    assert split.rating_RxA[:, 0].tolist() == [-1, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1]
    assert split.rating_RxA[:, 1].tolist() == [1, 0.5, 0.25, 0, -0.25, -0.5, -0.75, -1]
    assert 'without a rating that is predicted: 1' in output
    assert 'is not known yet, so that this one was compared with nothing' in output
    assert split.sha256 in output
    assert 'official split of the task' not in output


def test_classes_are_in_the_split_of_the_same_corpus_by_classes(tmp_path, capsys):
    out = tmp_path / 'split.csv'
    source = write_msp_podcast(tmp_path / 'msp')
    main(['msp_podcast_classes', '--source', str(source), '--out', str(out)])
    split = read_split_file(out)
    assert split.ratings == ()
    assert split.text['emotion'].tolist() == ['angry', 'sad', *['angry', 'sad', 'angry'] * 2]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--out', 'x.csv'], 'Which task?'),
        (['emodb_for'], "Did you mean 'emodb_four'?"),
        (['emodb_four', '--source', 'x'], '--out is missing'),
        (['emodb_four', '--out', 'x.csv'], 'The folder of EMO-DB is missing'),
        (['emodb_casia', '--source', 'x', '--out', 'x.csv'], 'does not say of which corpus'),
        (['emodb_casia', '--source', 'emodb=x', '--out', 'x.csv'], 'folder of CASIA (public part)'),
        (['emodb_casia', '--source', 'emodb=', '--out', 'x.csv'], '--source emodb= has no path'),
        (
            ['emodb_four', '--source', 'x', '--source', 'emodb=y', '--out', 'x.csv'],
            '--source names two folders of emodb: x and y',
        ),
        (['emodb_four', '--source', 'nowhere', '--out', 'x.csv'], 'nowhere is not a folder'),
    ],
)
def test_a_wrong_command_line_is_explained(arguments, message):
    assert message in refusal(*arguments)


def test_a_path_with_an_equals_sign_is_a_path_of_the_only_corpus(tmp_path):
    message = refusal('emodb_four', '--source', tmp_path / 'a=b', '--out', tmp_path / 'x.csv')
    assert f'{tmp_path}/a=b is not a folder' in message


def test_neither_tensorflow_nor_jax_is_loaded_and_little_time_is_needed(ravdess, tmp_path):
    """To list the tasks, and to write a split of 1,440 files; in processor time."""
    out = tmp_path / 'split.csv'
    for arguments in ([], ['ravdess_speaker', '--source', str(ravdess), '--out', str(out)]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        completed = subprocess.run(
            [sys.executable, '-c', PRINT_LOADED, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert completed.returncode == 0, completed.stderr
        loaded = {name.partition('.')[0] for name in completed.stderr.split()}
        assert 'data_pipelines' in loaded
        assert not loaded & LARGE
        assert after.ru_utime - before.ru_utime < MAX_SECONDS


def test_a_mistake_ends_the_command_without_a_stack_trace(tmp_path):
    command = [sys.executable, '-m', 'data_pipelines.tasks', 'emodb_for']
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert completed.returncode == 2
    assert completed.stderr.startswith("There is no task 'emodb_for'")
    assert 'Traceback' not in completed.stderr
