"""python -m data_pipelines.prepare NAME --source PATH: from a corpus as released to shards of features that `tfds.load` reads."""

import argparse
import collections
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from data_pipelines import builder, corpora, csv_files
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.log_mel import LogMel, Rejected, require
from data_pipelines.progress import progress
from data_pipelines.refusal import Refusal, spoken
from data_pipelines.upstream import HEARD, KEPT, Heard, States

RECORD = 'prepared.json'


def find(out: str | os.PathLike, name: str, spec: LogMel | States | Heard) -> Path | None:
    """The folder of the finished data set, or None; costs no TensorFlow."""
    try:
        folder = Path(out) / name / spec.name / builder.VERSION
    except importlib.metadata.PackageNotFoundError:  # no librosa here: nothing can have been prepared for it
        return None
    return folder if (folder / RECORD).exists() else None


def record(folder: Path) -> dict:
    """What is said of a finished data set when it was prepared; refuses a damaged file by its name."""
    try:
        found = json.loads((folder / RECORD).read_text())
        if not isinstance(found['fingerprint'], str):
            raise ValueError('no fingerprint')
        return found
    except (OSError, ValueError, KeyError, TypeError) as e:
        what = f'{type(e).__name__}: {e}'
        raise Refusal(f'{folder / RECORD} is damaged ({what}). Remove {folder} and prepare the corpus again.') from None


def librosa() -> str | None:
    """The version that is installed, if any; importing it would take seconds."""
    try:
        return importlib.metadata.version('librosa')
    except importlib.metadata.PackageNotFoundError:
        return None


def by_other_librosas(out: str | os.PathLike, name: str, spec: LogMel) -> dict[str, Path]:
    """The folders of data sets of the same features by versions of librosa that are not installed."""
    found = {}
    for file in sorted((Path(out) / name).glob(f'*/{builder.VERSION}/{RECORD}')):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(file.read_text())
            if record['log_mel'] == dataclasses.asdict(spec) and record['librosa'] != librosa():
                found[record['librosa']] = file.parent
    return found


def prepare(
    name: str,
    source: str | os.PathLike | None,
    out: str | os.PathLike,
    spec: LogMel | States | Heard = LogMel(),  # noqa: B008 (frozen)
    allow_partial: bool = False,
    workers: int | None = None,
    beam: list[str] | None = None,
) -> Path:
    """Prepares a corpus unless that is done already, and returns the folder of the data set.

    `source` is the corpus's root, for `folder` the CSV; a corpus that is synthesised needs none. The data set appears under
    `out` whole or not at all. Refuses counts that are no release's (unless `allow_partial`), and other data under the same name.
    With `beam`, options of Apache Beam as `name=value`, it runs the work rather than the worker processes.
    """
    corpus, out, workers = corpora.load(name), Path(out), os.cpu_count() if workers is None else workers
    if workers < 1:
        raise Refusal(f'{workers} worker processes get nothing done; expected 1 or more.')
    done = find(out, name, spec)
    if done and (source is None or not os.path.exists(source)):
        print(f'{corpus.title} is already prepared: {done}')
        return done
    begun = out / name / spec.name / builder.VERSION
    if not done and begun.exists():
        raise Refusal(f'{begun} holds a data set without its {RECORD}: it is not whole. Remove that folder first.')
    if source is None and not corpus.make:
        raise Refusal(f'Where is {corpus.title}? Say so with --source PATH; it is to be had from {corpus.home}.')
    if beam is not None:
        if isinstance(spec, States):
            raise Refusal('The states of an upstream are computed here, by JAX: leave --beam out.')
        beam = pipeline(beam, workers)
    with refusing_os_errors(out):
        if source is None:
            source = out / 'sources' / name
            corpus.make(source)
        utterances = walk(corpus, Path(source))
        facts = {'corpus': name, 'source': os.path.abspath(source), 'fingerprint': fingerprint(utterances)}
        if done:
            already(done, facts)
            print(f'{corpus.title} is already prepared: {done}')
            return done
        corpus.check(utterances, allow_partial)
        facts['complete'] = corpus.complete(utterances)
        require(utterances)
        with staging(out) as folder:
            shards, accepted, rejected = write(corpus, utterances, spec, folder, facts, workers, beam)
            home = place(shards, out / shards.relative_to(folder))
    summarise(corpus, accepted, rejected, home)
    return home


def walk(corpus: Corpus, source: Path) -> list[Utterance]:
    """The corpus's utterances, of which there are some and no two have the same name."""
    utterances, seen = corpus.walk(source), {}
    if not utterances:
        raise Refusal(f'{source} lists no utterance of {corpus.title}. Compare it with the release.')
    for u in utterances:
        if u.name in seen:
            raise Refusal(f'{corpus.title} has {u.name} twice: {seen[u.name]} and {u.path}. Remove one, or narrow --source.')
        seen[u.name] = u.path
    return utterances


def already(done: Path, now: dict) -> None:
    """Refuses to pass a data set off as prepared from this source when it was prepared from other utterances."""
    found = record(done)
    if found['fingerprint'] != now['fingerprint']:
        lists = (
            'that lists other utterances now' if now['source'] == found['source'] else f'{now["source"]} lists other utterances'
        )
        raise Refusal(f'{done} was prepared from {found["source"]}, and {lists}. Remove that folder, or choose another --out.')


def fingerprint(utterances: list[Utterance]) -> str:
    """What tells two lists of utterances apart, wherever their files lie."""
    facts = [dataclasses.astuple(dataclasses.replace(u, path=Path(u.path.name))) for u in utterances]
    return hashlib.sha256(repr(facts).encode(errors='surrogateescape')).hexdigest()


@contextlib.contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A folder inside `out`, removed at the end; those that killed processes of this machine left are removed at the start."""
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob('.staging-*'):
        m = re.fullmatch(rf'\.staging-(\d+)-{re.escape(platform.node())}', stale.name)
        if m and (int(m[1]) == os.getpid() or not alive(int(m[1]))):
            shutil.rmtree(stale, ignore_errors=True)
    folder = out / f'.staging-{os.getpid()}-{platform.node()}'
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def alive(pid: int) -> bool:
    """Whether a process of that number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def place(shards: Path, home: Path) -> Path:
    """Moves the finished data set to where it is looked for, in one step."""
    home.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(shards, home)
    except OSError:
        if not (home / RECORD).exists():  # else another process was first, with the same data
            raise
    return home


@contextlib.contextmanager
def refusing_os_errors(out: Path) -> Iterator[None]:
    """Turns what the file system says (no permission, no space, ...) into a sentence."""
    try:
        yield
    except OSError as e:
        raise Refusal(f'{e.filename or out}: {e.strerror or e}. Mend that, or choose another --out than {out}.') from e


def pipeline(words: list[str], workers: int):
    """Beam's options, or a refusal where it is not installed."""
    try:
        from data_pipelines import beam
    except ModuleNotFoundError as e:
        if e.name != 'apache_beam':
            raise
        raise Refusal("--beam needs Apache Beam: pip install -e '.[beam]' in the checkout of jaxser.") from None
    return beam.options(words, workers)


def write(
    corpus: Corpus,
    utterances: list[Utterance],
    spec: LogMel | States | Heard,
    folder: Path,
    record: dict,
    workers: int,
    beam_options=None,
) -> tuple[Path, list[tuple[Utterance, dict]], list[tuple[Utterance, str]]]:
    """Writes the data set below `folder`: shards, lists for people, and last the record; returns its place and what is in it."""
    means = 'Beam' if beam_options else f'{workers} worker process(es)'
    print(f'{corpus.title}: {len(utterances)} utterances; starting {means} ...', flush=True)
    if beam_options:
        from data_pipelines import beam

        shards, outcomes = beam.write(corpus, utterances, spec, folder, beam_options)
    else:
        shards, outcomes = by_processes(corpus, utterances, spec, folder, workers)
    accepted = [(u, o) for u, o in zip(utterances, outcomes, strict=True) if isinstance(o, dict)]
    rejected = [(u, o) for u, o in zip(utterances, outcomes, strict=True) if isinstance(o, str)]
    listed = [builder.labels(u) | facts | {'path': u.path} for u, facts in accepted]
    left_out = [{'path': u.path, 'utterance': u.name, 'reason': reason} for u, reason in rejected]
    # File names that are not UTF-8 are written as the bytes that they are.
    csv_files.write_rows(shards / 'utterances.csv', listed, errors='surrogateescape')
    columns = ('path', 'utterance', 'reason')
    csv_files.write_rows(shards / 'rejected.csv', left_out, columns, errors='surrogateescape')
    counts = {'accepted': len(accepted), 'rejected': len(rejected)}
    versions = {'librosa': importlib.metadata.version('librosa')}
    (shards / RECORD).write_text(json.dumps(record | counts | spec.record() | versions, indent=2))
    return shards, accepted, rejected


def by_processes(
    corpus: Corpus, utterances: list[Utterance], spec: LogMel | States | Heard, folder: Path, workers: int
) -> tuple[Path, list[dict | str]]:
    """Writes the shards by worker processes; returns their place and, for each utterance, its facts or why it was rejected."""
    outcomes = []

    def examples(results: Iterable[tuple[Utterance, dict | Rejected]]) -> Iterator[dict]:
        for u, result in progress(results, desc=corpus.name, total=len(utterances), unit=' utterances'):
            if isinstance(result, Rejected):
                outcomes.append(str(result))
            else:
                outcomes.append(builder.facts(result))
                yield builder.labels(u) | result
        usable(utterances, outcomes)

    with builder.computed(utterances, spec, workers) as results:
        return builder.write(corpus, spec, examples(spec.finish(results)), folder), outcomes


def usable(utterances: list[Utterance], outcomes: list[dict | str]) -> None:
    """Refuses outcomes that are all reasons: TFDS writes no empty data set."""
    if all(isinstance(o, str) for o in outcomes):
        raise Refusal(f'None of the {len(utterances)} utterances can be used; the first, {utterances[0].path}, is {outcomes[0]}.')


def summarise(corpus: Corpus, accepted: list, rejected: list, home: Path) -> None:
    """Prints what is in the data set, and what is not."""
    import rich.console
    import rich.table

    console = rich.console.Console(highlight=False)
    taken, refused = (collections.Counter(u.emotion for u, _ in part) for part in (accepted, rejected))
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
    print(f'{speakers} speakers, {hours:.2f} hours: {home}')
    same = collections.defaultdict(list)
    for u, facts in accepted:
        same[facts['sha256']].append(u)
    for some in (us for us in same.values() if len(us) > 1):
        differ = '' if len({(u.speaker, u.emotion) for u in some}) == 1 else ', though their speakers or emotions differ'
        print(f'identical audio{differ}: {" = ".join(u.name for u in some)}')
    for u, reason in rejected[:20]:
        print(f'rejected: {u.path}: {reason}'.encode(errors='backslashreplace').decode())
    if len(rejected) > 20:
        print(f'... and {len(rejected) - 20} more, in {home / "rejected.csv"}')


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m data_pipelines.prepare', description=__doc__.split(': ')[1])
    parser.add_argument('name', metavar='NAME', help=', '.join(corpora.names()))
    parser.add_argument('--source', help="the corpus's root; for `folder`, the CSV")
    parser.add_argument('--out', default='data', help='where the data sets are (%(default)s)')
    parser.add_argument('--allow_partial', action='store_true', help="accept counts other than the release's")
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
        choices=(*KEPT, HEARD),
        help=f'of an upstream: what is kept of its states, or instead of them what it hears, to fine-tune it ({KEPT[0]})',
    )
    for field in dataclasses.fields(LogMel):
        parser.add_argument(f'--{field.name}', type=field.type, default=field.default, help='log-mel (%(default)s)')
    arguments = vars(parser.parse_args())
    with spoken('Nothing was left behind.'):
        fields = {field.name: arguments.pop(field.name) for field in dataclasses.fields(LogMel)}
        prepare(spec=asked(arguments.pop('features'), arguments.pop('states'), LogMel(**fields)), **arguments)


def asked(features: str, states: str | None, log_mel: LogMel) -> LogMel | States | Heard:
    """What the options name."""
    what, _, folder = features.partition(':')
    if what == 'upstream' and folder:
        if log_mel != LogMel():
            raise Refusal(f'{log_mel} has no part in the states of an upstream or what it hears: leave its options out.')
        folder = os.path.expanduser(folder)  # which a shell leaves alone there
        return Heard.of(folder) if states == HEARD else States.of(folder, states or KEPT[0])
    if features != 'log-mel':
        raise Refusal(f'--features is {features!r}; expected log-mel, or upstream:FOLDER.')
    if states:
        raise Refusal(f'--states {states} is of an upstream: name its Hugging Face folder, --features upstream:FOLDER.')
    return log_mel


if __name__ == '__main__':
    main()
