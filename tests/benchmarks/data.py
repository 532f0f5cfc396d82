"""Compares resident with streamed training, or preparing with a plain librosa loop.

  python tests/benchmarks/data.py resident [--runs 4] [--frames 300]     seconds of an epoch
  python tests/benchmarks/data.py prepare  [--utterances 400]            utterances per second

Both take turns and print medians. The audio is noise; nothing is downloaded.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SECONDS = 3.0


def write_noise(folder: Path, utterances: int) -> Path:
    """Writes noise of ten speakers and its list; returns the CSV that `prepare folder` reads."""
    import soundfile

    random = np.random.default_rng(0)
    lines = ['path,speaker,emotion']
    for n in range(utterances):
        wave = 0.1 * random.standard_normal(int(SECONDS * 16_000))
        soundfile.write(folder / f'{n}.wav', wave, 16_000)
        lines.append(f'{n}.wav,s{n % 10},{"angry" if n // 10 % 2 else "sad"}')
    (folder / 'list.csv').write_text('\n'.join(lines) + '\n')
    return folder / 'list.csv'


def librosa_loop(folder: Path, utterances: int) -> None:
    """Computes the log-mel features of all files on one core."""
    import librosa

    for n in range(utterances):
        wave, rate = librosa.load(folder / f'{n}.wav', sr=16_000)
        mel = librosa.feature.melspectrogram(y=wave, sr=rate, n_fft=400, hop_length=160, n_mels=64)
        librosa.power_to_db(mel)


def measure_preparing(options) -> dict:
    """Returns utterances per second of `prepare` (all cores; one worker) and of librosa alone."""
    from data_pipelines.features.log_mel import LogMel
    from data_pipelines.storage.preparation import prepare_corpus

    rates: dict[str, list[float]] = {}

    def record(name: str, began: float) -> None:
        rate = options.utterances / (time.perf_counter() - began)
        rates.setdefault(name, []).append(rate)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_noise(folder, options.utterances)
        for repeat in range(options.repeats):
            for workers in (os.cpu_count(), 1):
                out = folder / f'{workers}_{repeat}'
                began = time.perf_counter()
                prepare_corpus('folder', source, out, LogMel(), workers=workers)
                record(f'prepare_{workers}_workers', began)
            began = time.perf_counter()
            librosa_loop(folder, options.utterances)
            record('librosa_loop', began)
    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    return {'utterances_per_second': medians}


def noise_config(options, folder: Path):
    """Prepares noise and returns the configuration of a sweep over it: one fold, `--runs` runs."""
    from configs import base
    from data_pipelines.features.log_mel import LogMel
    from data_pipelines.storage.preparation import prepare_corpus

    source = write_noise(folder, options.utterances)
    prepare_corpus('folder', source, folder / 'data', LogMel())
    config = base.get_config()
    config.data.dir = str(folder / 'data')
    config.data.corpora = ('folder',)
    config.data.frames = options.frames
    config.sweep.lam = tuple(np.linspace(0, 1, options.runs).tolist())
    config.sweep.fold = '0'
    return config


def epoch_seconds(trainer, config, epochs: int) -> list[float]:
    """Returns the seconds of the last epochs but one, without the feed's start and compilation."""
    from jaxser.training import parallel

    (group,) = trainer.groups
    hyper = group.layout.put_runs_on_devices(group.hyper_DxR)
    state = trainer.functions.init(hyper)
    first_epoch = config.train.epochs - epochs

    def training_items():
        for epoch in range(first_epoch, config.train.epochs):
            yield from group.training_items(epoch, trainer.steps_per_chunk)

    seconds = []
    began = None
    for item, batch in trainer.open_feed(training_items()):
        span_2 = np.array([0, item.steps], np.int32)
        device_batch = group.layout.put_batch_on_devices(batch, parallel.TRAINING_AXIS_B)
        state, metrics = trainer.train_chunk(state, trainer.shared, device_batch, span_2, hyper)
        if item.is_last:
            np.asarray(metrics['loss'])  # waits for the device
            now = time.perf_counter()
            if began:
                seconds.append(now - began)
            began = now
    return seconds


def measure_feeds(options) -> dict:
    """Returns the seconds of the same epochs, from the device's memory and from the shards."""
    os.environ.setdefault('JAX_NUM_CPU_DEVICES', str(os.cpu_count()))
    from jaxser.training import validate
    from jaxser.training.task import Task
    from jaxser.training.trainer import Trainer

    with tempfile.TemporaryDirectory() as folder:
        config = noise_config(options, Path(folder))
        programs = validate.plan_programs(config)
        task = Task(config, programs)
        (program,) = programs
        trainers = {
            'resident': Trainer(program, task, task.mel_RxM, None),
            'streaming': Trainer(program, task, None, None),
        }
        seconds = {name: [] for name in trainers}
        for _ in range(options.repeats):
            for name, trainer in trainers.items():
                epochs = epoch_seconds(trainer, config, options.epochs)
                seconds[name].append(statistics.median(epochs))
    ratios = np.array(seconds['resident']) / np.array(seconds['streaming'])
    return {
        'steps': task.steps_per_epoch,
        'runs': options.runs,
        'seconds_per_epoch': {k: round(statistics.median(v), 3) for k, v in seconds.items()},
        'speed_of_streaming': round(float(np.median(ratios)), 3),
    }


def main() -> None:
    """Parses the command line and prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('what', choices=('resident', 'prepare'))
    parser.add_argument('--utterances', type=int, default=400)
    parser.add_argument('--frames', type=int, default=300)
    parser.add_argument('--runs', type=int, default=4)
    parser.add_argument('--epochs', type=int, default=4)
    parser.add_argument('--repeats', type=int, default=5)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent.parent.parent))
    measure = measure_preparing if options.what == 'prepare' else measure_feeds
    print(json.dumps(measure(options)))


if __name__ == '__main__':
    main()
