"""Completes a configuration: the data sets that its protocol names, and what its features are."""

import copy
import os
from collections.abc import Callable

from data_pipelines import corpora, labels
from data_pipelines.batching.table import NORMALISATIONS
from data_pipelines.errors import UserError
from data_pipelines.features import upstream
from data_pipelines.protocols import split
from data_pipelines.protocols.choice import choose_protocol, describe_choice
from data_pipelines.protocols.protocol import AUTO, Protocol
from data_pipelines.speed_copies import check_no_copies
from data_pipelines.storage import dataset, prepared
from data_pipelines.storage.schema import RATING_COLUMNS
from data_pipelines.terminal import print_text
from jaxser.configuration.search_space import parse_enrol, read_search_space


def resolve_config(config, log: Callable[[str], None] = print_text):
    """Returns a copy of the configuration in which every name is resolved.

    `config.data.corpora` are all data sets to read, where 'folder' is a CSV of the user's without a
    name, and `config.data.upstream` is the exact name of the features. Raises UserError if keys
    contradict each other. `log` prints what was chosen: the protocol for `auto`, and how the epoch
    of a task without classes is selected.
    """
    config = copy.deepcopy(config)
    _resolve_task(config, log)
    is_auto = config.protocol.name == AUTO
    if is_auto:
        config.protocol.name = Protocol().name  # until the data sets are known
    config.data.corpora = _split_names(config.data.corpora, 'data.corpora')
    for key in ('source', 'target', 'identity'):
        config.protocol[key] = _split_names(config.protocol[key], f'protocol.{key}')
    config.protocol.enrol = _resolve_enrolment(config)
    trained = _resolve_corpora(config)
    config.model.upstream = os.path.expanduser(config.model.upstream)
    _check_trained_encoder(config)
    if config.model.name == 'fine_tuned':
        _resolve_encoder_input(config)
    elif config.data.upstream:
        _resolve_encoder_states(config)
    _check_csv_corpora(config, trained)
    if is_auto:
        _choose_protocol(config, log)
    return config


def _resolve_task(config, log: Callable[[str], None]) -> None:
    """Checks what the model predicts; without classes, selects the epoch by CCC in place of UAR.

    Raises UserError for a task or a rating that does not exist, and if keys contradict the task.
    """
    if config.task == 'ratings+emotion':
        config.task = 'emotion+ratings'
    task = config.task
    if task not in labels.TASKS:
        raise UserError(f'config.task is {task!r}; expected one of {", ".join(labels.TASKS)}.')
    config.data.ratings = _split_names(config.data.ratings, 'data.ratings')
    unknown = [name for name in config.data.ratings if name not in RATING_COLUMNS]
    if unknown or not config.data.ratings:
        raise UserError(
            f'config.data.ratings is {", ".join(config.data.ratings) or "empty"}; expected one or '
            f'more of {", ".join(RATING_COLUMNS)}.'
        )
    select = config.train.select
    if select == 'best dev CCC' and not labels.has_ratings(task):
        raise UserError(
            f'config.train.select is {select!r}. CCC is a measure of ratings, and config.task='
            f"{task} predicts no ratings. Set config.train.select='best dev UAR', or "
            '--config.task=ratings or emotion+ratings.'
        )
    if select == 'best dev UAR' and not labels.has_classes(task):
        config.train.select = 'best dev CCC'
        log(
            'The epoch is selected by best dev CCC (concordance correlation), because UAR needs '
            f'classes and config.task={task} has none.'
        )


def _choose_protocol(config, log: Callable[[str], None]) -> None:
    """Sets the protocol that suits the speakers of the data, and says which one."""
    utterances, _ = split.select_utterances(config, dataset.find_prepared_data(config.data))
    selection = config.data.only
    has_classes = labels.has_classes(config.task)
    are_words = has_classes and labels.words_are_classes(config.data.labels)
    choice = choose_protocol(
        utterances,
        can_select_classes=are_words and (not selection or selection.startswith('emotion=')),
        ratings=config.data.ratings if labels.has_ratings(config.task) else (),
        has_classes=has_classes,
    )
    log(describe_choice(choice))
    config.protocol.name = choice.name
    config.protocol.folds = choice.folds


def _resolve_enrolment(config) -> int | str:
    """Returns `config.protocol.enrol`, which is 'all' if only the sweep has numbers.

    Raises UserError if utterances are enrolled and not used, or used and not enrolled.
    """
    normalise = config.data.normalise
    if normalise not in NORMALISATIONS:
        raise UserError(
            f'config.data.normalise is {normalise!r}; expected one of {", ".join(NORMALISATIONS)}.'
        )
    enrol = parse_enrol(config.protocol.enrol)
    swept = read_search_space(config).enrol_values()
    if swept and enrol == 'none':
        enrol = 'all'
    uses_enrolment = normalise == 'speaker_enrolled'
    if uses_enrolment and enrol == 'none':
        raise UserError(
            'config.data.normalise=speaker_enrolled needs enrolled utterances: set '
            '--config.protocol.enrol to the number of utterances of each speaker, or to all, or '
            'sweep it: --config.sweep.enrol=0,4,all.'
        )
    enrolled = [value for value in swept or [enrol] if value not in ('none', 0)]
    if enrolled and not uses_enrolment:
        raise UserError(
            f'{enrolled[0]} utterances of each speaker are enrolled (config.protocol.enrol or '
            f'config.sweep.enrol), and config.data.normalise={normalise} does not use '
            'them: set --config.data.normalise=speaker_enrolled, or --config.protocol.enrol=0 to '
            'train the reference, which is scored on the same utterances.'
        )
    return enrol


def _split_names(values: tuple[str, ...], key: str) -> tuple[str, ...]:
    """Returns the names that are the value of a key; 'a,b', as a shell passes it, is two names.

    Raises UserError for a name that is there twice.
    """
    names = []
    for value in values:
        for name in value.split(','):
            names.append(name.strip())
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f'config.{key} names {name} twice: {", ".join(names)}. Remove one of the two.'
            )
    return tuple(names)


def _data_sets(config, names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the data sets of corpora, in their order; a data set may be there several times.

    The data set is the corpus' own, or 'folder' for a corpus that the user's CSV names.
    """
    own = corpora.own_names(config.data.dir)
    return tuple(corpora.data_set_name(name, own) for name in names)


def _resolve_corpora(config) -> tuple[str, ...]:
    """Sets `config.data.corpora` to all data sets to read.

    Returns the data sets to train and test on; the others are for identity batches only.
    """
    protocol = Protocol(**config.protocol)
    source_and_target = (*protocol.source, *protocol.target)
    trained = _data_sets(config, source_and_target) or config.data.corpora
    check_no_copies(trained, 'data.corpora')
    shared = set(trained) & set(protocol.identity)
    if shared and not source_and_target:
        raise UserError(
            f'{min(shared)} fills the identity batches (config.protocol.identity), and is also in '
            'config.data.corpora, which are trained and tested on: name it in one of the two.'
        )
    data_sets = (*trained, *_data_sets(config, protocol.identity))
    config.data.corpora = tuple(dict.fromkeys(data_sets))
    return trained


def _check_trained_encoder(config) -> None:
    """Raises UserError if the encoder to train is not named, or if the model does not train it."""
    folder = config.model.upstream
    if config.model.name == 'fine_tuned' and not folder:
        raise UserError(
            'config.model.name=fine_tuned trains a pretrained encoder, and config.model.upstream '
            'is empty: name the folder of the encoder, --config.model.upstream=FOLDER, or its '
            'name on the Hugging Face Hub, such as openai/whisper-small.'
        )
    if config.model.name != 'fine_tuned' and folder:
        raise UserError(
            f'config.model.upstream is {folder}, which only fine_tuned trains; the input of '
            f'{config.model.name} is what config.data.upstream names, or log-mel. Leave '
            'config.model.upstream empty, or set config.model.name=fine_tuned.'
        )


def _resolve_encoder_input(config) -> None:
    """Sets the features and the digest of the weights for a pretrained encoder to fine-tune."""
    # They import JAX, which is slow; only this model needs it.
    from jaxser.pretrained import extractor, hub

    located = hub.locate_encoder(config.model.upstream)
    if located.name:
        config.model.upstream = os.fspath(located.folder)
    folder = config.model.upstream
    features = extractor.input_from_folder(folder).name
    states = extractor.states_of_local_encoder(folder, upstream.STATE_KINDS[0])
    config.model.weights = states.digest
    if not features.startswith(config.data.upstream):
        raise UserError(
            f'config.data.upstream is {config.data.upstream!r}; the input of fine_tuned is '
            f'{features}: leave config.data.upstream empty.'
        )
    config.data.upstream = features
    if config.data.normalise != 'none':
        raise UserError(
            f'config.data.normalise is {config.data.normalise!r}; a pretrained encoder takes '
            f'{features} as it is: set config.data.normalise=none.'
        )


def _resolve_encoder_states(config) -> None:
    """Sets the exact name of the encoder states, and `config.data.frames` to 1 if pooled."""
    data = config.data
    data.upstream = prepared.resolve_feature_name(data.dir, data.corpora, data.upstream)
    config.model.states = data.upstream
    spec = dataset.feature_spec(data)
    if isinstance(spec, upstream.EncoderInput):
        raise UserError(
            f'{data.upstream} is the input of a pretrained encoder, and {config.model.name} has '
            'no such encoder: set config.model.name=fine_tuned.'
        )
    if not spec.is_pooled:
        return
    if config.model.name != 'layer_sum':
        raise UserError(
            f'{data.upstream} has one frame for each utterance, and {config.model.name} needs '
            'a sequence of frames: set config.model.name=layer_sum, or prepare with --states all.'
        )
    if data.normalise in ('utterance', 'speaker'):
        raise UserError(
            f'config.data.normalise={data.normalise} subtracts the mean of the utterance for an '
            f'unseen speaker, and {data.upstream} has one frame for each utterance, which would '
            'become zero: set config.data.normalise=global or speaker_transductive.'
        )
    data.frames = 1


def _check_csv_corpora(config, trained: tuple[str, ...]) -> None:
    """Raises UserError for a corpus that does not exist, and for a CSV that would be trained on.

    The corpora that are not of this project are those of the user's CSV. All of them are read, and
    only a source and a target say which of them to train and test on.

    `trained` are the data sets that are trained and tested on.
    """
    protocol = config.protocol
    source_and_target = (*protocol.source, *protocol.target)
    names = (*source_and_target, *protocol.identity)
    in_csv = []
    for name, data_set in zip(names, _data_sets(config, names)):
        if data_set == 'folder':
            in_csv.append(name)
    if not in_csv:
        return
    if 'folder' not in dataset.read_existing_fingerprints(config.data):
        own = corpora.own_names(config.data.dir)
        corpora.load_corpus(in_csv[0], own)  # raises UserError with the names that exist
    if not source_and_target and 'folder' not in trained:
        raise UserError(
            f'config.protocol.identity names {in_csv[0]}, a corpus of your CSV. The other corpora '
            'of the CSV would be trained and tested on. If this is intended, add folder to '
            f'config.data.corpora. Otherwise prepare a CSV that contains {in_csv[0]} only.'
        )
