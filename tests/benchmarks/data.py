"""Resident against streaming, and how many log-mel shards a second are prepared.

  python tests/benchmarks/data.py resident [--runs 4] [--frames 300]     seconds of an epoch, in turns, medians
  python tests/benchmarks/data.py prepare  [--utterances 400]            beside a plain librosa loop on one core

Both make their own noise; nothing is downloaded.
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


def corpus(folder: Path, utterances: int) -> Path:
    """Noise by ten speakers as a CSV of one's own."""
    import soundfile

    random = np.random.default_rng(0)
    lines = ['path,speaker,emotion']
    for n in range(utterances):
        soundfile.write(
            folder / f'{n}.wav', 0.1 * random.standard_normal(int(SECONDS * 16_000)), 16_000
        )
        lines.append(f'{n}.wav,s{n % 10},{"angry" if n // 10 % 2 else "sad"}')
    (folder / 'list.csv').write_text('\n'.join(lines) + '\n')
    return folder / 'list.csv'


def prepared(options) -> None:
    """Utterances a second, with as many worker processes as cores and with one, and by librosa alone."""
    import librosa

    from data_pipelines.features.log_mel import LogMel
    from data_pipelines.storage.preparation import prepare_corpus

    with tempfile.TemporaryDirectory() as place:
        source = corpus(Path(place), options.utterances)
        rates: dict[str, list] = {}
        for repeat in range(options.repeats):
            for workers in (os.cpu_count(), 1):
                began = time.perf_counter()
                prepare_corpus(
                    'folder', source, Path(place) / f'{workers}_{repeat}', LogMel(), workers=workers
                )
                rates.setdefault(f'prepare_{workers}_workers', []).append(
                    options.utterances / (time.perf_counter() - began)
                )
            began = time.perf_counter()
            for n in range(options.utterances):
                wave, rate = librosa.load(Path(place) / f'{n}.wav', sr=16_000)
                librosa.power_to_db(
                    librosa.feature.melspectrogram(
                        y=wave, sr=rate, n_fft=400, hop_length=160, n_mels=64
                    )
                )
            rates.setdefault('librosa_loop', []).append(
                options.utterances / (time.perf_counter() - began)
            )
    print(
        json.dumps(
            {'utterances_per_second': {k: round(statistics.median(v), 1) for k, v in rates.items()}}
        )
    )


def fed(options) -> None:
    """The same epochs from the device and from the shards."""
    os.environ.setdefault('JAX_NUM_CPU_DEVICES', str(os.cpu_count()))
    from configs import base
    from data_pipelines.batching import feeds
    from data_pipelines.features.log_mel import LogMel
    from data_pipelines.storage.preparation import prepare_corpus
    from jaxser.training import validate
    from jaxser.training.task import Task, load_features
    from jaxser.training.trainer import Trainer

    with tempfile.TemporaryDirectory() as place:
        prepare_corpus(
            'folder', corpus(Path(place), options.utterances), Path(place) / 'data', LogMel()
        )
        config = base.get_config()
        config.data.dir, config.data.corpora, config.data.frames = (
            f'{place}/data',
            ('folder',),
            options.frames,
        )
        config.sweep.lam, config.sweep.fold = tuple(np.linspace(0, 1, options.runs).tolist()), '0'
        task = Task(config, validate.validate(config))
        (part,) = validate.validate(config)
        trainers = {
            'resident': Trainer(part, task, load_features(task), None),
            'streaming': Trainer(part, task, None, None),
        }

        def epochs(name: str) -> list[float]:
            """Seconds of each epoch after the first, the feed's start and compilation left out."""
            trainer = trainers[name]
            (group,) = trainer.groups
            hyper = group.layout.put_runs_on_devices(group.hyper_DxR)
            state, seconds = trainer.functions.init(hyper), []
            read = feeds.resident_feed if trainer.is_resident else feeds.streaming_feed
            items = (
                i
                for i in group.work_items(
                    config, task, trainer.steps_per_chunk, config.train.epochs - options.epochs
                )
                if i.part == 'train'
            )
            began = None
            for item, batch in read(task.table, items):
                real_S = np.arange(trainer.steps_per_chunk) < item.steps
                placed = group.layout.put_batch_on_devices(batch, 3)
                state, metrics = trainer.train_chunk(state, trainer.shared, placed, real_S, hyper)
                if item.is_last:
                    np.asarray(metrics['loss'])
                    if began:
                        seconds.append(time.perf_counter() - began)
                    began = time.perf_counter()
            return seconds

        seen = {name: [] for name in trainers}
        for _ in range(options.repeats):
            for name in trainers:
                seen[name].append(statistics.median(epochs(name)))
    at = {name: statistics.median(v) for name, v in seen.items()}
    ratio = statistics.median(r / s for r, s in zip(seen['resident'], seen['streaming']))
    facts = {
        'steps': task.steps_per_epoch,
        'runs': options.runs,
        'seconds_per_epoch': {k: round(v, 3) for k, v in at.items()},
    }
    print(json.dumps(facts | {'speed_of_streaming': round(ratio, 3)}))


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
    prepared(options) if options.what == 'prepare' else fed(options)


if __name__ == '__main__':
    main()
