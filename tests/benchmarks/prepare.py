"""Compares the speed of preparing, without start-up, with a plain librosa loop on one core.

  python tests/benchmarks/prepare.py NAME --source PATH [--utterances 2000] [--workers 2]
                                     [--repeats 5]

The measurement begins when a tenth of the utterances is finished, and ends with the last byte of
the shards. The plain loop reads a tenth of the same files and computes their log-mel frames with
one thread. Both take turns, and the ratio is the median of the turns' ratios. If others use the
machine too, they slow the two workers down more than the loop. Processor time is therefore
measured as well: `ratio_of_processor_time` is the ratio on cores that nobody else uses.
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
from typing import NamedTuple


class Rates(NamedTuple):
    """Utterances per second, and per second of processor time."""

    per_second: float
    per_processor_second: float


def processor_seconds() -> float:
    """Returns the processor time of this process and its running workers, in seconds."""
    ticks = 0
    for process in multiprocessing.active_children():
        stat = Path(f'/proc/{process.pid}/stat').read_text()
        fields = stat.rsplit(')', 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf('SC_CLK_TCK')


def measure_prepare(utterances: list, corpus, workers: int) -> Rates:
    """Prepares the utterances with the worker processes and the writer together."""
    from data_pipelines.features.decode import Rejection
    from data_pipelines.features.log_mel import LogMel
    from data_pipelines.storage import builder, schema
    from data_pipelines.storage.workers import run_workers

    spec = LogMel()
    skipped = len(utterances) // 10
    start = {}

    def examples(results):
        for n, (utterance, result) in enumerate(results):
            if n == skipped:
                start['seconds'] = time.perf_counter()
                start['processor'] = processor_seconds()
            if not isinstance(result, Rejection):
                yield schema.label_columns(utterance) | result

    with tempfile.TemporaryDirectory() as out, run_workers(utterances, spec, workers) as results:
        builder.write_shards(corpus, spec, examples(results), Path(out))
        seconds = time.perf_counter() - start['seconds']
        processor = processor_seconds() - start['processor']
    count = len(utterances) - skipped
    return Rates(count / seconds, count / processor)


def measure_loop(utterances: list) -> Rates:
    """Reads the utterances with soundfile and computes log-mel frames with librosa."""
    import librosa
    import numpy as np
    import soundfile

    began = time.perf_counter()
    processor_began = time.process_time()
    for utterance in utterances:
        wave, rate = soundfile.read(utterance.path, dtype='float32')
        power = librosa.feature.melspectrogram(
            y=wave, sr=rate, n_fft=512, win_length=400, hop_length=160, n_mels=64, fmin=20
        )
        np.log(np.maximum(power, 1e-10))
    seconds = time.perf_counter() - began
    processor = time.process_time() - processor_began
    return Rates(len(utterances) / seconds, len(utterances) / processor)


def take_turns(ours: Callable[[], Rates], loop: Callable[[], Rates], repeats: int) -> tuple:
    """Returns the rates of both as arrays with a row per turn.

    The loop runs before and after each turn, and the two are averaged. A machine that is slower for
    a while is then slower for both.
    """
    import numpy as np

    our_rates = []
    loop_rates = [loop()]
    for _ in range(repeats):
        our_rates.append(ours())
        loop_rates.append(loop())
    loop_rates = np.array(loop_rates)
    return np.array(our_rates), (loop_rates[:-1] + loop_rates[1:]) / 2


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('name', metavar='NAME', help='a corpus, or `folder` for a CSV')
    parser.add_argument('--source', required=True)
    parser.add_argument('--utterances', type=int, default=2000)
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    parser.add_argument('--repeats', type=int, default=5)
    return parser


def main() -> None:
    """Parses the command line and prints one JSON object."""
    options = make_parser().parse_args()
    sys.path.insert(0, str(Path(__file__).parent.parent.parent))
    import librosa
    import numpy as np
    import threadpoolctl

    from data_pipelines import corpora

    corpus = corpora.load_corpus(options.name)
    utterances = corpus.walk(Path(options.source))[: options.utterances]
    with threadpoolctl.threadpool_limits(1):
        measure_loop(utterances)  # brings all files into memory
        ours, loop = take_turns(
            lambda: measure_prepare(utterances, corpus, options.workers),
            lambda: measure_loop(utterances[::10]),
            options.repeats,
        )
    ratio, processor_ratio = np.median(ours / loop, axis=0).tolist()
    facts = {
        'utterances': len(utterances),
        'workers': options.workers,
        'cores': os.cpu_count(),
        'prepare_per_second': ours[:, 0].round(1).tolist(),
        'plain_loop_per_second': loop[:, 0].round(1).tolist(),
        'ratio': round(ratio, 2),
        'ratio_of_processor_time': round(processor_ratio * os.cpu_count(), 2),
        'goal': 0.8 * os.cpu_count(),
        'python': platform.python_version(),
        'librosa': librosa.__version__,
        'numpy': np.__version__,
        'load': os.getloadavg()[0],
    }
    print(json.dumps(facts))


if __name__ == '__main__':
    main()
