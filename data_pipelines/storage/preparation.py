"""Prepares one corpus: walks it, computes its features, and puts the finished data set in place.

prepared.py finds the data set again; dataset.py reads all data sets of a configuration.
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from data_pipelines import corpora, labels, speed_copies
from data_pipelines.arguments import check_length
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.corpora.folder import ListOptions
from data_pipelines.errors import UserError
from data_pipelines.features.decode import Rejection, check_video_support
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import EncoderInput, EncoderStates, FeatureSpec
from data_pipelines.partial_folders import partial_folder
from data_pipelines.progress import progress_bar
from data_pipelines.storage import builder, near_duplicates, schema
from data_pipelines.storage.builder import check_any_accepted
from data_pipelines.storage.listing import complete_listing, print_single_utterances
from data_pipelines.storage.npz import npz_path
from data_pipelines.storage.prepared import (
    RECORD_FILE,
    VOTES_KEY,
    find_dataset,
    fingerprint_utterances,
    fingerprint_votes,
    incomplete_error,
    is_packed_from,
    read_record,
)
from data_pipelines.storage.shards import write_columns
from data_pipelines.storage.summary import WrittenDataset, print_summary, write_lists
from data_pipelines.storage.workers import run_workers
from data_pipelines.terminal import print_text

MAX_WORKERS = 1024  # all of them start at once
SOURCES_FOLDER = 'sources'  # in the folder of all data sets: audio that is made or unpacked there

WorkerResults = Iterable[tuple[Utterance, dict | Rejection]]

# Maps the worker processes' results to final results, in the same order.
Extractor = Callable[[WorkerResults], WorkerResults]


def prepare_corpus(
    name: str,
    source: str | os.PathLike | None,
    out: str | os.PathLike,
    spec: FeatureSpec = LogMel(),  # noqa: B008 (frozen)
    allow_partial: bool = False,
    workers: int | None = None,
    beam: list[str] | None = None,
    extractor: Extractor | None = None,
    speeds: tuple[float, ...] = (),
    allow_names: bool = False,
    channel: int | None = None,
    list_options: ListOptions | None = None,
    dask: str | None = None,
) -> Path:
    """Prepares a corpus unless that is done already, and returns the folder of the data set.

    The data set appears under `out` complete or not at all. UserError if the counts match no
    release (unless `allow_partial`), or if `out` has other data under the same name.

    Args:
      name: name of the corpus.
      source: the corpus's root, or the CSV for `folder`; a corpus that is synthesised needs none.
      out: the folder of all data sets.
      spec: which features to compute.
      allow_partial: accepts counts that match no release.
      workers: number of worker processes; as many as cores if None.
      beam: options of Apache Beam as `name=value`. Beam then runs the work, not worker processes.
      extractor: computes encoder states from the workers' results
        (`jaxser.pretrained.extractor.extract_states`). Other features need none.
      speeds: prepares copies of the utterances at these speeds, as a data set of their own.
      allow_names: takes several spellings of a speaker's name as one person, and accepts a speaker
        of two sexes.
      channel: which channel of the files is used, from 1, where the corpus does not say it; None is
        the mean of all.
      list_options: how a list of the user's own is read, and the name of its corpus.
      dask: the address of a Dask scheduler, or its scheduler file. Its workers then run the work.
    """
    check_not_copies(name)
    check_one_engine(workers, beam, dask)
    list_options = list_options or ListOptions()
    if list_options.name:
        audio_folder = Path(out) / SOURCES_FOLDER / list_options.name
        list_options = dataclasses.replace(list_options, audio_folder=audio_folder)
    corpus = with_list_options(corpora.load_corpus(name), list_options)
    dataset_corpus = speed_copies.corpus_of_copies(corpus) if speeds else corpus
    title = dataset_corpus.title
    out = Path(out)
    workers = os.cpu_count() if workers is None else workers
    if not 1 <= workers <= MAX_WORKERS:
        raise UserError(
            f'The number of worker processes is {workers}; expected 1 or more, and at most '
            f'{MAX_WORKERS}. As many as there are CPU cores ({os.cpu_count()}) are fastest.'
        )
    check_length(out, '--out')
    existing = find_dataset(out, dataset_corpus.name, spec)
    if existing:
        check_same_speeds(existing, speeds)
    if existing and source is not None and not os.path.exists(source):
        raise UserError(
            f'--source {source} does not exist. {title} is already prepared ({existing}): '
            'leave --source out to use it, or correct the path.'
        )
    if existing and source is None:
        print(f'{title} is already prepared: {existing}')
        return existing
    if not existing:
        check_no_incomplete_dataset(out / dataset_corpus.name / spec.name / schema.DATASET_VERSION)
    check_inputs(corpus, source, spec, extractor)
    schema.check_tensorflow()
    beam_options = None if beam is None else parse_beam_options(beam, workers, spec)
    with os_errors_as_user_errors(out):
        source = find_source(corpus, source, out)
        listed = complete_listing(walk_corpus(corpus, source), allow_names)
        if channel is not None:
            listed = choose_channel(listed, channel)
        utterances = speed_copies.make_copies(listed, speeds) if speeds else listed
        record = make_record(dataset_corpus, source, utterances, speeds)
        if corpus.is_own_list:
            record['own'] = describe_own_list(name, listed, list_options)
            print_single_utterances(listed)
        if existing:
            check_same_source(corpus, existing, record)
            print(f'{title} is already prepared: {existing}')
            return existing
        corpus.check_counts(listed, allow_partial)
        record['complete'] = corpus.is_complete(listed)
        check_video_support(listed)
        with partial_folder(out, '.staging-') as staging:
            written = write_dataset(
                dataset_corpus,
                utterances,
                spec,
                staging,
                record,
                workers,
                beam_options,
                extractor,
                dask,
            )
            target = move_dataset(written.folder, out / written.folder.relative_to(staging))
    print_summary(dataset_corpus, written, target)
    print_outdated_pack(npz_path(out, dataset_corpus.name, spec), target)
    accepted = [utterance for utterance, _ in written.accepted]
    print_next_command(corpus, accepted, spec, out, speeds)
    return target


def print_outdated_pack(packed: Path, folder: Path) -> None:
    """Prints that the .npz beside a new data set is of an earlier one, if it is."""
    if packed.exists() and not is_packed_from(packed, folder):
        print_text(
            f'{packed} was packed from an earlier preparation. On this machine it is not used any '
            'more. Before you copy it to another machine, pack again: '
            f'python -m data_pipelines.pack {packed.parent.name} --dir {packed.parent.parent}'
        )


def make_record(
    corpus: Corpus, source: Path, utterances: list[Utterance], speeds: tuple[float, ...]
) -> dict:
    """Returns what is recorded of a data set of these utterances."""
    record = {
        'corpus': corpus.name,
        'source': os.path.abspath(source),
        'fingerprint': fingerprint_utterances(utterances),
    }
    votes_fingerprint = fingerprint_votes(utterances)
    if votes_fingerprint:
        record[VOTES_KEY] = votes_fingerprint
    if speeds:
        record['speeds'] = list(speeds)
    return record


def print_next_command(
    corpus: Corpus,
    utterances: list[Utterance],
    spec: FeatureSpec,
    out: Path,
    speeds: tuple[float, ...],
) -> None:
    """Prints the command that trains on a corpus of the user's own; nothing for other data.

    If the corpus has ratings and no emotions, the command trains on the ratings.
    """
    if not corpus.is_own_list or speeds or isinstance(spec, EncoderInput):
        return
    config = 'own_pretrained' if isinstance(spec, EncoderStates) else 'own'
    options = '' if out == Path('data') else f' --config.data.dir={shlex.quote(str(out))}'
    emotions = {utterance.emotion for utterance in utterances}
    ratings = rating_options(utterances)
    has_classes = bool(emotions - set(labels.UNTRAINED_EMOTIONS))
    if not has_classes:
        options += ratings
    print(f'Train on it: python -m jaxser.main --config=configs/{config}.py:{corpus.name}{options}')
    if has_classes and ratings:
        print(f'To train on the ratings in place of the emotions, add{ratings}')
    if has_classes and any(utterance.votes for utterance in utterances):
        print(
            "To train on the raters' votes in place of the emotions, add "
            '--config.train.soft_labels=True'
        )


def rating_options(utterances: list[Utterance]) -> str:
    """Returns the options that train on the ratings of a corpus, after a blank; '' without any.

    Ratings that no utterance has are left out.
    """
    rated = []
    for name in schema.RATING_COLUMNS:
        if any(getattr(utterance, name) is not None for utterance in utterances):
            rated.append(name)
    if not rated:
        return ''
    options = ' --config.task=ratings'
    if len(rated) < len(schema.RATING_COLUMNS):
        options += f' --config.data.ratings={",".join(rated)}'
    return options


def check_not_copies(name: str) -> None:
    """UserError if `name` is the data set of the copies of a corpus."""
    source = speed_copies.source_corpus(name)
    if source in corpora.corpus_names():
        raise UserError(
            f'{name} has the copies of {source} at other speeds. Prepare it with: '
            f'python -m data_pipelines.prepare {corpora.prepare_arguments(name)} ...'
        )


def with_list_options(corpus: Corpus, options: ListOptions) -> Corpus:
    """Returns the corpus, whose list is read with the options; UserError if it has no list."""
    if not corpus.is_own_list:
        if options == ListOptions():
            return corpus
        raise UserError(
            '--name, --emotions, --labels, --columns and --scale are for a list of your own '
            f'(folder); {corpus.name} has names, words and ratings of its own. Leave them out.'
        )
    if not options.name and corpus.name != 'folder':
        raise UserError(
            f'--name NAME is missing: the name that your corpus gets, such as prepare {corpus.name}'
            ' --name mine.'
        )
    walk = functools.partial(corpus.walk, options=options)
    if not options.name:
        return dataclasses.replace(corpus, walk=walk)
    corpora.check_own_name(options.name)
    own = corpora.own_corpus(options.name)
    return dataclasses.replace(corpus, walk=walk, name=own.name, title=own.title)


def describe_own_list(list_format: str, utterances: list[Utterance], options: ListOptions) -> dict:
    """Returns what is recorded of a list of the user's own: its classes, and how it was read.

    `list_format` is `folder`, or the name of an importer.
    """
    speakers = {utterance.speaker for utterance in utterances} - {''}
    emotions = {utterance.emotion for utterance in utterances}
    languages = {utterance.language for utterance in utterances} - {''}
    return {
        'format': list_format,
        'classes': sorted(emotions - set(labels.UNTRAINED_EMOTIONS)),
        'languages': sorted(languages),
        'speakers': len(speakers),
        'arguments': list(options.arguments),
    }


def check_same_speeds(folder: Path, speeds: tuple[float, ...]) -> None:
    """UserError if the data set in `folder` has copies at other speeds."""
    existing = read_record(folder).get('speeds', [])
    if existing != list(speeds):
        listed = ','.join([speed_copies.format_speed(speed) for speed in existing])
        raise UserError(
            f'{folder} has copies at the speeds {listed}. '
            f'Name these (--speed {listed}), remove that folder, or choose another --out.'
        )


def check_no_incomplete_dataset(folder: Path) -> None:
    """UserError if `folder` exists; the caller has found no record in it."""
    if folder.exists():
        raise incomplete_error(folder)


def check_inputs(
    corpus: Corpus,
    source: str | os.PathLike | None,
    spec: FeatureSpec,
    extractor: Extractor | None,
) -> None:
    """UserError if the corpus needs a `source`, or the features an `extractor`, and it is None."""
    if source is None and corpus.source_hint:
        raise UserError(f'--source PATH is missing. {corpus.source_hint}')
    if source is None and not corpus.synthesise:
        raise UserError(
            f'The files of {corpus.title} are needed: name their folder with --source PATH. '
            f'The corpus is available from {corpus.homepage}.'
        )
    if isinstance(spec, EncoderStates) and extractor is None:
        raise UserError(
            f'{spec.name} is computed by a pretrained encoder, and none was named. Run '
            f'python -m data_pipelines.prepare {corpus.name} --features upstream:FOLDER.'
        )


def find_source(corpus: Corpus, source: str | os.PathLike | None, out: Path) -> Path:
    """Returns the corpus's source; synthesises the corpus below `out` if none is named."""
    if source is not None:
        return Path(source)
    folder = out / SOURCES_FOLDER / corpus.name
    corpus.synthesise(folder)
    return folder


def walk_corpus(corpus: Corpus, source: Path) -> list[Utterance]:
    """Returns the corpus's utterances; UserError if there are none, or two have the same name."""
    utterances = corpus.walk(source)
    if not utterances:
        raise UserError(
            f'No utterance of {corpus.title} was found in {source}. '
            'Compare its folders and file names with the release.'
        )
    paths: dict[str, Path] = {}
    for utterance in utterances:
        if utterance.name in paths:
            raise UserError(
                f'{corpus.title} has the utterance {utterance.name} twice: '
                f'{paths[utterance.name]} and {utterance.path}. '
                'Remove one, or let --source name a folder that contains only one.'
            )
        paths[utterance.name] = utterance.path
    return utterances


def choose_channel(utterances: list[Utterance], channel: int) -> list[Utterance]:
    """Returns the utterances with this channel, where they have none of their own."""
    if channel < 1:
        raise UserError(f'--channel is {channel}; expected a number from 1.')
    return [dataclasses.replace(u, channel=u.channel or channel) for u in utterances]


def check_same_source(corpus: Corpus, folder: Path, record: dict) -> None:
    """UserError if the data set in `folder` was prepared from utterances other than these.

    A data set without votes is still the same if the corpus has votes now: they are needed for soft
    labels only. That it lacks them is printed.
    """
    existing = read_record(folder)
    if existing['fingerprint'] == record['fingerprint']:
        if existing.get(VOTES_KEY) == record.get(VOTES_KEY):
            return
        if VOTES_KEY not in existing:
            print(
                f'{folder} was prepared without the votes of single raters, which these files '
                'have. To train on soft labels, remove that folder and prepare the corpus again.'
            )
            return
    if existing['source'] == record['source']:
        difference = 'which lists other utterances, or other votes, now'
        if corpus.is_own_list:
            difference += ', or its words are read otherwise'
    else:
        difference = f'and {record["source"]} lists other utterances'
    advice = 'Remove that folder, or choose another --out.'
    if corpus.is_own_list:
        advice = 'Remove that folder, or, if this is another corpus, name it with --name NAME.'
    raise UserError(f'{folder} was prepared from {existing["source"]}, {difference}. {advice}')


def move_dataset(staged_folder: Path, target: Path) -> Path:
    """Moves the finished data set to `target`, in one step, and returns `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(staged_folder, target)
    except OSError:
        # Another process may have been first, with the same data.
        if not (target / RECORD_FILE).exists():
            raise
    return target


@contextlib.contextmanager
def os_errors_as_user_errors(out: Path) -> Iterator[None]:
    """Context that turns errors of the file system (no permission, no space) into UserErrors."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f'{error.filename or out}: {error.strerror or error}. '
            f'Correct that, or choose another --out than {out}.'
        ) from error


def check_one_engine(workers: int | None, beam: list[str] | None, dask: str | None) -> None:
    """UserError if several options say what runs the work, or Dask is not installed."""
    if dask is None:
        return
    if beam is not None:
        raise UserError('--dask and --beam both say what runs the work: leave one out.')
    if workers is not None:
        raise UserError(
            f'--workers {workers} starts processes on this machine, and --dask uses the workers of '
            'a cluster: leave one out.'
        )
    if importlib.util.find_spec('distributed') is None:
        raise UserError(
            "--dask needs Dask: pip install -e '.[dask]' in the checkout of jaxser, here and on "
            'all machines of the cluster.'
        )


def parse_beam_options(arguments: list[str], workers: int, spec: FeatureSpec):
    """Returns Beam's options; UserError if Beam cannot be used."""
    if isinstance(spec, EncoderStates):
        raise UserError('Encoder states are computed by JAX in this process: leave --beam out.')
    try:
        from data_pipelines.storage.beam import make_pipeline_options
    except ModuleNotFoundError as error:
        if error.name != 'apache_beam':
            raise
        raise UserError(
            "--beam needs Apache Beam: pip install -e '.[beam]' in the checkout of jaxser."
        ) from None
    return make_pipeline_options(arguments, workers)


def write_dataset(
    corpus: Corpus,
    utterances: list[Utterance],
    spec: FeatureSpec,
    folder: Path,
    record: dict,
    workers: int,
    beam_options=None,
    extractor: Extractor | None = None,
    dask: str | None = None,
) -> WrittenDataset:
    """Writes the data set below `folder`: shards, columns, two CSV files, and last the record."""
    program = f'{workers} worker process(es)'
    start_workers = functools.partial(run_workers, workers=workers)
    if dask:
        from data_pipelines.storage.dask_workers import run_dask_workers

        program = 'Dask'
        start_workers = functools.partial(run_dask_workers, scheduler=dask)
    elif beam_options:
        program = 'Beam'
    print(f'{corpus.title}: {len(utterances)} utterances; starting {program} ...', flush=True)
    if beam_options:
        from data_pipelines.storage.beam import write_with_beam

        shards, outcomes = write_with_beam(corpus, utterances, spec, folder, beam_options)
    else:
        shards, outcomes = write_with_workers(
            corpus, utterances, spec, folder, start_workers, extractor
        )
    written = WrittenDataset(shards, [], [])
    for utterance, outcome in zip(utterances, outcomes, strict=True):
        if isinstance(outcome, str):
            written.rejected.append((utterance, outcome))
        else:
            written.accepted.append((utterance, outcome))
    write_lists(written)
    write_columns(shards)
    near_duplicates.write_beside_shards(shards)
    counts = {'accepted': len(written.accepted), 'rejected': len(written.rejected)}
    versions = {'librosa': importlib.metadata.version('librosa')}
    content = record | counts | spec.record_fields() | versions
    (shards / RECORD_FILE).write_text(json.dumps(content, indent=2))
    return written


def write_with_workers(
    corpus: Corpus,
    utterances: list[Utterance],
    spec: FeatureSpec,
    folder: Path,
    start_workers: Callable[
        [list[Utterance], FeatureSpec], contextlib.AbstractContextManager[WorkerResults]
    ],
    extractor: Extractor | None,
) -> tuple[Path, list[dict | str]]:
    """Writes the shards in this process, of features that workers compute.

    Returns their folder and the outcomes: for each utterance its `schema.audio_summary`, or the
    reason why it was rejected.
    """
    # Filled by `examples` while `builder.write_shards` reads from it, so that the features of all
    # utterances are never in memory together. It is complete when `write_shards` returns.
    outcomes: list[dict | str] = []

    def examples(results: WorkerResults) -> Iterator[dict]:
        bar = progress_bar(results, desc=corpus.name, total=len(utterances), unit=' utterances')
        for utterance, result in bar:
            if isinstance(result, Rejection):
                outcomes.append(str(result))
            else:
                outcomes.append(schema.audio_summary(result))
                yield schema.label_columns(utterance) | result
        check_any_accepted(utterances, outcomes)

    with start_workers(utterances, spec) as worker_results:
        results = worker_results if extractor is None else extractor(worker_results)
        shards = builder.write_shards(corpus, spec, examples(results), folder)
    return shards, outcomes
