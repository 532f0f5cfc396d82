"""For all tests: eight devices on the CPU, so that sharding is tested wherever the tests run."""

import importlib.metadata
import os

# A tenth of the time to compile. What is promised to the bit is compiled with the defaults, by the test that says so.
QUICK = '--xla_backend_optimization_level=0'
if importlib.metadata.version('jax').startswith('0.10.'):
    # jax 0.12 no longer knows the first, and XLA aborts on a flag that it does not know.
    QUICK += ' --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1'
os.environ.setdefault('XLA_FLAGS', QUICK)

import csv  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
# What one test compiles another may use; what an earlier version compiled shall prove nothing.
CACHE = tempfile.TemporaryDirectory()
jax.config.update('jax_compilation_cache_dir', CACHE.name)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
if not os.environ.get('JAX_PLATFORMS'):
    jax.config.update('jax_platforms', 'cpu')


@pytest.fixture(scope='session')
def swept(data, tmp_path_factory) -> Path:
    """The workdir of a finished sweep with its model: two coefficients on three folds."""
    import tiny_config

    from jaxser import bundle, train

    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(data), 'train.epochs': 2})
    path = tmp_path_factory.mktemp('swept') / 'tiny'
    train.run(config, path)
    bundle.run(path)
    return path


@pytest.fixture(scope='session')
def data(tmp_path_factory) -> Path:
    """Six made-up speakers of two languages, prepared: tones whose pitch is the speaker's and whose tremolo the emotion's."""
    import soundfile

    from data_pipelines.log_mel import LogMel
    from data_pipelines.prepare import prepare

    folder = tmp_path_factory.mktemp('corpus')
    random = np.random.default_rng(0)
    with open(folder / 'list.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['path', 'speaker', 'emotion', 'language'])
        for speaker in range(6):
            for emotion, tremolo in (('angry', 12), ('sad', 3)):
                for take in range(4):
                    t = np.arange(int(8_000 * random.uniform(0.3, 0.9))) / 8_000
                    wave = np.sin(2 * np.pi * (150 + 40 * speaker) * t) * (1 + np.sin(2 * np.pi * tremolo * t))
                    name = f'{speaker}_{emotion}_{take}.wav'
                    soundfile.write(folder / name, 0.2 * wave + 0.01 * random.standard_normal(t.size), 8_000)
                    writer.writerow([name, f's{speaker}', emotion, 'de' if speaker < 3 else 'en'])
    prepare('folder', folder / 'list.csv', folder / 'data', LogMel(), workers=1)
    return folder / 'data'
