"""The scripts of launch/, with stubs in the place of gcloud, srun and Python: nothing leaves this machine."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / 'launch'
SCRIPTS = ['env.sh', 'gpu.sh', 'slurm.sbatch', 'tpu.sh']
AWKWARD = [
    '--workdir=/shared/a run',
    "--config.data.dir=x;touch y$(z)'&\\",
]  # a space, and what a shell would act on
TRAINING = ['-u', '-m', 'jaxser.main', '--config=configs/x.py', *AWKWARD]
OUTSIDE = [
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


class Bench:
    """Runs scripts with stubs first on the PATH; each stub notes its arguments and does what its body says."""

    def __init__(self, path: Path):
        self.bin, self.log = path / 'bin', path / 'log'
        self.bin.mkdir()
        for name in OUTSIDE:
            self.stub(name, 'exit 99')

    def stub(self, name: str, body: str) -> Path:
        file = self.bin / name
        file.write_text(
            f'#!/bin/bash\n{{ printf "%q " {name} "$@"; echo; }} >> {shlex.quote(str(self.log))}\n{body}\n'
        )
        file.chmod(0o755)
        return file

    def run(
        self, script: str, *arguments: str, cwd: Path = ROOT, **environment: str
    ) -> subprocess.CompletedProcess:
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(('SLURM_', 'JAXSER_', 'JAX_', 'UV_'))
        }
        environment = kept | {'PATH': f'{self.bin}:/usr/bin:/bin', 'JAXSER_WAIT': '0'} | environment
        command = ['bash', str(LAUNCH / script), *arguments]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=30
        )

    @property
    def calls(self) -> list[list[str]]:
        return (
            [shlex.split(line) for line in self.log.read_text().splitlines()]
            if self.log.exists()
            else []
        )


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def commands(stdout: str) -> list[list[str]]:
    return [shlex.split(line) for line in stdout.splitlines() if not line.startswith('#')]


def remote(command: list[str]) -> list[str]:
    """What a worker's shell makes of the --command of an ssh."""
    return next(
        shlex.split(a.removeprefix('--command=')) for a in command if a.startswith('--command=')
    )


def pick(calls: list[list[str]], *words: str) -> list[list[str]]:
    return [call for call in calls if all(w in call for w in words)]


@pytest.mark.parametrize('script', SCRIPTS)
def test_is_bash(script):
    """Every script is one that bash can parse."""
    assert subprocess.run(['bash', '-n', LAUNCH / script]).returncode == 0


@pytest.mark.skipif(shutil.which('shellcheck') is None, reason='shellcheck is not installed')
@pytest.mark.parametrize('script', SCRIPTS)
def test_shellcheck(script):
    """shellcheck finds nothing to say about any script."""
    checked = subprocess.run(['shellcheck', LAUNCH / script], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize('script', SCRIPTS)
def test_help(bench, script):
    """--help says how to use a script, ends with 0 and runs nothing."""
    done = bench.run(script, '--help')
    assert (done.returncode, bench.calls) == (0, [])
    assert f'launch/{script}' in done.stdout


@pytest.mark.parametrize(
    ('script', 'arguments', 'about'),
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
def test_a_mistake_is_one_sentence(bench, script, arguments, about):
    """A mistake of the user ends with 2 and one sentence that names it, before anything has been run."""
    done = bench.run(script, *arguments)
    assert (done.returncode, done.stdout, bench.calls) == (2, '', [])
    assert about in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize('script', ['gpu.sh', 'slurm.sbatch'])
def test_outside_the_checkout(bench, tmp_path, script):
    """Started outside the checkout, where configs/ is not, a script says so."""
    done = bench.run(script, '--dry-run', 'configs/x.py', cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert 'checkout' in done.stderr


@pytest.mark.parametrize('script', ['gpu.sh', 'slurm.sbatch'])
def test_dry_run(bench, script):
    """--dry-run prints the training with its arguments as they were given, quoted for a shell, and runs nothing."""
    done = bench.run(script, '--dry-run', 'configs/x.py', *AWKWARD, JAXSER_PYTHON='/my env/python')
    assert (done.returncode, done.stderr, bench.calls) == (0, '', [])
    (training,) = pick(commands(done.stdout), 'jaxser.main')
    assert training[-7:] == ['/my env/python', *TRAINING]


def test_dry_run_of_the_environment(bench):
    """The environment is made by the pinned uv, whose hash pip checks, with the accelerator's JAX."""
    done = bench.run('env.sh', '--dry-run', 'tpu')
    assert (done.returncode, bench.calls) == (0, [])
    pip, venv, install = commands(done.stdout)
    assert {'--require-hashes', 'launch/uv.txt'} < set(pip)
    assert venv[1:] == ['venv', '--python', '3.12', '.venv']
    assert install[-2:] == ['-e', '.[tpu]']
    pinned = (LAUNCH / 'uv.txt').read_text().split()
    assert {venv[0], install[0]} == {f'{pip[pip.index("--target") + 1]}/bin/uv'}
    assert f'uv=={Path(venv[0]).parts[-3].removeprefix("uv-")}' in pinned


@pytest.mark.parametrize('workers', [1, 4])
def test_dry_run_on_a_tpu(bench, workers):
    """Every worker gets the training with its arguments as they were given, and --distributed where there are several."""
    done = bench.run(
        'tpu.sh', '--dry-run', 'run', '--zone=z', f'--workers={workers}', 'configs/x.py', *AWKWARD
    )
    assert (done.returncode, done.stderr, bench.calls) == (0, '', [])
    (ssh,) = commands(done.stdout)
    assert {'jaxser', '--zone=z', '--worker=all'} < set(ssh)
    words = remote(ssh)
    assert words[words.index('-u') :] == TRAINING + ['--distributed'] * (workers > 1)


def test_dry_run_of_watch(bench):
    """The dry run of watch shows each of its parts, and that a spot TPU of the given kind would be asked for."""
    options = [
        '--spot',
        '--name=n',
        '--zone=z',
        '--accelerator-type=v6e-8',
        '--version=v2-alpha-tpuv6e',
        '--data=/my data/',
    ]
    done = bench.run('tpu.sh', 'watch', '--dry-run', *options, 'configs/x.py', '--workdir=gs://b/x')
    assert (done.returncode, done.stderr, bench.calls) == (0, '', [])
    lines = commands(done.stdout)
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
    assert any(word.startswith('UV_EXCLUDE_NEWER=') for word in remote(lines[4]))


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


def watch(bench, tmp_path, *codes):
    """Watches a training whose runs end as in codes; the verbs of gcloud, with the two kinds of ssh told apart."""
    (tmp_path / 'codes').write_text('\n'.join(map(str, codes)) + '\n')
    body = GCLOUD.format(
        state=shlex.quote(str(tmp_path / 'state')), codes=shlex.quote(str(tmp_path / 'codes'))
    )
    bench.stub('gcloud', body)
    bench.stub('git', 'exit 0')
    bench.stub('sleep', 'exit 0')
    bench.stub('rm', 'exec /bin/rm "$@"')
    done = bench.run('tpu.sh', 'watch', '--spot', 'configs/x.py', *AWKWARD)
    verbs = [
        ('run' if 'jaxser.main' in str(c) else 'setup') if c[4] == 'ssh' else c[4]
        for c in bench.calls
        if c[0] == 'gcloud'
    ]
    return done, [v for v in verbs if v not in ('describe', 'scp')]


def test_watch_goes_on_after_a_preemption(bench, tmp_path):
    """A preempted TPU is deleted, created and set up again with the same packages, and the same command is run again."""
    done, verbs = watch(bench, tmp_path, 'preempted', 0)
    assert (done.returncode, verbs) == (
        0,
        ['create', 'setup', 'run', 'delete', 'create', 'setup', 'run'],
    )
    assert 'launch/tpu.sh delete --name=jaxser' in done.stderr
    trainings = pick(bench.calls, 'ssh', '--worker=all')
    setups, runs = trainings[::2], trainings[1::2]
    assert setups[0] == setups[1]
    assert runs[0] == runs[1]
    words = remote(runs[0])
    assert words[words.index('-u') :] == [*TRAINING, '--distributed']
    assert all('--spot' in create for create in pick(bench.calls, 'create'))


def test_watch_runs_again_what_saved_a_checkpoint(bench, tmp_path):
    """75, as often as it comes, is answered by the same command on the same TPU."""
    done, verbs = watch(bench, tmp_path, *[75] * 6, 0)
    assert (done.returncode, verbs) == (0, ['create', 'setup'] + ['run'] * 7)


@pytest.mark.parametrize(('codes', 'runs'), [([2], 1), ([1] * 9, 5)])
def test_watch_does_not_repeat_a_mistake(bench, tmp_path, codes, runs):
    """What the training refuses is not run again, and what fails without a preemption not for ever."""
    done, verbs = watch(bench, tmp_path, *codes)
    assert (done.returncode, verbs) == (codes[0], ['create', 'setup'] + ['run'] * runs)


@pytest.mark.parametrize(('code', 'requeued'), [(0, False), (1, False), (2, False), (75, True)])
def test_slurm_requeues_what_saved_a_checkpoint(bench, code, requeued):
    """A job is requeued if it saved a checkpoint, and only then; its exit status is the training's."""
    bench.stub('srun', f'exit {code}')
    bench.stub('scontrol', 'exit 0')
    done = bench.run(
        'slurm.sbatch', 'configs/x.py', *AWKWARD, JAXSER_PYTHON='/bin/true', SLURM_JOB_ID='17'
    )
    assert done.returncode == code
    assert bench.calls[0][-6:] == TRAINING
    assert bench.calls[1:] == [['scontrol', 'requeue', '17']] * requeued


def test_slurm_on_several_nodes(bench):
    """On several nodes there is one process a node, told that it is not alone and that all GPUs of the node are its own."""
    bench.stub('srun', 'echo "GPUs $JAX_LOCAL_DEVICE_IDS"')
    job = {
        'SLURM_JOB_ID': '17',
        'SLURM_JOB_NUM_NODES': '2',
        'SLURM_GPUS_ON_NODE': '4',
        'SLURM_CPUS_PER_TASK': '6',
    }
    done = bench.run('slurm.sbatch', 'configs/x.py', JAXSER_PYTHON='/bin/true', **job)
    assert (done.returncode, done.stdout) == (0, 'GPUs 0,1,2,3\n')
    (srun,) = bench.calls
    assert {'--ntasks=2', '--ntasks-per-node=1', '--cpus-per-task=6', '--distributed'} < set(srun)


@pytest.mark.parametrize('code', [0, 2, 75])
def test_the_gpu_box_ends_as_the_training_does(bench, code):
    """The exit status is the training's, so that 75 can be told from a mistake."""
    python = bench.stub('python', f'[[ $1 == -c ]] || exit {code}')
    done = bench.run('gpu.sh', 'configs/x.py', *AWKWARD, JAXSER_PYTHON=str(python))
    assert done.returncode == code
    assert bench.calls[1] == ['python', *TRAINING]


def test_no_gpu(bench):
    """Where JAX sees no GPU the training does not begin, and a sentence says what to look at."""
    python = bench.stub('python', 'exit 1')
    done = bench.run('gpu.sh', 'configs/x.py', JAXSER_PYTHON=str(python))
    assert (done.returncode, len(bench.calls), len(done.stderr.splitlines())) == (2, 1, 1)
    assert 'nvidia-smi' in done.stderr
