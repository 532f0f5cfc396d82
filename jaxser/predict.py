"""Predicts emotions from speech with the model of a finished sweep, in files or a live stream.

  python -m jaxser.predict --workdir runs/dann_demo [--format table|csv|jsonl] PATH ...
  arecord -q -t raw -f S16_LE -r 16000 |
      python -m jaxser.predict --workdir runs/dann_demo --rate 16000 -

A PATH is an audio file or a folder of them. A file of up to 30 s is one utterance, as in training.
A longer one is cut into windows of --window seconds, one every --hop seconds. Each window is
predicted as an utterance, and the posterior of the file is their mean. A stream is predicted once a
second, from its last --window seconds. The posterior is the mean over the runs of the model
(jaxser/bundle.py), each calibrated by a temperature that was fitted on dev. The exit status is 1 if
a file could not be predicted, and 2 if nothing could.

A model on a pretrained encoder needs that encoder: a frozen one computes the features of all runs;
a fine-tuned one is changed by each run. It is looked for in the model's folder, then where it was
during preparation or training; --upstream names another Hugging Face folder. A window may not be
longer than the encoder's limit: nothing is cut off.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from data_pipelines.errors import exit_on_user_error
from data_pipelines.features.decode import SAMPLE_RATE_RANGE
from data_pipelines.wording import pluralize
from jaxser import distributed
from jaxser.serving.output import FORMATS, format_predictions, track_failures
from jaxser.serving.pcm import MAX_CHANNELS, PCM_ENCODINGS
from jaxser.serving.predictor import (
    HOP_SECONDS,
    MAX_UTTERANCE_SECONDS,
    WINDOW_SECONDS,
    load_predictor,
)
from jaxser.serving.recordings import expand_folder


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Returns the command line; exits with a message if its flags contradict each other."""
    parser = _make_parser()
    parsed = parser.parse_args(arguments)
    if '-' in parsed.paths:
        _check_stream(parser, parsed)
    for flag in ('rate', 'encoding', 'channels'):
        if '-' not in parsed.paths and getattr(parsed, flag) is not None:
            parser.error(f'--{flag} is for standard input (the path -); files have their own.')
    if parsed.hop is None:
        parsed.hop = min(HOP_SECONDS, parsed.window)
    parsed.encoding = parsed.encoding or 's16le'
    parsed.channels = parsed.channels or 1
    return parsed


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.predict',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    workdir_help = 'the workdir of a finished sweep, or a copy of its folder model/'
    add('--workdir', required=True, help=workdir_help)
    paths_help = 'an audio file, a folder, or - for raw PCM from standard input'
    add('paths', nargs='+', metavar='PATH', help=paths_help)
    add('--format', choices=FORMATS, default='table', help='of the output (default %(default)s)')
    window_help = 'length of a window in seconds (default %(default)g)'
    add('--window', type=float, default=WINDOW_SECONDS, help=window_help)
    hop_help = (
        f'seconds between windows, in files longer than {MAX_UTTERANCE_SECONDS:g} s (default '
        f'{HOP_SECONDS:g}, or the window if that is shorter)'
    )
    add('--hop', type=float, help=hop_help)
    add('--upstream', help='Hugging Face folder of the pretrained encoder, if it has been moved')
    add('--rate', type=int, help='sample rate of standard input in Hz')
    add('--encoding', choices=PCM_ENCODINGS, help='of standard input (default s16le)')
    add('--channels', type=int, help='of standard input, interleaved (default 1)')
    return parser


def _check_stream(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    lowest, highest = SAMPLE_RATE_RANGE
    if len(parsed.paths) > 1:
        parser.error('- is standard input; it cannot be combined with files.')
    if parsed.rate is None:
        parser.error('Raw PCM has no header: give its rate, e.g. --rate 16000.')
    if not lowest <= parsed.rate <= highest:
        parser.error(f'--rate is {parsed.rate}; expected {lowest} to {highest} Hz.')
    if parsed.channels is not None and not 1 <= parsed.channels <= MAX_CHANNELS:
        parser.error(f'--channels is {parsed.channels}; expected 1 to {MAX_CHANNELS}.')


def _expand_folders(paths: list[str]) -> list[Path]:
    """Returns the audio files that are named, and those in the folders that are named."""
    files = []
    for path in paths:
        files += expand_folder(Path(path))
    return files


def main() -> None:
    """Parses the command line, predicts, and prints the predictions."""
    arguments = parse_arguments()
    distributed.configure_jax()
    sys.stdout.reconfigure(errors='backslashreplace')  # the name of a file may be any bytes
    paths = arguments.paths
    failed = []
    with exit_on_user_error():
        predictor = load_predictor(
            arguments.workdir, arguments.window, arguments.hop, arguments.upstream
        )
        for note in predictor.notes:
            print(note, file=sys.stderr)
        if paths == ['-']:
            predictions = predictor.predict_stream(
                sys.stdin.buffer, arguments.rate, arguments.encoding, arguments.channels
            )
        else:
            paths = _expand_folders(paths)
            predictions = predictor.predict_files(paths)
        predictions = track_failures(predictions, failed, len(paths))
        for line in format_predictions(predictions, arguments.format, predictor.classes):
            with tqdm.external_write_mode():
                print(line, flush=True)
    if failed:
        total = pluralize(len(paths), 'file')
        print(f'{len(failed)} of {total} could not be predicted.', file=sys.stderr)
        sys.exit(1)


if __name__ == '__main__':
    main()
