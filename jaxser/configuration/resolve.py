"""TODO: jaxser.configuration.resolve."""

import copy
import os

from data_pipelines import corpora
from data_pipelines.errors import UserError
from data_pipelines.features import upstream
from data_pipelines.protocols.folds import Protocol
from data_pipelines.storage import prepared
from data_pipelines.storage.dataset import feature_spec, read_fingerprints


def resolve_config(config):
    """The configuration with the data sets that its protocol names; a name that is no corpus of ours is one of your CSV's."""
    config = copy.deepcopy(config)
    lists = (
        (config.data, 'corpora'),
        *((config.protocol, key) for key in ('source', 'target', 'identity')),
    )
    for node, key in lists:
        node[key] = tuple(
            name.strip() for some in node[key] for name in some.split(',')
        )  # 'a,b' is what a shell passes
        if twice := [name for name in node[key] if node[key].count(name) > 1]:
            raise UserError(f'{key} names {twice[0]} twice: {", ".join(node[key])}.')
    protocol = Protocol(**config.protocol)
    ours, ends, beside = (
        corpora.corpus_names(),
        (*protocol.source, *protocol.target),
        protocol.identity,
    )
    data_sets = lambda names: tuple(n if n in ours else 'folder' for n in names)  # noqa: E731
    own = data_sets(ends) or config.data.corpora
    if not ends and (both := set(own) & set(beside)):
        raise UserError(
            f'{min(both)} fills the identity batches (config.protocol.identity), and config.data.corpora trains and tests on it: '
            'name it in one of the two.'
        )
    config.data.corpora = tuple(dict.fromkeys((*own, *data_sets(beside))))
    tuned = config.model.name == 'fine_tuned'
    config.model.upstream = os.path.expanduser(config.model.upstream)
    if tuned != bool(config.model.upstream):
        raise UserError(
            'config.model.name=fine_tuned trains a pretrained encoder: name its folder, --config.model.upstream=FOLDER.'
            if tuned
            else f'config.model.upstream is {config.model.upstream}, which only fine_tuned trains; {config.model.name} hears '
            'what config.data.upstream names, or log-mel. Leave it empty, or set config.model.name=fine_tuned.'
        )
    if tuned:
        from jaxser.pretrained import extractor  # imports JAX, which other models need not here

        hears = extractor.input_from_folder(config.model.upstream).name
        config.model.weights = extractor.states_from_folder(
            config.model.upstream, upstream.STATE_KINDS[0]
        ).digest
        if not hears.startswith(config.data.upstream):
            raise UserError(
                f'config.data.upstream is {config.data.upstream!r}; what fine_tuned hears is {hears}: leave it empty.'
            )
        config.data.upstream = hears
        if config.data.normalise != 'none':
            raise UserError(
                f'config.data.normalise is {config.data.normalise!r}; a pretrained encoder hears {hears} as it is: '
                'set config.data.normalise=none.'
            )
    elif config.data.upstream:
        config.data.upstream = prepared.resolve_feature_name(
            config.data.dir, config.data.corpora, config.data.upstream
        )
        config.model.states = config.data.upstream
        if isinstance(found := feature_spec(config.data), upstream.EncoderInput):
            raise UserError(
                f'{config.data.upstream} is what an upstream hears, of which {config.model.name} makes nothing: set '
                'config.model.name=fine_tuned.'
            )
        if found.is_pooled:
            if config.model.name != 'layer_sum':
                raise UserError(
                    f'{config.data.upstream} has one frame an utterance, and {config.model.name} hears many: set '
                    'config.model.name=layer_sum, or prepare with --states all.'
                )
            if config.data.normalise in ('utterance', 'speaker'):
                raise UserError(
                    f'config.data.normalise={config.data.normalise} takes a stranger by the utterance alone, which leaves '
                    'nothing of states that are pooled over it: set global, or speaker_transductive.'
                )
            config.data.frames = 1
    if (
        strange := [n for n in (*ends, *beside) if n not in ours]
    ) and 'folder' not in read_fingerprints(config.data):
        corpora.load_corpus(strange[0])  # says which corpora there are
    if not ends and 'folder' not in own and (strange := [n for n in beside if n not in ours]):
        raise UserError(
            f'config.protocol.identity names {strange[0]}, of a CSV whose other corpora would be trained on: '
            'name folder in config.data.corpora if they are to be, or prepare a CSV of its own.'
        )
    return config
