"""Preparing in steady state: utterances a second, start-up left out, beside a plain librosa loop on one core.

  python tests/benchmarks/prepare.py NAME --source PATH [--utterances 2000] [--workers 2] [--repeats 5]

Counted from the tenth of the utterances that is done first to the last byte of the shards. The plain loop reads a tenth of the
same files and computes their log-mel frames with one thread; both take turns, and the ratio is the median of the turns' ratios.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def steady(utterances: list, corpus, workers: int) -> float:
    """Utterances a second that the worker processes and the writer get done together."""
    from data_pipelines import builder
    from data_pipelines.log_mel import LogMel, Rejected

    began, spec = [], LogMel()

    def examples(results):
        for n, (u, result) in enumerate(results):
            if n == len(utterances) // 10:
                began.append(time.perf_counter())
            if not isinstance(result, Rejected):
                yield builder.labels(u) | result

    with tempfile.TemporaryDirectory() as place, builder.computed(utterances, spec, workers) as results:
        builder.write(corpus, spec, examples(results), Path(place))
        return (len(utterances) - len(utterances) // 10) / (time.perf_counter() - began[0])


def plain(utterances: list) -> float:
    """Utterances a second of soundfile and librosa in a loop."""
    import librosa
    import numpy as np
    import soundfile

    began = time.perf_counter()
    for u in utterances:
        wave, rate = soundfile.read(u.path, dtype='float32')
        power = librosa.feature.melspectrogram(y=wave, sr=rate, n_fft=512, win_length=400, hop_length=160, n_mels=64, fmin=20)
        np.log(np.maximum(power, 1e-10))
    return len(utterances) / (time.perf_counter() - began)


def turns(one: Callable[[], float], other: Callable[[], float], repeats: int) -> tuple[list[float], list[float]]:
    """Both in turns, `other` before and after each, so that a machine that is slower for a while is slower for both."""
    ours, theirs, before = [], [], other()
    for _ in range(repeats):
        ours.append(one())
        after = other()
        theirs.append((before + after) / 2)
        before = after
    return ours, theirs


def main() -> None:
    """Parses the command line and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', metavar='NAME', help='a corpus, or `folder` for a CSV')
    parser.add_argument('--source', required=True)
    parser.add_argument('--utterances', type=int, default=2000)
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    parser.add_argument('--repeats', type=int, default=5)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent.parent.parent))
    import librosa
    import numpy as np
    import threadpoolctl

    from data_pipelines import corpora

    corpus = corpora.load(options.name)
    utterances = corpus.walk(Path(options.source))[: options.utterances]
    with threadpoolctl.threadpool_limits(1):
        plain(utterances)  # so that all files are in memory
        ours, theirs = turns(
            lambda: steady(utterances, corpus, options.workers), lambda: plain(utterances[::10]), options.repeats
        )
    facts = {
        'utterances': len(utterances),
        'workers': options.workers,
        'cores': os.cpu_count(),
        'prepare_per_second': [round(r, 1) for r in ours],
        'plain_loop_per_second': [round(r, 1) for r in theirs],
        'ratio': round(statistics.median(a / b for a, b in zip(ours, theirs)), 2),
        'goal': 0.8 * os.cpu_count(),
        'python': platform.python_version(),
        'librosa': librosa.__version__,
        'numpy': np.__version__,
        'load': os.getloadavg()[0],
    }
    print(json.dumps(facts))


if __name__ == '__main__':
    main()
