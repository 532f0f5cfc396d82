"""Predicts emotions or ratings with the model of a finished sweep, in files or a live stream.

  python -m jaxser.predict --workdir runs/dann_demo [--format table|csv|jsonl] PATH ...
  arecord -q -t raw -f S16_LE -r 16000 |
      python -m jaxser.predict --workdir runs/dann_demo --rate 16000 -

A PATH is an audio file or a folder of them. A file of up to 30 s is one utterance, as in training.
A longer one is cut into windows of --window seconds, one every --hop seconds. Each window is
predicted as an utterance, and the posterior of the file is their mean. A stream is predicted once a
second, from its last --window seconds. The posterior is the mean over the runs of the model
(jaxser/bundle.py), each calibrated by a temperature that was fitted on dev. The exit status is 1 if
a file could not be predicted, and 2 if the command was refused.

A model that was trained with config.task=ratings predicts arousal, valence and dominance (those of
config.data.ratings) in place of the posterior. They are numbers from -1 to 1, the ends of the
raters' scale. They are averaged in the same way, and are not calibrated. A model that was trained
with config.task=emotion+ratings predicts both.

A model on a pretrained encoder needs that encoder: a frozen one computes the features of all runs;
a fine-tuned one is changed by each run. It is looked for in the model's folder, then where it was
during preparation or training; --upstream names another Hugging Face folder. A window may not be
longer than the encoder's limit: nothing is cut off.

A model that was trained with config.data.normalise=speaker_enrolled predicts a speaker better if a
few recordings of the speaker are enrolled. They need no labels:

  ... PATH ... --enrol RECORDING_OR_FOLDER ...      one speaker, who speaks in all PATHs
  ... --enrol FOLDER --save_enrolment me.safetensors
  ... PATH ... --enrol me.safetensors
  ... FOLDER --enrol-by folder         the folder that directly contains a file is its speaker; the
                                       other files of the folder are enrolled
  ... - --rate 16000 --enrol stream    every --window seconds, the window of the stream that has
                                       just ended is enrolled once, if it has sound

Eight utterances or more, of several emotions, are best. Recordings of more than 30 s are cut into
windows of --window seconds: choose about the length of the training utterances, in a stream too.
What is silent or shorter than a second is not enrolled, and listed. Enrol one person only, not a
call of two. Answers with enrolment are transductive: unlabelled speech of the speaker is used.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.features.rejection import SAMPLE_RATE_RANGE
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize
from jaxser import distributed
from jaxser.serving.enrolment import (
    FILE_SUFFIX,
    TRANSDUCTIVE_NOTE,
    RunningEnrolment,
    SpeakerEnrolment,
    check_can_enrol,
    is_saved_enrolment,
    load_enrolment,
)
from jaxser.serving.model import refuse_damaged_facts
from jaxser.serving.output import (
    FORMATS,
    describe_change,
    format_predictions,
    one_line,
    track_failures,
)
from jaxser.serving.pcm import MAX_CHANNELS, PCM_ENCODINGS
from jaxser.serving.predictor import (
    HOP_SECONDS,
    MAX_UTTERANCE_SECONDS,
    WINDOW_SECONDS,
    Predictor,
    check_channel,
    check_windows,
    load_predictor,
)
from jaxser.serving.recordings import list_folder
from jaxser.serving.setting import describe_networks

MAX_LISTED_FILES = 10


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Returns the command line; exits with a message if its flags contradict each other."""
    parser = _make_parser()
    parsed = parser.parse_args(arguments)
    if '-' in parsed.enrol:  # standard input is predicted, and not a recording to enrol
        parsed.enrol.remove('-')
        parsed.paths.append('-')
    _check_not_empty(parser, parsed)
    _check_enrolment(parser, parsed)
    if '-' in parsed.paths:
        _check_stream(parser, parsed)
    for flag in ('rate', 'encoding', 'channels'):
        if '-' not in parsed.paths and getattr(parsed, flag) is not None:
            parser.error(f'--{flag} is for standard input (the path -); files have their own.')
    if parsed.hop is None:
        parsed.hop = min(HOP_SECONDS, parsed.window)
    parsed.encoding = parsed.encoding or 's16le'
    parsed.channels = parsed.channels or 1
    try:
        check_windows(parsed.window, parsed.hop)
        check_channel(parsed.channel)
    except UserError as error:
        parser.error(str(error))
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
    add('paths', nargs='*', metavar='PATH', help=paths_help)
    add('--format', choices=FORMATS, default='table', help='of the output (default %(default)s)')
    window_help = 'length of a window in seconds (default %(default)g)'
    add('--window', type=float, default=WINDOW_SECONDS, help=window_help)
    hop_help = (
        f'seconds between windows, in files longer than {MAX_UTTERANCE_SECONDS:g} s (default '
        f'{HOP_SECONDS:g}, or the window if that is shorter)'
    )
    add('--hop', type=float, help=hop_help)
    channel_help = 'predict this channel of the recordings, from 1 (default: the mean of all)'
    add('--channel', type=int, help=channel_help)
    add('--upstream', help='Hugging Face folder of the pretrained encoder, if it has been moved')
    add('--rate', type=int, help='sample rate of standard input in Hz')
    add('--encoding', choices=PCM_ENCODINGS, help='of standard input (default s16le)')
    add('--channels', type=int, help='of standard input, interleaved (default 1)')
    enrol_help = (
        'recordings of the speaker, or a saved enrolment; or stream: enrol the speaker of standard '
        'input while predicting'
    )
    add('--enrol', nargs='+', default=[], metavar='PATH', help=enrol_help)
    enrol_by_help = (
        'the folder that directly contains a file is its speaker, who is enrolled by the other '
        'files of that folder'
    )
    add('--enrol-by', '--enrol_by', choices=('folder',), help=enrol_by_help)
    save_help = 'save the enrolled speaker, for --enrol'
    add('--save_enrolment', '--save-enrolment', metavar='FILE', help=save_help)
    return parser


def _check_not_empty(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    """Exits with a message if a path is empty: it would be the folder of the shell."""
    named = {
        'PATH': parsed.paths,
        '--enrol': parsed.enrol,
        '--workdir': [parsed.workdir],
        '--upstream': [parsed.upstream],
        '--save_enrolment': [parsed.save_enrolment],
    }
    for name, paths in named.items():
        if '' in paths:
            parser.error(
                f'{name} has an empty path, probably from a variable of the shell that is not set.'
            )
    if parsed.save_enrolment is not None:
        parsed.save_enrolment = Path(parsed.save_enrolment)


def _check_enrolment(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    """Exits with a message if the flags of enrolment contradict each other."""
    is_stream = parsed.paths == ['-']
    if parsed.enrol and parsed.enrol_by:
        parser.error('--enrol is for one speaker, --enrol-by for many: choose one of them.')
    if 'stream' in parsed.enrol and parsed.enrol != ['stream']:
        parser.error('--enrol stream cannot be combined with files.')
    if parsed.enrol == ['stream'] and not is_stream:
        parser.error('--enrol stream is for standard input (the path -).')
    if parsed.enrol_by and is_stream:
        parser.error('--enrol-by folder is for files; for standard input use --enrol stream.')
    if parsed.save_enrolment and not parsed.enrol:
        parser.error('--save_enrolment needs the recordings of the speaker: add --enrol.')
    if parsed.save_enrolment and not os.path.isdir(parsed.save_enrolment.absolute().parent):
        parser.error(f'--save_enrolment: {parsed.save_enrolment.parent} is not a folder.')
    if parsed.enrol and not parsed.paths and not parsed.save_enrolment:
        parser.error(
            'There is no PATH to predict, as --enrol takes all that follow it: write the files to '
            'predict before --enrol.'
        )
    if not parsed.paths and not parsed.enrol:
        parser.error('the following arguments are required: PATH')


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
    for path in map(Path, paths):
        if not os.path.isdir(path):
            files.append(path)
            continue
        content = list_folder(path)
        files += content.audio or [path]
        if content.others:
            _print_left_out(path, content.others)
    return files


def _print_left_out(folder: Path, others: list[Path]) -> None:
    """Says which files of a folder are left out, as they are no audio."""
    names = [one_line(str(path.relative_to(folder))) for path in others[:MAX_LISTED_FILES]]
    if len(others) > MAX_LISTED_FILES:
        names.append('...')
    count = pluralize(len(others), 'file')
    message = f'Left out, as not audio: {count} in {one_line(str(folder))}: {", ".join(names)}'
    print_text(message, file=sys.stderr)


def _load_predictor(arguments: argparse.Namespace) -> Predictor:
    """Returns the predictor of --workdir; prints which setting of the sweep its model is."""
    predictor = load_predictor(
        arguments.workdir,
        arguments.window,
        arguments.hop,
        arguments.upstream,
        channel=arguments.channel,
    )
    with refuse_damaged_facts(arguments.workdir):
        print_text(describe_networks(predictor.metadata), file=sys.stderr)
    return predictor


def _enrol(
    predictor: Predictor, arguments: argparse.Namespace, enrolled_files: list[Path]
) -> Predictor:
    """Returns the predictor for the speaker that --enrol names; prints the notes.

    `enrolled_files` are the paths of --enrol, with the audio files of folders in place of these.
    """
    paths = arguments.enrol
    if arguments.enrol_by or paths == ['stream']:
        check_can_enrol(predictor.metadata)
        notes = [*predictor.model_notes, TRANSDUCTIVE_NOTE]
    else:
        if paths:
            predictor = _enrol_paths(predictor, paths, enrolled_files)
        notes = predictor.notes
    for note in notes:
        print_text(note, file=sys.stderr)
    return predictor


def _enrol_paths(predictor: Predictor, paths: list[str], files: list[Path]) -> Predictor:
    saved = [path for path in paths if path.endswith(FILE_SUFFIX) or is_saved_enrolment(path)]
    if not saved:
        return predictor.enrol_files(files)
    if len(paths) > 1:
        raise UserError(
            f'{saved[0]} is a saved enrolment, which cannot be combined with others: name it alone '
            'after --enrol, or only recordings.'
        )
    return predictor.with_enrolment(load_enrolment(saved[0], predictor.model))


def _report_enrolled_files(files: list[Path], enrolled_files: list[Path]) -> None:
    """Prints which of the predicted files are enrolled, too."""
    enrolled = {file.resolve() for file in enrolled_files}
    both = [str(file) for file in files if file.resolve() in enrolled]
    if both:
        others = f' and {pluralize(len(both) - 1, "other")}' if len(both) > 1 else ''
        print(
            f'Predicted and enrolled, too: {one_line(both[0])}{others}. For the answer of a new '
            'recording, do not enrol what you predict.',
            file=sys.stderr,
        )


def _report(sentence: str) -> None:
    """Prints a sentence on stderr, above a progress bar."""
    with tqdm.external_write_mode():
        print_text(sentence, file=sys.stderr)


def _predict(
    predictor: Predictor, arguments: argparse.Namespace, running: RunningEnrolment | None
) -> Iterator[dict]:
    """Yields the predictions of standard input or of files."""
    if arguments.paths == ['-']:
        stream = predictor.predict_stream(
            sys.stdin.buffer, arguments.rate, arguments.encoding, arguments.channels, running
        )
        return _report_change(stream, predictor)
    if arguments.enrol_by:
        return predictor.predict_by_folder(arguments.paths, _report)
    return predictor.predict_files(arguments.paths)


def _print_answer(text: str, output_format: str) -> None:
    """Prints a text of `format_predictions`; as it is, where a program reads CSV."""
    if output_format == 'csv' and not sys.stdout.isatty():
        print(text, flush=True)
    else:
        print_text(text, kept='\n', flush=True)


def _has_enrolled(arguments: argparse.Namespace) -> bool:
    """Returns whether the predictions have the number of enrolled utterances."""
    if arguments.paths == ['-']:
        return arguments.enrol == ['stream']
    return bool(arguments.enrol or arguments.enrol_by)


def _report_change(predictions: Iterable[dict], predictor: Predictor) -> Iterator[dict]:
    """Yields predictions of a stream; prints how enrolment changed the answer."""
    for prediction in predictions:
        yield prediction
        if 'not_enrolled' in prediction:
            print_text(describe_change(prediction, predictor.names), file=sys.stderr)


@contextlib.contextmanager
def _saved_at_end(file: Path | None, enrolment: SpeakerEnrolment | None, running) -> Iterator[None]:
    """Saves the enrolled speaker; that of a stream at its end, and after Ctrl-C too."""
    if file and enrolment:
        _save(enrolment, file)
    try:
        yield
    finally:
        if file and running and running.sums.utterances:
            _save(running.estimate(), file)


def _save(enrolment: SpeakerEnrolment, file: Path) -> None:
    enrolment.save(file)
    _report(f'Saved: {file}.')


def main() -> None:
    """Parses the command line, predicts, and prints the predictions."""
    arguments = parse_arguments()
    distributed.configure_jax()
    sys.stdout.reconfigure(errors='backslashreplace')  # the name of a file may be any bytes
    failed = []
    with exit_on_user_error():
        predictor = _load_predictor(arguments)
        enrols_stream = arguments.enrol == ['stream']
        enrolled_files = [] if enrols_stream else _expand_folders(arguments.enrol)
        predictor = _enrol(predictor, arguments, enrolled_files)
        running = predictor.start_enrolment() if enrols_stream else None
        if arguments.paths != ['-']:
            arguments.paths = _expand_folders(arguments.paths)
            _report_enrolled_files(arguments.paths, enrolled_files)
        with _saved_at_end(arguments.save_enrolment, predictor.enrolment, running):
            predictions = _predict(predictor, arguments, running)
            predictions = track_failures(predictions, failed, len(arguments.paths))
            has_enrolled = _has_enrolled(arguments)
            for line in format_predictions(
                predictions, arguments.format, predictor.names, has_enrolled
            ):
                with tqdm.external_write_mode():
                    _print_answer(line, arguments.format)
    if failed:
        total = pluralize(len(arguments.paths), 'file')
        print(f'{len(failed)} of {total} could not be predicted.', file=sys.stderr)
        sys.exit(1)


if __name__ == '__main__':
    main()
