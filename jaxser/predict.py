"""What a finished sweep's model says of speech: a posterior over emotions for each file, or for every second of a stream.

  python -m jaxser.predict --workdir runs/dann_demo [--format table|csv|jsonl] PATH ...     files, and folders of them
  arecord -q -t raw -f S16_LE -r 16000 | python -m jaxser.predict --workdir runs/dann_demo --rate 16000 -

A file of up to 30 s is one utterance, as in training. A longer one is cut into windows of --window seconds, one every --hop, each
predicted as an utterance of its own; its posterior is their mean. A stream is answered once a second, about its last --window
seconds. The posterior is the mean over the model's runs (jaxser/bundle.py), each by the temperature fitted on dev. The status is
1 where a file could not be answered, and 2 where nothing could be.

A model over a pretrained encoder hears by it: over a frozen one once for all its runs, over a fine-tuned one each run by its own
changes to the same weights. The encoder is carried beside the model, or where it was in preparing or training, or in the Hugging
Face folder that --upstream names. No window is longer than what a Whisper hears: nothing is cut off.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from data_pipelines.errors import exit_on_user_error
from data_pipelines.features import decode
from data_pipelines.progress import progress_bar
from data_pipelines.wording import pluralize
from jaxser import distributed
from jaxser.serving.output import FORMATS, format_answers
from jaxser.serving.predictor import (
    HOP_SECONDS,
    MAX_CHANNELS,
    MAX_UTTERANCE_SECONDS,
    PCM_ENCODINGS,
    WINDOW_SECONDS,
    find_audio_files,
    load_predictor,
)

MIN_FILES_FOR_PROGRESS = 10  # files, from which on a bar says how far it is


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; leaves with a sentence where it makes no sense."""
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.predict',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--workdir', required=True, help='of a finished sweep, or a copy of its folder model/'
    )
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='PATH',
        help='an audio file, a folder, or - for raw PCM from standard input',
    )
    parser.add_argument('--format', choices=FORMATS, default='table')
    parser.add_argument(
        '--window', type=float, default=WINDOW_SECONDS, help='seconds (default %(default)g)'
    )
    parser.add_argument(
        '--hop',
        type=float,
        default=None,
        help=f'seconds, of files longer than {MAX_UTTERANCE_SECONDS:g} s (default {HOP_SECONDS:g}, or the window if that is shorter)',
    )
    parser.add_argument(
        '--upstream',
        help='the Hugging Face folder of the pretrained encoder, if it has moved since preparing',
    )
    parser.add_argument('--rate', type=int, help='Hz, of standard input')
    parser.add_argument(
        '--encoding', choices=PCM_ENCODINGS, help='of standard input (default s16le)'
    )
    parser.add_argument('--channels', type=int, help='of standard input, interleaved (default 1)')
    asked = parser.parse_args(arguments)
    given = [k for k in ('rate', 'encoding', 'channels') if getattr(asked, k) is not None]
    asked.hop = min(HOP_SECONDS, asked.window) if asked.hop is None else asked.hop
    asked.encoding = asked.encoding or 's16le'
    asked.channels = 1 if asked.channels is None else asked.channels
    if '-' not in asked.paths:
        if given:
            parser.error(
                f'--{given[0]} is of standard input, which is asked for by -; files say theirs themselves.'
            )
    elif len(asked.paths) > 1:
        parser.error('- is standard input, which is read alone, without files.')
    elif asked.rate is None:
        parser.error('raw PCM does not say its rate: give --rate, e.g. --rate 16000.')
    elif not decode.SAMPLE_RATE_RANGE[0] <= asked.rate <= decode.SAMPLE_RATE_RANGE[1]:
        parser.error(
            f'--rate is {asked.rate}; expected {decode.SAMPLE_RATE_RANGE[0]} to {decode.SAMPLE_RATE_RANGE[1]} Hz.'
        )
    elif not 1 <= asked.channels <= MAX_CHANNELS:
        parser.error(f'--channels is {asked.channels}; expected 1 to {MAX_CHANNELS}.')
    return asked


def track_failures(answers: Iterable[dict], failed: list[dict], count: int) -> Iterator[dict]:
    """The answers as they pass, files without one remembered."""
    with (
        progress_bar(total=count, unit='file')
        if count >= MIN_FILES_FOR_PROGRESS
        else contextlib.nullcontext() as bar
    ):
        for answer in answers:
            if 'error' in answer:
                failed.append(answer)
            if bar:
                bar.update()
            yield answer


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    asked = parse_arguments()
    distributed.configure_jax()
    sys.stdout.reconfigure(errors='backslashreplace')  # a file's name may be any bytes
    paths, failed = [], []
    with exit_on_user_error():
        model = load_predictor(asked.workdir, asked.window, asked.hop, asked.upstream)
        print(*model.notes, sep='\n', end='\n' * bool(model.notes), file=sys.stderr)
        if asked.paths == ['-']:
            paths = asked.paths
            found = model.predict_stream(
                sys.stdin.buffer, asked.rate, asked.encoding, asked.channels
            )
        else:
            paths = [p for path in asked.paths for p in find_audio_files(Path(path))]
            found = model.predict_files(paths)
        for line in format_answers(
            track_failures(found, failed, len(paths)), asked.format, model.classes
        ):
            with tqdm.external_write_mode():
                print(line, flush=True)
    if failed:
        print(
            f'{len(failed)} of {pluralize(len(paths), "file")} without an answer.', file=sys.stderr
        )
        sys.exit(1)


if __name__ == '__main__':
    main()
