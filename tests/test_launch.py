"""Tests the scripts of launch/ with stubs for gcloud, srun and Python, on this machine alone."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / 'launch'
SCRIPTS = ['env.sh', 'gpu.sh', 'slurm.sbatch', 'tpu.sh']
FILES = [*SCRIPTS, 'lib.sh']
# Arguments with a space, and with characters that a shell would interpret.
SPECIAL_ARGUMENTS = ['--workdir=/shared/a run', "--config.data.dir=x;touch y$(z)'&\\"]
TRAINING = ['-u', '-m', 'jaxser.main', '--config=configs/x.py', *SPECIAL_ARGUMENTS]
EXTERNAL_COMMANDS = [
    'gcloud',
    'srun',
    'scontrol',
    'sbatch',
    'git',
    'python',
    'python3',
    'pip',
    'uv',
    'ssh',
    'scp',
    'curl',
    'rm',
    'sleep',
]


class Sandbox:
    """Runs scripts with stubs first on the PATH; a stub logs its arguments and runs its body."""

    def __init__(self, path: Path):
        self.bin = path / 'bin'
        self.log = path / 'log'
        self.bin.mkdir()
        for name in EXTERNAL_COMMANDS:
            self.stub(name, 'exit 99')

    def stub(self, name: str, body: str) -> Path:
        """Replaces the command `name` by a script with this body, and returns its path."""
        file = self.bin / name
        log = shlex.quote(str(self.log))
        file.write_text(f'#!/bin/bash\n{{ printf "%q " {name} "$@"; echo; }} >> {log}\n{body}\n')
        file.chmod(0o755)
        return file

    def run(
        self, script: str | Path, *arguments: str, cwd: Path = ROOT, **variables: str
    ) -> subprocess.CompletedProcess:
        """Runs a script of launch/, or the script at an absolute path."""
        environment = {'PATH': f'{self.bin}:/usr/bin:/bin', 'JAXSER_WAIT': '0'}
        for name, value in os.environ.items():
            if not name.startswith(('SLURM_', 'JAXSER_', 'JAX_', 'UV_')):
                environment.setdefault(name, value)
        return subprocess.run(
            ['bash', str(LAUNCH / script), *arguments],
            cwd=cwd,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=30,
        )

    @property
    def calls(self) -> list[list[str]]:
        """The calls of all stubs so far, each as a list of words."""
        if not self.log.exists():
            return []
        return split_lines(self.log.read_text())


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


def split_lines(text: str) -> list[list[str]]:
    """Splits every line into words as a shell does; lines that begin with # are left out."""
    return [shlex.split(line) for line in text.splitlines() if not line.startswith('#')]


def remote_words(command: list[str]) -> list[str]:
    """Returns the words that a worker's shell makes of the --command of an ssh."""
    (argument,) = [word for word in command if word.startswith('--command=')]
    return shlex.split(argument.removeprefix('--command='))


def training_words(command: list[str]) -> list[str]:
    """Returns the arguments of Python in the --command of an ssh."""
    words = remote_words(command)
    return words[words.index('-u') :]


def calls_with(calls: list[list[str]], *words: str) -> list[list[str]]:
    """Returns the calls that contain all of the words."""
    return [call for call in calls if set(words) <= set(call)]


@pytest.mark.parametrize('script', FILES)
def test_bash_can_parse_the_script(script):
    assert subprocess.run(['bash', '-n', LAUNCH / script]).returncode == 0


@pytest.mark.skipif(shutil.which('shellcheck') is None, reason='shellcheck is not installed')
@pytest.mark.parametrize('script', FILES)
def test_shellcheck_finds_no_problem(script):
    command = ['shellcheck', '--external-sources', LAUNCH / script]
    completed = subprocess.run(command, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stdout


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_prints_the_usage_and_runs_nothing(sandbox, script):
    completed = sandbox.run(script, '--help')
    assert (completed.returncode, sandbox.calls) == (0, [])
    assert f'launch/{script}' in completed.stdout


@pytest.mark.parametrize(
    ('script', 'arguments', 'named'),
    [
        ('env.sh', [], 'cuda'),
        ('env.sh', ['cpu'], 'cpu'),
        ('gpu.sh', [], 'configuration'),
        ('gpu.sh', ['--spot', 'configs/x.py'], '--spot'),
        ('slurm.sbatch', [], 'configuration'),
        ('slurm.sbatch', ['configs/x.py'], 'sbatch'),
        ('tpu.sh', [], 'create'),
        ('tpu.sh', ['destroy'], 'destroy'),
        ('tpu.sh', ['run'], 'configuration'),
        ('tpu.sh', ['create', '--zone', 'here'], '--zone'),
        ('tpu.sh', ['delete', 'configs/x.py'], 'configs/x.py'),
        ('tpu.sh', ['run', '--workers=a[$(touch y)]', 'configs/x.py'], '--workers'),
        ('tpu.sh', ['watch', 'configs/x.py'], '--workdir'),
        ('tpu.sh', ['watch', 'configs/x.py', '--workdir=runs/x'], '--workdir'),
    ],
)
def test_a_mistake_ends_with_2_and_one_line_before_anything_runs(sandbox, script, arguments, named):
    completed = sandbox.run(script, *arguments)
    assert (completed.returncode, completed.stdout, sandbox.calls) == (2, '', [])
    assert named in completed.stderr
    assert len(completed.stderr.splitlines()) == 1


@pytest.mark.parametrize('script', ['gpu.sh', 'slurm.sbatch'])
def test_a_start_outside_the_checkout_is_refused(sandbox, tmp_path, script):
    completed = sandbox.run(script, '--dry-run', 'configs/x.py', cwd=tmp_path)
    assert (completed.returncode, len(completed.stderr.splitlines())) == (2, 1)
    assert 'checkout' in completed.stderr


@pytest.mark.parametrize('script', ['gpu.sh', 'slurm.sbatch'])
def test_dry_run_prints_the_training_with_quoted_arguments(sandbox, script):
    completed = sandbox.run(
        script, '--dry-run', 'configs/x.py', *SPECIAL_ARGUMENTS, JAXSER_PYTHON='/my env/python'
    )
    assert (completed.returncode, completed.stderr, sandbox.calls) == (0, '', [])
    (training,) = calls_with(split_lines(completed.stdout), 'jaxser.main')
    assert training[-7:] == ['/my env/python', *TRAINING]


def test_the_environment_is_made_by_the_pinned_uv(sandbox):
    """pip checks uv's hash, and uv installs JAX for the accelerator."""
    completed = sandbox.run('env.sh', '--dry-run', 'tpu')
    assert (completed.returncode, sandbox.calls) == (0, [])
    pip, venv, install = split_lines(completed.stdout)
    assert {'--require-hashes', 'launch/uv.txt'} < set(pip)
    assert venv[1:] == ['venv', '--python', '3.12', '.venv']
    assert install[-2:] == ['-e', '.[tpu]']
    pinned = (LAUNCH / 'uv.txt').read_text().split()
    assert {venv[0], install[0]} == {f'{pip[pip.index("--target") + 1]}/bin/uv'}
    assert f'uv=={Path(venv[0]).parts[-3].removeprefix("uv-")}' in pinned


@pytest.mark.parametrize('workers', [1, 4])
def test_dry_run_of_a_training_on_a_tpu(sandbox, workers):
    """Every worker gets the exact arguments, and --distributed if there are several workers."""
    completed = sandbox.run(
        'tpu.sh',
        '--dry-run',
        'run',
        '--zone=z',
        f'--workers={workers}',
        'configs/x.py',
        *SPECIAL_ARGUMENTS,
    )
    assert (completed.returncode, completed.stderr, sandbox.calls) == (0, '', [])
    (ssh,) = split_lines(completed.stdout)
    assert {'jaxser', '--zone=z', '--worker=all'} < set(ssh)
    distributed = ['--distributed'] if workers > 1 else []
    assert training_words(ssh) == TRAINING + distributed


def test_dry_run_of_watch_prints_every_step_with_the_options(sandbox):
    options = [
        '--spot',
        '--name=n',
        '--zone=z',
        '--accelerator-type=v6e-8',
        '--version=v2-alpha-tpuv6e',
        '--data=/my data/',
    ]
    completed = sandbox.run(
        'tpu.sh', 'watch', '--dry-run', *options, 'configs/x.py', '--workdir=gs://b/x'
    )
    assert (completed.returncode, completed.stderr, sandbox.calls) == (0, '', [])
    lines = split_lines(completed.stdout)
    verbs = [line[4] if line[0] == 'gcloud' else line[0] for line in lines]
    assert verbs == ['describe', 'create', 'git', 'scp', 'ssh', 'scp', 'describe', 'ssh', 'delete']
    assert {
        'n',
        '--zone=z',
        '--accelerator-type=v6e-8',
        '--version=v2-alpha-tpuv6e',
        '--spot',
    } < set(lines[1])
    assert lines[5][5:8] == ['--recurse', '/my data', 'n:jaxser/']
    assert any(word.startswith('UV_EXCLUDE_NEWER=') for word in remote_words(lines[4]))


GCLOUD = """
state=$(cat {state} 2>/dev/null)
case "$4 $*" in
    describe*state*) echo "$state"; [[ -n $state ]] ;;
    describe*networkEndpoints*) echo 2 ;;
    create*) echo READY > {state} ;;
    delete*) rm {state} ;;
    *jaxser.main*)
        code=$(head -n 1 {codes}); sed -i 1d {codes}
        [[ $code != preempted ]] || {{ echo PREEMPTED > {state}; exit 255; }}
        exit "$code" ;;
esac
"""


def watch(sandbox, tmp_path, *codes):
    """Watches a training whose runs end with these statuses; returns the process and its steps."""
    (tmp_path / 'codes').write_text('\n'.join(map(str, codes)) + '\n')
    body = GCLOUD.format(
        state=shlex.quote(str(tmp_path / 'state')), codes=shlex.quote(str(tmp_path / 'codes'))
    )
    sandbox.stub('gcloud', body)
    sandbox.stub('git', 'exit 0')
    sandbox.stub('sleep', 'exit 0')
    sandbox.stub('rm', 'exec /bin/rm "$@"')
    completed = sandbox.run('tpu.sh', 'watch', '--spot', 'configs/x.py', *SPECIAL_ARGUMENTS)
    steps = []
    for call in calls_with(sandbox.calls, 'gcloud'):
        verb = call[4]
        if verb == 'ssh':
            steps.append('run' if 'jaxser.main' in str(call) else 'setup')
        elif verb not in ('describe', 'scp'):
            steps.append(verb)
    return completed, steps


def test_watch_replaces_a_preempted_tpu_and_runs_the_same_command(sandbox, tmp_path):
    """The new TPU gets the same packages."""
    completed, steps = watch(sandbox, tmp_path, 'preempted', 0)
    assert (completed.returncode, steps) == (
        0,
        ['create', 'setup', 'run', 'delete', 'create', 'setup', 'run'],
    )
    assert 'launch/tpu.sh delete --name=jaxser' in completed.stderr
    trainings = calls_with(sandbox.calls, 'ssh', '--worker=all')
    setups = trainings[::2]
    runs = trainings[1::2]
    assert setups[0] == setups[1]
    assert runs[0] == runs[1]
    assert training_words(runs[0]) == [*TRAINING, '--distributed']
    assert all('--spot' in create for create in calls_with(sandbox.calls, 'create'))


def test_watch_resumes_after_every_status_75_on_the_same_tpu(sandbox, tmp_path):
    completed, steps = watch(sandbox, tmp_path, *[75] * 6, 0)
    assert (completed.returncode, steps) == (0, ['create', 'setup'] + ['run'] * 7)


@pytest.mark.parametrize(('codes', 'runs'), [([2], 1), ([1] * 9, 5)])
def test_watch_does_not_repeat_a_refused_command_or_fail_for_ever(sandbox, tmp_path, codes, runs):
    completed, steps = watch(sandbox, tmp_path, *codes)
    assert (completed.returncode, steps) == (codes[0], ['create', 'setup'] + ['run'] * runs)


@pytest.mark.parametrize(('code', 'requeued'), [(0, False), (1, False), (2, False), (75, True)])
def test_slurm_requeues_a_job_only_if_it_saved_a_checkpoint(sandbox, code, requeued):
    """The job's exit status is the training's."""
    sandbox.stub('srun', f'exit {code}')
    sandbox.stub('scontrol', 'exit 0')
    completed = sandbox.run(
        'slurm.sbatch',
        'configs/x.py',
        *SPECIAL_ARGUMENTS,
        JAXSER_PYTHON='/bin/true',
        SLURM_JOB_ID='17',
    )
    assert completed.returncode == code
    assert sandbox.calls[0][-6:] == TRAINING
    requeue = [['scontrol', 'requeue', '17']] if requeued else []
    assert sandbox.calls[1:] == requeue


def test_slurm_runs_a_copy_of_the_script_from_another_folder(sandbox, tmp_path):
    """sbatch copies the script, so lib.sh must be found in the checkout and not beside the copy."""
    sandbox.stub('srun', 'exit 0')
    copy = tmp_path / 'slurm_script'
    shutil.copy(LAUNCH / 'slurm.sbatch', copy)
    completed = sandbox.run(copy, 'configs/x.py', JAXSER_PYTHON='/bin/true', SLURM_JOB_ID='17')
    assert (completed.returncode, completed.stderr, len(sandbox.calls)) == (0, '', 1)
    refused = sandbox.run(copy, 'configs/x.py', cwd=tmp_path, SLURM_JOB_ID='17')
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert 'checkout' in refused.stderr


def test_slurm_on_several_nodes_starts_one_distributed_process_a_node(sandbox):
    """The process uses all GPUs of its node."""
    sandbox.stub('srun', 'echo "GPUs $JAX_LOCAL_DEVICE_IDS"')
    job = {
        'SLURM_JOB_ID': '17',
        'SLURM_JOB_NUM_NODES': '2',
        'SLURM_GPUS_ON_NODE': '4',
        'SLURM_CPUS_PER_TASK': '6',
    }
    completed = sandbox.run('slurm.sbatch', 'configs/x.py', JAXSER_PYTHON='/bin/true', **job)
    assert (completed.returncode, completed.stdout) == (0, 'GPUs 0,1,2,3\n')
    (srun,) = sandbox.calls
    assert {'--ntasks=2', '--ntasks-per-node=1', '--cpus-per-task=6', '--distributed'} < set(srun)


@pytest.mark.parametrize('code', [0, 2, 75])
def test_the_exit_status_on_a_gpu_machine_is_the_training_s(sandbox, code):
    python = sandbox.stub('python', f'[[ $1 == -c ]] || exit {code}')
    completed = sandbox.run('gpu.sh', 'configs/x.py', *SPECIAL_ARGUMENTS, JAXSER_PYTHON=str(python))
    assert completed.returncode == code
    assert sandbox.calls[1] == ['python', *TRAINING]


def test_without_a_gpu_the_training_does_not_start(sandbox):
    python = sandbox.stub('python', 'exit 1')
    completed = sandbox.run('gpu.sh', 'configs/x.py', JAXSER_PYTHON=str(python))
    assert (completed.returncode, len(sandbox.calls), len(completed.stderr.splitlines())) == (
        2,
        1,
        1,
    )
    assert 'nvidia-smi' in completed.stderr
