"""Prepares a corpus: computes features of its audio, and writes them as shards for `tfds.load`.

python -m data_pipelines.prepare NAME --source PATH

With --speed 0.86,0.93,1.08,1.16 it prepares NAME_speed: copies of all utterances at these speeds,
as utterances of new speakers, for config.protocol.identity.
"""

import argparse
import dataclasses
import functools
from pathlib import Path

from data_pipelines import corpora
from data_pipelines.arguments import path_text
from data_pipelines.corpora.folder import make_options
from data_pipelines.errors import UserError, exit_on_user_error, sigterm_as_interrupt
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import INPUT_KIND, STATE_KINDS, EncoderStates, FeatureSpec
from data_pipelines.speed_copies import parse_speeds
from data_pipelines.storage.preparation import SOURCES_FOLDER, Extractor, prepare_corpus

LOG_MEL_FIELDS = dataclasses.fields(LogMel)

LOG_MEL_HELP = {
    'rate': 'sample rate in Hz, to which all audio is resampled',
    'window': 'length of the analysis window in seconds',
    'hop': 'time from one frame to the next in seconds',
    'bands': 'number of mel bands',
    'low': 'lower edge of the lowest mel band in Hz',
    'high': 'upper edge of the highest mel band in Hz',
    'floor': 'smallest power of a band before the logarithm; lower ones are raised to it',
}


def main() -> None:
    """Parses the command line and prepares the corpus."""
    arguments = make_parser().parse_args()
    with exit_on_user_error(describe_remains(arguments)), sigterm_as_interrupt():
        run(arguments)


def describe_remains(arguments: argparse.Namespace) -> str:
    """Returns what is left on disk if the command is interrupted, as a sentence."""
    if arguments.name != 'huggingface':
        return 'No files were left behind.'
    folder = Path(arguments.out) / SOURCES_FOLDER / arguments.own_name
    return (
        f'Audio from the data set may be left in {folder}: the command uses it when it is run '
        'again; otherwise remove it.'
    )


def run(parsed_arguments: argparse.Namespace) -> Path:
    """Prepares the corpus; returns the folder of the data set. UserError for a wrong argument."""
    arguments = vars(parsed_arguments)
    fields = {field.name: arguments.pop(field.name) for field in LOG_MEL_FIELDS}
    features = arguments.pop('features')
    states = arguments.pop('states')
    speed = arguments.pop('speed')
    speeds = () if speed is None else parse_speeds(speed)
    list_options = make_options(
        arguments.pop('own_name'),
        arguments.pop('emotions'),
        arguments.pop('labels'),
        arguments.pop('columns'),
        arguments.pop('scale'),
    )
    spec = parse_feature_spec(features, states, LogMel(**fields))
    spec = _with_prepared_name(spec, arguments['out'])
    return prepare_corpus(
        spec=spec,
        extractor=make_extractor(spec),
        speeds=speeds,
        list_options=list_options,
        **arguments,
    )


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m data_pipelines.prepare',
        description='Computes features of a corpus, and writes them as shards that `tfds.load` '
        'reads.',
    )
    names = ', '.join(corpora.corpus_names())
    parser.add_argument('name', metavar='NAME', help=f'the corpus: {names}')
    parser.add_argument(
        '--source',
        type=path_text,
        help="the corpus's root; for `folder`, the "
        'CSV; for `emobox`, its JSONL; for `huggingface` and `audformat`, the data set',
    )
    parser.add_argument(
        '--out', type=path_text, default='data', help='the folder of all data sets (%(default)s)'
    )
    parser.add_argument(
        '--allow_partial',
        action='store_true',
        help='accept a corpus whose number of utterances is not that of a known release',
    )
    parser.add_argument(
        '--allow_names',
        action='store_true',
        help="take several spellings of a speaker's name, such as 01 and 1, as one person, and "
        'accept a speaker who is listed as female and as male',
    )
    parser.add_argument(
        '--channel',
        type=int,
        help='use this channel of the files, from 1, instead of the mean of all',
    )
    _add_list_options(parser)
    parser.add_argument('--workers', type=int, help='number of processes (number of CPU cores)')
    parser.add_argument(
        '--dask',
        metavar='SCHEDULER',
        help='compute the features on the workers of a Dask cluster: the address of its scheduler, '
        'such as tcp://HOST:8786, or its scheduler file. All machines must have --source under the '
        'same path, and jaxser installed',
    )
    parser.add_argument(
        '--beam',
        nargs='*',
        metavar='OPTION=VALUE',
        help='use Apache Beam with these options of its own, such as runner=FlinkRunner '
        'flink_master=HOST:8081; without a runner, it starts --workers processes on this machine. '
        'Other machines must have --source and --out under the same paths, and jaxser installed',
    )
    parser.add_argument(
        '--features',
        default='log-mel',
        metavar='FEATURES',
        help='log-mel; or upstream:FOLDER for the pretrained encoder in a Hugging Face folder, '
        'or upstream:NAME[@REVISION] for one on the Hugging Face Hub, such as '
        'upstream:openai/whisper-small, which is downloaded once (%(default)s)',
    )
    parser.add_argument(
        '--states',
        choices=(*STATE_KINDS, INPUT_KIND),
        help='what to store of a pretrained encoder: its states, pooled over an utterance or all; '
        f'or {INPUT_KIND}, the input of the encoder, to fine-tune it ({STATE_KINDS[0]})',
    )
    parser.add_argument(
        '--speed',
        metavar='SPEEDS',
        help='prepare NAME_speed, copies of the utterances at these speeds from 0.5 to 2, as '
        'utterances of new speakers for config.protocol.identity: 0.86,0.93,1.08,1.16',
    )
    for field in LOG_MEL_FIELDS:
        parser.add_argument(
            f'--{field.name}',
            type=field.type,
            default=field.default,
            help=f'of log-mel: {LOG_MEL_HELP[field.name]} (%(default)s)',
        )
    return parser


def _add_list_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options for a list of the user's own."""
    group = parser.add_argument_group(
        'a list of your own (folder, huggingface, audformat or emobox)'
    )
    group.add_argument(
        '--name',
        dest='own_name',
        default='',
        metavar='NAME',
        help='the name of your corpus: lower-case letters, digits and _, such as turev',
    )
    group.add_argument(
        '--emotions',
        metavar='WORD=EMOTION,...',
        help='what words and codes of your list mean, such as anger=angry,0=sad; common words in '
        'many languages are known',
    )
    group.add_argument(
        '--labels',
        metavar='MAP.csv',
        help='a CSV file with the columns word and emotion, where the emotion may be any name of '
        'your own, or empty to leave the word out of training; or as_is, which makes every word a '
        'class of its own',
    )
    group.add_argument(
        '--columns',
        metavar='COLUMN=NAME,...',
        help='how your list names our columns, such as path=file,speaker=spk; common names are '
        'known. votes=angry+happy+sad names columns with the number of raters who chose each '
        'emotion',
    )
    group.add_argument(
        '--scale',
        nargs=2,
        type=float,
        metavar=('LOW', 'HIGH'),
        help='the scale of the ratings in your list, such as 1 5 (-1 1)',
    )


def parse_feature_spec(features: str, states: str | None, log_mel: LogMel) -> FeatureSpec:
    """Returns the features that the options name; UserError if options contradict each other."""
    kind, _, folder = features.partition(':')
    if kind == 'upstream' and folder:
        return _parse_encoder_spec(folder, states, log_mel)
    if features != 'log-mel':
        raise UserError(
            f'--features is {features!r}; expected log-mel, upstream:FOLDER '
            'or upstream:NAME, such as upstream:openai/whisper-small.'
        )
    if states:
        raise UserError(
            f'--states {states} needs a pretrained encoder: name its Hugging Face folder, '
            '--features upstream:FOLDER, or its name there, such as '
            'upstream:openai/whisper-small.'
        )
    return log_mel


def _parse_encoder_spec(folder: str, states: str | None, log_mel: LogMel) -> FeatureSpec:
    if log_mel != LogMel():
        raise UserError(
            f'The features of a pretrained encoder do not depend on {log_mel}: '
            'leave the options of log-mel out.'
        )
    from jaxser.pretrained import extractor  # imports JAX, which log-mel features do not need

    if states == INPUT_KIND:
        return extractor.input_from_folder(folder)
    return extractor.states_from_folder(folder, states or STATE_KINDS[0])


def _with_prepared_name(spec: FeatureSpec, data_dir: str) -> FeatureSpec:
    """Returns the features, encoder states under the name that `data_dir` already has for them."""
    if not isinstance(spec, EncoderStates):
        return spec
    from jaxser.pretrained import extractor

    return extractor.with_prepared_name(spec, data_dir)


def make_extractor(spec: FeatureSpec) -> Extractor | None:
    """Returns the function that computes encoder states; None for features that need none."""
    if not isinstance(spec, EncoderStates):
        return None
    from jaxser.pretrained import extractor

    return functools.partial(extractor.extract_states, spec)


if __name__ == '__main__':
    main()
