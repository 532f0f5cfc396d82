"""Measures the search for near duplicates: seconds, memory, growth, and recall.

  python tests/benchmarks/near_duplicates.py [--sizes 1000 10000 100000 1000000]
      [--kinds varied equal cluster zeros] [--packed DATA/NAME/FILE.npz ...] [--recall 30000]
      [--copies 200000] [--folds 2000]

Each size and kind is searched in a process of its own, without anything stored. Signatures are
those of the stand-in of MSP-Podcast (stand_in.py): `varied` in length, or all of `equal` length, so
that no pair differs by its length. `cluster` has one recording of noise in very many copies, of
which no two are equal, and `zeros` signatures of zeros; both are searched up to 100,000 signatures.
The memory is the peak of the process minus what it had before the search. `exponent` is the slope
of log seconds against log signatures, over all sizes and from each to the next; seconds of the
processor do not depend on what else runs on the machine.

Recall: the pairs that hashing finds beside those of comparing all, among so many signatures of
which half are copies of the others with a similarity from 0.96 to 1; also of packed corpora, of
whose signatures such copies are made.

Copies: the seconds that the audit, --duplicates and --drop_copies take where half of the utterances
are copies, `find_recordings` with the search.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from stand_in import signatures, text_columns

from data_pipelines.features import signature_search
from data_pipelines.features.signature import SIGNATURE_SIZE
from data_pipelines.protocols import audit, duplicates, recordings
from data_pipelines.protocols.folds import Fold
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.storage.schema import Utterances

KINDS = ('varied', 'equal', 'cluster', 'zeros')
MAX_SPECIAL = 100_000  # signatures of cluster and zeros
DIFFERENT_FOLDS = 20  # of speakers, in the measurement of copies
CLUSTER_NOISE = 0.15  # its norm


def make_signatures(kind: str, count: int) -> np.ndarray:
    """Returns `count` signatures of a kind."""
    random = np.random.default_rng(0)
    if kind in ('varied', 'equal'):
        return signatures(random, count, equal_lengths=kind == 'equal')
    signature_NxS = np.zeros((count, SIGNATURE_SIZE), np.float32)
    if kind == 'cluster':
        centre_S = random.normal(size=SIGNATURE_SIZE - 1)
        centre_S /= np.linalg.norm(centre_S)
        noise_NxS = random.standard_normal((count, SIGNATURE_SIZE - 1), dtype=np.float32)
        signature_NxS[:, 1:] = centre_S + noise_NxS * CLUSTER_NOISE / np.sqrt(SIGNATURE_SIZE)
        signature_NxS[:, 1:] /= np.linalg.norm(signature_NxS[:, 1:], axis=1, keepdims=True)
    signature_NxS[:, 0] = 300
    return signature_NxS.astype(np.float16)


def measure_search(file: str) -> dict:
    """Returns the seconds and the memory of a search, in this process."""
    signature_NxS = np.load(file)
    signature_search.find_near_duplicates(signature_NxS[:1000])  # the libraries are loaded
    before_kib = peak_kib()
    processor = time.process_time()
    start = time.perf_counter()
    near_Px2 = signature_search.find_near_duplicates(signature_NxS)
    seconds = time.perf_counter() - start
    return {
        'seconds': round(seconds, 3),
        'processor_seconds': round(time.process_time() - processor, 3),
        'extra_GiB': round((peak_kib() - before_kib) / 2**20, 3),
        'pairs': len(near_Px2),
    }


def peak_kib() -> int:
    """Returns the largest memory of this process so far (Linux)."""
    # Unlike ru_maxrss, it does not begin with the memory of the parent process.
    status = Path('/proc/self/status').read_text()
    return int(re.search(r'VmHWM:\s+(\d+)', status)[1])


def measure_kind(kind: str, sizes: list[int]) -> dict:
    """Returns the measurements of `measure_search` for each size, and the exponents."""
    measured = {}
    for size in sizes:
        if kind in ('cluster', 'zeros') and size > MAX_SPECIAL:
            continue
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / 'signatures.npy'
            np.save(file, make_signatures(kind, size))
            command = [sys.executable, __file__, '--search', str(file)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        measured[size] = json.loads(output)
        print(f'{kind} {size}: {measured[size]}', file=sys.stderr, flush=True)
    result: dict = {'sizes': measured}
    for key in ('seconds', 'processor_seconds'):
        values = [measured[size][key] for size in measured]
        if len(values) > 1:
            result[f'exponent_{key}'] = exponents(list(measured), values)
    return result


def exponents(sizes: list[int], seconds: list[float]) -> dict:
    """Returns the slope of log seconds against log size, over all sizes and for each step."""
    log_sizes = np.log(sizes)
    log_seconds = np.log(seconds)
    steps = np.diff(log_seconds) / np.diff(log_sizes)
    overall = np.polyfit(log_sizes, log_seconds, 1)[0]
    return {'all': round(float(overall), 2), 'steps': np.round(steps, 2).tolist()}


def measure_recall(signature_NxS: np.ndarray) -> dict:
    """Returns how many near duplicates hashing finds, of those that comparing all finds.

    A copy is added to each signature, with a similarity from 0.96 to 1.
    """
    random = np.random.default_rng(0)
    grid_NxS = signature_NxS[:, 1:].astype(float)
    noise_NxS = random.normal(size=grid_NxS.shape)
    noise_NxS -= (noise_NxS * grid_NxS).sum(axis=1, keepdims=True) * grid_NxS
    noise_NxS /= np.linalg.norm(noise_NxS, axis=1, keepdims=True)
    cosine_Nx1 = random.uniform(signature_search.COPY_SIMILARITY, 1, (len(grid_NxS), 1))
    copy_NxS = cosine_Nx1 * grid_NxS + np.sqrt(1 - cosine_Nx1**2) * noise_NxS
    copy_NxS = np.concatenate([signature_NxS[:, :1], copy_NxS], axis=1).astype(np.float16)
    both_NxS = np.concatenate([signature_NxS, copy_NxS])
    pairs = {}
    for search, limit in (('all', len(both_NxS)), ('hashed', 0)):
        with mock.patch.multiple(signature_search, MAX_COMPARED=limit, COMPARE_COST=np.inf):
            near_Px2 = signature_search.find_near_duplicates(both_NxS)
        pairs[search] = set(map(tuple, near_Px2.tolist()))
    missed = pairs['all'] - pairs['hashed']
    return {
        'signatures': len(both_NxS),
        'pairs': len(pairs['all']),
        'missed': len(missed),
        'false': len(pairs['hashed'] - pairs['all']),
        'recall': round(1 - len(missed) / len(pairs['all']), 6),
    }


def utterances_with_copies(count: int) -> Utterances:
    """Returns utterances of which half are copies of the one before, identical or nearly so."""
    random = np.random.default_rng(0)
    speaker_N = np.sort(random.integers(0, DIFFERENT_FOLDS, count))
    text = text_columns(random, count, speaker_N, random.integers(0, 9, count))
    number_N = np.arange(count)
    number_N[1 : count // 2 : 2] -= 1  # identical to the one before
    text['sha256'] = np.char.zfill(number_N.astype(str), 64)
    signature_NxS = signatures(random, count)[number_N]
    source_C = np.arange(count // 2 + 1, count - 1, 2)  # nearly identical to the next
    signature_NxS[source_C + 1] = signature_NxS[source_C]
    noise_CxS = random.standard_normal((len(source_C), SIGNATURE_SIZE - 1), dtype=np.float32)
    signature_NxS[source_C + 1, 1:] += (0.1 / np.sqrt(SIGNATURE_SIZE) * noise_CxS).astype(
        np.float16
    )
    zero_N = np.zeros(count, int)
    zero_Nx1 = np.zeros((count, 1))
    return Utterances(
        text,
        rating_NxA=zero_Nx1,
        frames_N=zero_N,
        mean_NxM=zero_Nx1,
        variance_NxM=zero_Nx1,
        signature_NxS=signature_NxS,
        file_N=zero_N,
        offset_N=zero_N,
        length_N=zero_N,
        files=[],
    )


def measure_copies(count: int, num_folds: int) -> dict:
    """Returns the seconds of what the audit does with copies, where half of the data are copies.

    One speaker is tested in each fold; the folds repeat after DIFFERENT_FOLDS.
    """
    utterances = utterances_with_copies(count)
    rows = np.arange(count)
    folds = []
    speaker_N = utterances.text['speaker'].astype(int)
    for speaker in range(DIFFERENT_FOLDS):
        is_tested_N = speaker_N == speaker
        folds.append(Fold(speaker, str(speaker), rows[~is_tested_N], rows[:0], rows[is_tested_N]))
    folds = [folds[number % DIFFERENT_FOLDS] for number in range(num_folds)]
    pairs = audit.compared_parts(Protocol())
    seconds = {}

    def timed(function, *arguments):
        start = time.perf_counter()
        result = function(*arguments)
        seconds[function.__name__] = round(time.perf_counter() - start, 2)
        return result

    all_recordings = timed(recordings.find_recordings, utterances, rows)
    timed(recordings.shared_recordings, utterances, folds, pairs, all_recordings)
    listed = timed(duplicates.list_duplicates, utterances, folds, pairs, rows)
    _, dropped = timed(duplicates.drop_copies, utterances, Protocol())
    counts = {'utterances': count, 'folds': num_folds}
    counts |= {'listed': len(listed), 'dropped': len(dropped.rows)}
    return counts | {'seconds': seconds}


def main() -> None:
    """Parses the command line and prints the measurements as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = [1_000, 10_000, 30_000, 100_000, 200_000, 1_000_000]
    parser.add_argument('--sizes', type=int, nargs='*', default=sizes)
    parser.add_argument('--kinds', nargs='*', choices=KINDS, default=KINDS)
    parser.add_argument('--recall', type=int, default=30_000, help='signatures, copies included')
    parser.add_argument('--packed', nargs='*', default=[], help='packed corpora')
    parser.add_argument('--copies', type=int, default=200_000, help='utterances, half are copies')
    parser.add_argument('--folds', type=int, default=2_000, help='of the measurement of copies')
    parser.add_argument('--search', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        print(json.dumps(measure_search(options.search)))
        return
    result: dict = {
        'machine': f'{platform.machine()}, {os.cpu_count()} CPUs',
        'versions': {'python': platform.python_version(), 'numpy': np.__version__},
    }
    for kind in options.kinds:
        result[kind] = measure_kind(kind, options.sizes)
    if options.recall:
        result['recall'] = {}
        for kind in ('varied', 'equal'):
            stand_in = make_signatures(kind, options.recall // 2)
            result['recall'][kind] = measure_recall(stand_in)
    if options.packed:
        columns = [np.load(file)['signature_NxS'] for file in options.packed]
        result['recall_packed'] = measure_recall(np.concatenate(columns))
    if options.copies:
        result['copies'] = measure_copies(options.copies, options.folds)
    print(json.dumps(result, indent=2))


if __name__ == '__main__':
    main()
