"""Set-up and fixtures of all tests.

JAX gets eight CPU devices, so that sharding is tested on every machine.
"""

import importlib.metadata
import os

# These flags reduce the compilation time to a tenth. Tests of bit equality use XLA's defaults.
XLA_FLAGS = '--xla_backend_optimization_level=0'
if importlib.metadata.version('jax').startswith('0.10.'):
    # jax 0.12 no longer has the first of these flags, and XLA aborts on an unknown flag.
    XLA_FLAGS += ' --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1'
os.environ.setdefault('XLA_FLAGS', XLA_FLAGS)

import tempfile  # noqa: E402

# Tests, and the commands that they start, share compiled programs. The cache starts empty, so that
# no program of an earlier version is used. Every process has its own cache: JAX writes entries in
# place, and a partly written entry cannot be read.
COMPILATION_CACHE = tempfile.TemporaryDirectory()
os.environ['JAX_COMPILATION_CACHE_DIR'] = COMPILATION_CACHE.name
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.1'

import csv  # noqa: E402
import fcntl  # noqa: E402
import gc  # noqa: E402
import shutil  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
if not os.environ.get('JAX_PLATFORMS'):
    jax.config.update('jax_platforms', 'cpu')


# These files take longest. They run first, so that none starts when the others are nearly done.
SLOWEST_FILES = (
    'test_commands',
    'test_main',
    'test_every_method',
    'test_experiment',
    'test_every_encoder',
    'test_predict',
)


def file_rank(item: pytest.Item) -> int:
    """Returns the place of a test's file in SLOWEST_FILES, or their number for other files."""
    if item.path.stem in SLOWEST_FILES:
        return SLOWEST_FILES.index(item.path.stem)
    return len(SLOWEST_FILES)


def pytest_collection_modifyitems(items: list) -> None:
    """Moves the slowest files to the front; the order within a file does not change."""
    items.sort(key=file_rank)


def pytest_collection_finish() -> None:
    """Excludes the imported modules from garbage collection.

    Collections that visited all of them took a tenth of JAX's tracing time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope='session')
def once(request, tmp_path_factory) -> Callable:
    """Returns once(name, make): the path of a folder that make(folder) fills on the first call.

    All worker processes of this pytest share the folder. Tests must not change it.
    """
    home = tmp_path_factory.getbasetemp()
    if hasattr(request.config, 'workerinput'):  # a worker's folder is inside that of the session
        home = home.parent

    def shared_folder(name: str, make: Callable[[Path], object]) -> Path:
        path = home / name
        finished = home / f'{name}.done'
        with open(home / f'{name}.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                shutil.rmtree(path, ignore_errors=True)
                path.mkdir()
                make(path)
                finished.touch()
        return path

    return shared_folder


@pytest.fixture(scope='session')
def whisper(once) -> Path:
    """Returns the Hugging Face folder of a small Whisper with random weights."""
    from helpers import parity

    return once('whisper', lambda path: parity.write('whisper', path))


@pytest.fixture(scope='session')
def swept(data, once) -> Path:
    """Returns the workdir of a finished sweep with its model: two coefficients, three folds."""
    from helpers import tiny_config

    from jaxser.serving import bundling
    from jaxser.training import experiment

    def make(path: Path) -> None:
        config = tiny_config.get_config()
        config.update_from_flattened_dict({'data.dir': str(data), 'train.epochs': 2})
        experiment.run_experiment(config, path)
        bundling.bundle_model(path)

    return once('swept', make)


@pytest.fixture(scope='session')
def data(once) -> Path:
    """Returns the data folder of a prepared synthetic corpus: six speakers of two languages."""
    return once('corpus', prepare_tones) / 'data'


def tone(random: np.random.Generator, speaker: int, tremolo: int) -> np.ndarray:
    """Returns 0.3 to 0.9 s of a noisy tone at 8 kHz; the pitch depends on the speaker."""
    seconds = np.arange(int(8_000 * random.uniform(0.3, 0.9))) / 8_000
    carrier = np.sin(2 * np.pi * (150 + 40 * speaker) * seconds)
    wave = carrier * (1 + np.sin(2 * np.pi * tremolo * seconds))
    return 0.2 * wave + 0.01 * random.standard_normal(seconds.size)


def prepare_tones(folder: Path) -> None:
    """Writes a list and its tones, and prepares them as the corpus `folder`."""
    import soundfile

    from data_pipelines.features.log_mel import LogMel
    from data_pipelines.storage.preparation import prepare_corpus

    random = np.random.default_rng(0)
    with open(folder / 'list.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['path', 'speaker', 'emotion', 'language'])
        for speaker in range(6):
            for emotion, tremolo in (('angry', 12), ('sad', 3)):
                for take in range(4):
                    name = f'{speaker}_{emotion}_{take}.wav'
                    soundfile.write(folder / name, tone(random, speaker, tremolo), 8_000)
                    writer.writerow([name, f's{speaker}', emotion, 'de' if speaker < 3 else 'en'])
    prepare_corpus('folder', folder / 'list.csv', folder / 'data', LogMel(), workers=1)
