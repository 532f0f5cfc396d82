"""Writes the stand-in of MSP-Podcast as shards, and measures how fast they are read.

python tests/benchmarks/reading.py shards PACKED_DIR DATA_DIR     from stand_in.py's .npz
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from stand_in import CORPUS

from data_pipelines import corpora
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import builder, dataset, npz, prepared, schema, shards


def read_examples(packed: Path) -> Iterator[dict]:
    """Yields the examples of a packed corpus, as `builder.write_shards` takes them."""
    utterances = npz.read_columns(packed)
    mel_RxM = dataset.read_all_features(utterances)
    for n in range(len(utterances)):
        example = {key: str(column[n]) for key, column in utterances.text.items()}
        for key, rating in zip(schema.RATING_COLUMNS, utterances.rating_NxA[n]):
            example[key] = rating
        for key, fact in zip(schema.AUDIO_FACTS, utterances.audio_facts_NxF[n]):
            example[key] = fact
        start, frames = utterances.offset_N[n], utterances.frames_N[n]
        yield example | {
            'mel_TxM': mel_RxM[start : start + frames],
            'frames': frames,
            'mean_M': utterances.mean_NxM[n],
            'variance_M': utterances.variance_NxM[n],
            'signature_S': utterances.signature_NxS[n],
        }


def write_sharded(packed_dir: Path, data_dir: Path) -> Path:
    """Writes the packed stand-in as shards; returns their folder."""
    packed = npz.npz_path(packed_dir, CORPUS, LogMel())
    corpus = corpora.load_corpus(CORPUS)
    folder = builder.write_shards(corpus, LogMel(), read_examples(packed), data_dir)
    shards.write_columns(folder)
    record = npz.read_record(packed) | {'corpus': CORPUS, 'source': str(packed)}
    (folder / prepared.RECORD_FILE).write_text(json.dumps(record))
    return folder


def main() -> None:
    """Parses the command line and prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('what', choices=('shards',))
    parser.add_argument('packed_dir', type=Path)
    parser.add_argument('data_dir', type=Path)
    options = parser.parse_args()
    print(write_sharded(options.packed_dir, options.data_dir))


if __name__ == '__main__':
    main()
