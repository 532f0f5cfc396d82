"""For all tests: eight devices on the CPU, so that sharding is tested wherever the tests run."""

import importlib.metadata
import os

# A tenth of the time to compile. What is promised to the bit is compiled with the defaults, by the test that says so.
QUICK = '--xla_backend_optimization_level=0'
if importlib.metadata.version('jax').startswith('0.10.'):
    # jax 0.12 no longer knows the first, and XLA aborts on a flag that it does not know.
    QUICK += ' --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1'
os.environ.setdefault('XLA_FLAGS', QUICK)

import tempfile  # noqa: E402

# What one test compiles another may use, and the commands that it starts; what an earlier version compiled shall prove nothing.
# A folder a process: JAX writes its entries in place, and what another is still writing cannot be read.
CACHE = tempfile.TemporaryDirectory()
os.environ['JAX_COMPILATION_CACHE_DIR'] = CACHE.name
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


# The files that take longest, first: none of them is begun when the other workers are nearly done.
LONG = (
    'test_tutorial',
    'test_main',
    'test_every_method',
    'test_train',
    'test_every_encoder',
    'test_predict',
)


def pytest_collection_modifyitems(items: list) -> None:
    """Sorts the files; within a file the order stays."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def pytest_collection_finish() -> None:
    """What is imported stays; a collection that walks through all of it took a tenth of the time to trace."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope='session')
def once(request, tmp_path_factory) -> Callable:
    """once(name, make): the folder that make(folder) has filled, for all processes of this pytest; nobody may change it."""
    home = tmp_path_factory.getbasetemp()
    home = home.parent if hasattr(request.config, 'workerinput') else home

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        path, done = home / name, home / f'{name}.done'
        with open(home / f'{name}.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(path, ignore_errors=True)
                path.mkdir()
                make(path)
                done.touch()
        return path

    return folder


@pytest.fixture(scope='session')
def whisper(once) -> Path:
    """The Hugging Face folder of a small Whisper with made-up weights."""
    from helpers import parity

    return once('whisper', lambda path: parity.write('whisper', path))


@pytest.fixture(scope='session')
def swept(data, once) -> Path:
    """The workdir of a finished sweep with its model: two coefficients on three folds."""
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
    """Six made-up speakers of two languages, prepared: tones whose pitch is the speaker's and whose tremolo the emotion's."""
    return once('corpus', record) / 'data'


def record(folder: Path) -> None:
    """Writes a list and its files, and prepares them."""
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
                    t = np.arange(int(8_000 * random.uniform(0.3, 0.9))) / 8_000
                    wave = np.sin(2 * np.pi * (150 + 40 * speaker) * t) * (
                        1 + np.sin(2 * np.pi * tremolo * t)
                    )
                    name = f'{speaker}_{emotion}_{take}.wav'
                    soundfile.write(
                        folder / name, 0.2 * wave + 0.01 * random.standard_normal(t.size), 8_000
                    )
                    writer.writerow([name, f's{speaker}', emotion, 'de' if speaker < 3 else 'en'])
    prepare_corpus('folder', folder / 'list.csv', folder / 'data', LogMel(), workers=1)
