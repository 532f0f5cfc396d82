"""TODO: data_pipelines.storage.preparation."""

import collections
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from data_pipelines import corpora, csv_files
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.decode import Rejection, check_video_support
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import EncoderStates, FeatureSpec
from data_pipelines.progress import progress_bar
from data_pipelines.storage import builder, schema
from data_pipelines.storage.builder import check_any_accepted
from data_pipelines.storage.prepared import (
    RECORD_FILE,
    find_dataset,
    fingerprint_utterances,
    read_record,
)
from data_pipelines.storage.workers import run_workers

WorkerResults = Iterable[tuple[Utterance, dict | Rejection]]

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
) -> Path:
    """Prepares a corpus unless that is done already, and returns the folder of the data set.

    `source` is the corpus's root, for `folder` the CSV; a corpus that is synthesised needs none. The data set appears under
    `out` whole or not at all. Refuses counts that are no release's (unless `allow_partial`), and other data under the same name.
    With `beam`, options of Apache Beam as `name=value`, it runs the work rather than the worker processes.
    `extractor` maps the stream of worker results to final results in the same order; encoder states need one
    (`jaxser.pretrained.extractor.extract_states`), other features do not.
    """
    corpus, out, workers = (
        corpora.load_corpus(name),
        Path(out),
        os.cpu_count() if workers is None else workers,
    )
    if workers < 1:
        raise UserError(f'{workers} worker processes get nothing done; expected 1 or more.')
    done = find_dataset(out, name, spec)
    if done and (source is None or not os.path.exists(source)):
        print(f'{corpus.title} is already prepared: {done}')
        return done
    begun = out / name / spec.name / schema.DATASET_VERSION
    if not done and begun.exists():
        raise UserError(
            f'{begun} holds a data set without its {RECORD_FILE}: it is not whole. Remove that folder first.'
        )
    if source is None and not corpus.synthesise:
        raise UserError(
            f'Where is {corpus.title}? Say so with --source PATH; it is to be had from {corpus.homepage}.'
        )
    if beam is not None:
        if isinstance(spec, EncoderStates):
            raise UserError(
                'The states of an upstream are computed here, by JAX: leave --beam out.'
            )
        beam = parse_beam_options(beam, workers)
    if isinstance(spec, EncoderStates) and extractor is None:
        raise UserError(
            f'{spec.name} is computed by a pretrained encoder, and none was given. Run '
            f'python -m data_pipelines.prepare {name} --features upstream:FOLDER.'
        )
    with os_errors_as_user_errors(out):
        if source is None:
            source = out / 'sources' / name
            corpus.synthesise(source)
        utterances = walk_corpus(corpus, Path(source))
        facts = {
            'corpus': name,
            'source': os.path.abspath(source),
            'fingerprint': fingerprint_utterances(utterances),
        }
        if done:
            check_same_source(done, facts)
            print(f'{corpus.title} is already prepared: {done}')
            return done
        corpus.check_counts(utterances, allow_partial)
        facts['complete'] = corpus.is_complete(utterances)
        check_video_support(utterances)
        with staging_folder(out) as folder:
            shards, accepted, rejected = write_dataset(
                corpus, utterances, spec, folder, facts, workers, beam, extractor
            )
            home = move_dataset(shards, out / shards.relative_to(folder))
    print_summary(corpus, accepted, rejected, home)
    return home


def walk_corpus(corpus: Corpus, source: Path) -> list[Utterance]:
    """The corpus's utterances, of which there are some and no two have the same name."""
    utterances, seen = corpus.walk(source), {}
    if not utterances:
        raise UserError(
            f'{source} lists no utterance of {corpus.title}. Compare it with the release.'
        )
    for u in utterances:
        if u.name in seen:
            raise UserError(
                f'{corpus.title} has {u.name} twice: {seen[u.name]} and {u.path}. Remove one, or narrow --source.'
            )
        seen[u.name] = u.path
    return utterances


def check_same_source(folder: Path, facts: dict) -> None:
    """Refuses to pass a data set off as prepared from this source when it was prepared from other utterances."""
    found = read_record(folder)
    if found['fingerprint'] != facts['fingerprint']:
        lists = (
            'that lists other utterances now'
            if facts['source'] == found['source']
            else f'{facts["source"]} lists other utterances'
        )
        raise UserError(
            f'{folder} was prepared from {found["source"]}, and {lists}. Remove that folder, or choose another --out.'
        )


@contextlib.contextmanager
def staging_folder(out: Path) -> Iterator[Path]:
    """A folder inside `out`, removed at the end; those that killed processes of this machine left are removed at the start."""
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob('.staging-*'):
        m = re.fullmatch(rf'\.staging-(\d+)-{re.escape(platform.node())}', stale.name)
        if m and (int(m[1]) == os.getpid() or not is_process_alive(int(m[1]))):
            shutil.rmtree(stale, ignore_errors=True)
    folder = out / f'.staging-{os.getpid()}-{platform.node()}'
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_process_alive(pid: int) -> bool:
    """Whether a process of that number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def move_dataset(staged_folder: Path, destination: Path) -> Path:
    """Moves the finished data set to where it is looked for, in one step."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(staged_folder, destination)
    except OSError:
        if not (
            destination / RECORD_FILE
        ).exists():  # else another process was first, with the same data
            raise
    return destination


@contextlib.contextmanager
def os_errors_as_user_errors(out: Path) -> Iterator[None]:
    """Turns what the file system says (no permission, no space, ...) into a sentence."""
    try:
        yield
    except OSError as e:
        raise UserError(
            f'{e.filename or out}: {e.strerror or e}. Mend that, or choose another --out than {out}.'
        ) from e


def parse_beam_options(arguments: list[str], workers: int):
    """Beam's options, or a refusal where it is not installed."""
    try:
        from data_pipelines.storage.beam import make_pipeline_options
    except ModuleNotFoundError as e:
        if e.name != 'apache_beam':
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
) -> tuple[Path, list[tuple[Utterance, dict]], list[tuple[Utterance, str]]]:
    """Writes the data set below `folder`: shards, lists for people, and last the record; returns its place and what is in it."""
    means = 'Beam' if beam_options else f'{workers} worker process(es)'
    print(f'{corpus.title}: {len(utterances)} utterances; starting {means} ...', flush=True)
    if beam_options:
        from data_pipelines.storage.beam import write_with_beam

        shards, outcomes = write_with_beam(corpus, utterances, spec, folder, beam_options)
    else:
        shards, outcomes = write_with_processes(
            corpus, utterances, spec, folder, workers, extractor
        )
    accepted = [(u, o) for u, o in zip(utterances, outcomes, strict=True) if isinstance(o, dict)]
    rejected = [(u, o) for u, o in zip(utterances, outcomes, strict=True) if isinstance(o, str)]
    listed = [schema.label_columns(u) | facts | {'path': u.path} for u, facts in accepted]
    left_out = [{'path': u.path, 'utterance': u.name, 'reason': reason} for u, reason in rejected]
    # File names that are not UTF-8 are written as the bytes that they are.
    csv_files.write_rows(shards / 'utterances.csv', listed, errors='surrogateescape')
    columns = ('path', 'utterance', 'reason')
    csv_files.write_rows(shards / 'rejected.csv', left_out, columns, errors='surrogateescape')
    counts = {'accepted': len(accepted), 'rejected': len(rejected)}
    versions = {'librosa': importlib.metadata.version('librosa')}
    (shards / RECORD_FILE).write_text(
        json.dumps(record | counts | spec.record_fields() | versions, indent=2)
    )
    return shards, accepted, rejected


def write_with_processes(
    corpus: Corpus,
    utterances: list[Utterance],
    spec: FeatureSpec,
    folder: Path,
    workers: int,
    extractor: Extractor | None,
) -> tuple[Path, list[dict | str]]:
    """Writes the shards by worker processes; returns their place and, for each utterance, its facts or why it was rejected."""
    outcomes = []

    def examples(results: Iterable[tuple[Utterance, dict | Rejection]]) -> Iterator[dict]:
        for u, result in progress_bar(
            results, desc=corpus.name, total=len(utterances), unit=' utterances'
        ):
            if isinstance(result, Rejection):
                outcomes.append(str(result))
            else:
                outcomes.append(schema.audio_summary(result))
                yield schema.label_columns(u) | result
        check_any_accepted(utterances, outcomes)

    with run_workers(utterances, spec, workers) as results:
        if extractor is not None:
            results = extractor(results)
        return builder.write_shards(corpus, spec, examples(results), folder), outcomes


def print_summary(corpus: Corpus, accepted: list, rejected: list, destination: Path) -> None:
    """Prints what is in the data set, and what is not."""
    import rich.console
    import rich.table

    console = rich.console.Console(highlight=False)
    taken, refused = (
        collections.Counter(u.emotion for u, _ in part) for part in (accepted, rejected)
    )
    grid = rich.table.Table('emotion', title=corpus.title)
    grid.add_column('accepted', justify='right')
    grid.add_column('rejected', justify='right')
    for emotion in sorted({*taken, *refused}):
        grid.add_row(emotion, str(taken[emotion]), str(refused[emotion]))
    grid.add_section()
    grid.add_row('all', str(len(accepted)), str(len(rejected)))
    console.print(grid)
    speakers = len({u.speaker for u, _ in accepted} - {''})
    hours = sum(facts['seconds'] for _, facts in accepted) / 3600
    print(f'{speakers} speakers, {hours:.2f} hours: {destination}')
    same = collections.defaultdict(list)
    for u, facts in accepted:
        same[facts['sha256']].append(u)
    for some in (us for us in same.values() if len(us) > 1):
        differ = (
            ''
            if len({(u.speaker, u.emotion) for u in some}) == 1
            else ', though their speakers or emotions differ'
        )
        print(f'identical audio{differ}: {" = ".join(u.name for u in some)}')
    for u, reason in rejected[:20]:
        print(f'rejected: {u.path}: {reason}'.encode(errors='backslashreplace').decode())
    if len(rejected) > 20:
        print(f'... and {len(rejected) - 20} more, in {destination / "rejected.csv"}')
