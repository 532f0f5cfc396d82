"""Preparing in steady state: utterances a second, start-up left out, beside a plain librosa loop on one core.

  python tests/benchmarks/prepare.py NAME --source PATH [--utterances 2000] [--workers 2] [--repeats 5]

Counted from the tenth of the utterances that is done first to the last byte of the shards. The plain loop reads a tenth of the
same files and computes their log-mel frames with one thread; both take turns, and the ratio is the median of the turns' ratios.
On a machine that others use too, the loop loses less to them than two workers do, so the processor time that both need is counted
as well: `ratio_of_processor_time` is what the ratio would be on cores of one's own.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def spent() -> float:
    """Seconds of processor time of this process and the workers that run now."""
    fields = [
        Path(f'/proc/{p.pid}/stat').read_text().rsplit(')', 1)[1].split()
        for p in multiprocessing.active_children()
    ]
    return time.process_time() + sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf(
        'SC_CLK_TCK'
    )


def steady(utterances: list, corpus, workers: int) -> tuple[float, float]:
    """Utterances that the worker processes and the writer get done together, in a second and in a second of processor time."""
    from data_pipelines.features.decode import Rejection
    from data_pipelines.features.log_mel import LogMel
    from data_pipelines.storage import builder, schema
    from data_pipelines.storage.workers import run_workers

    began, spec = [], LogMel()

    def examples(results):
        for n, (u, result) in enumerate(results):
            if n == len(utterances) // 10:
                began[:] = time.perf_counter(), spent()
            if not isinstance(result, Rejection):
                yield schema.label_columns(u) | result

    with tempfile.TemporaryDirectory() as place, run_workers(utterances, spec, workers) as results:
        builder.write_shards(corpus, spec, examples(results), Path(place))
        done = len(utterances) - len(utterances) // 10
        return done / (time.perf_counter() - began[0]), done / (spent() - began[1])


def plain(utterances: list) -> tuple[float, float]:
    """Utterances of soundfile and librosa in a loop, in a second and in a second of processor time."""
    import librosa
    import numpy as np
    import soundfile

    began = time.perf_counter(), time.process_time()
    for u in utterances:
        wave, rate = soundfile.read(u.path, dtype='float32')
        power = librosa.feature.melspectrogram(
            y=wave, sr=rate, n_fft=512, win_length=400, hop_length=160, n_mels=64, fmin=20
        )
        np.log(np.maximum(power, 1e-10))
    return len(utterances) / (time.perf_counter() - began[0]), len(utterances) / (
        time.process_time() - began[1]
    )


def turns(one: Callable, other: Callable, repeats: int) -> tuple:
    """Both in turns, `other` before and after each, so that a machine that is slower for a while is slower for both."""
    import numpy as np

    ours, theirs = [], [other()]
    for _ in range(repeats):
        ours.append(one())
        theirs.append(other())
    return np.array(ours), (np.array(theirs[:-1]) + theirs[1:]) / 2


def main() -> None:
    """Parses the command line and prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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

    corpus = corpora.load_corpus(options.name)
    utterances = corpus.walk(Path(options.source))[: options.utterances]
    with threadpoolctl.threadpool_limits(1):
        plain(utterances)  # so that all files are in memory
        ours, theirs = turns(
            lambda: steady(utterances, corpus, options.workers),
            lambda: plain(utterances[::10]),
            options.repeats,
        )
    facts = {
        'utterances': len(utterances),
        'workers': options.workers,
        'cores': os.cpu_count(),
        'prepare_per_second': ours[:, 0].round(1).tolist(),
        'plain_loop_per_second': theirs[:, 0].round(1).tolist(),
        'ratio': round(float(np.median(ours[:, 0] / theirs[:, 0])), 2),
        'ratio_of_processor_time': round(
            float(np.median(ours[:, 1] / theirs[:, 1])) * os.cpu_count(), 2
        ),
        'goal': 0.8 * os.cpu_count(),
        'python': platform.python_version(),
        'librosa': librosa.__version__,
        'numpy': np.__version__,
        'load': os.getloadavg()[0],
    }
    print(json.dumps(facts))


if __name__ == '__main__':
    main()
