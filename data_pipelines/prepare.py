"""python -m data_pipelines.prepare NAME --source PATH: from a corpus as released to shards of features that `tfds.load` reads."""

import argparse
import dataclasses
import functools
import os

from data_pipelines import corpora
from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import INPUT_KIND, STATE_KINDS, EncoderStates, FeatureSpec
from data_pipelines.storage.preparation import Extractor, prepare_corpus


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='python -m data_pipelines.prepare', description=__doc__.split(': ')[1]
    )
    parser.add_argument('name', metavar='NAME', help=', '.join(corpora.corpus_names()))
    parser.add_argument('--source', help="the corpus's root; for `folder`, the CSV")
    parser.add_argument('--out', default='data', help='where the data sets are (%(default)s)')
    parser.add_argument(
        '--allow_partial', action='store_true', help="accept counts other than the release's"
    )
    parser.add_argument('--workers', type=int, help='processes (as many as cores)')
    parser.add_argument(
        '--beam',
        nargs='*',
        metavar='OPTION=VALUE',
        help='by Apache Beam, with its own options, such as runner=FlinkRunner flink_master=HOST:8081; without a runner, by '
        '--workers processes here. Others must see --source and --out under the same paths, and have jaxser installed',
    )
    parser.add_argument(
        '--features',
        default='log-mel',
        metavar='WHAT',
        help='log-mel, or upstream:FOLDER for the pretrained encoder in a Hugging Face folder (%(default)s)',
    )
    parser.add_argument(
        '--states',
        choices=(*STATE_KINDS, INPUT_KIND),
        help=f'of an upstream: what is kept of its states, or instead of them what it hears, to fine-tune it ({STATE_KINDS[0]})',
    )
    for field in dataclasses.fields(LogMel):
        parser.add_argument(
            f'--{field.name}', type=field.type, default=field.default, help='log-mel (%(default)s)'
        )
    arguments = vars(parser.parse_args())
    with exit_on_user_error('Nothing was left behind.'):
        fields = {field.name: arguments.pop(field.name) for field in dataclasses.fields(LogMel)}
        spec = parse_feature_spec(
            arguments.pop('features'), arguments.pop('states'), LogMel(**fields)
        )
        prepare_corpus(spec=spec, extractor=make_extractor(spec), **arguments)


def parse_feature_spec(features: str, states: str | None, log_mel: LogMel) -> FeatureSpec:
    """What the options name."""
    what, _, folder = features.partition(':')
    if what == 'upstream' and folder:
        if log_mel != LogMel():
            raise UserError(
                f'{log_mel} has no part in the states of an upstream or what it hears: leave its options out.'
            )
        folder = os.path.expanduser(folder)  # which a shell leaves alone there
        from jaxser.pretrained import extractor

        if states == INPUT_KIND:
            return extractor.input_from_folder(folder)
        return extractor.states_from_folder(folder, states or STATE_KINDS[0])
    if features != 'log-mel':
        raise UserError(f'--features is {features!r}; expected log-mel, or upstream:FOLDER.')
    if states:
        raise UserError(
            f'--states {states} is of an upstream: name its Hugging Face folder, --features upstream:FOLDER.'
        )
    return log_mel


def make_extractor(spec: FeatureSpec) -> Extractor | None:
    """Returns the function that computes the states of a pretrained encoder; None for others."""
    if not isinstance(spec, EncoderStates):
        return None
    from jaxser.pretrained import extractor

    return functools.partial(extractor.extract_states, spec)


if __name__ == '__main__':
    main()
