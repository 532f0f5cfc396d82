"""The folder of a sweep: its files, its lock, and the checks that it belongs to the sweep."""

import functools
import io
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock
import numpy as np
from etils import epath

from data_pipelines.errors import UserError
from data_pipelines.storage import dataset
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize
from jaxser import distributed, earlier, parquet, workdir_files
from jaxser.configuration.serialization import config_from_dict, config_to_dict
from jaxser.provenance import PACKAGES, git_commit, package_version
from jaxser.runs import flatten
from jaxser.workdir_files import WorkdirFiles

# The configuration keys that may change before a sweep is resumed.
RESUMABLE_KEYS = (
    'data.dir',
    'model.upstream',
    'train.checkpoint_seconds',
    'data.eval_batch',
    'data.resident',
    'probe',
    'track',
)

PATTERN_CHARACTERS = '[]*?\\'

PREDICTIONS, PARQUET = 'predictions.csv', 'predictions.parquet'

# The files that this module writes, in the workdir and its folders groups/N and model.
WRITTEN_FILES = (
    'writable',
    workdir_files.CHECKSUMS_FILE,
    'choices.json',
    'config.json',
    'metrics.jsonl',
    'model.json',
    'model.safetensors',
    'outcome.json',
    PREDICTIONS,
    PARQUET,
    'representations.npz',
    'results.json',
)


def check_no_pattern(path) -> None:
    """Raises UserError for a path with characters of file patterns.

    Orbax would take them for a pattern: its checkpoints could be written, but not be read.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f'The workdir {path} has a name that is not UTF-8, with which no checkpoint can be '
            'saved. Choose another --workdir, or rename the folder.'
        ) from None
    characters = [character for character in PATTERN_CHARACTERS if character in str(path)]
    if characters:
        raise UserError(
            f'The workdir {path} has {" ".join(characters)} in its path, with which checkpoints '
            'cannot be read again. Choose another --workdir, or rename the folder.'
        )


def lock_folder(folder: Path) -> filelock.BaseFileLock:
    """Returns the acquired lock of a folder.

    The folder is locked as long as the lock is referenced and this process runs. A process may call
    this several times for one folder. Raises UserError if another process has the lock. Where the
    file cannot be locked, as on some file systems, that is printed, and nothing is locked.
    """
    # No fallback to a soft lock, which would remain after its process was killed on another host.
    lock = filelock.FileLock(
        folder / '.lock',
        timeout=0,
        is_singleton=True,
        thread_local=False,
        fallback_to_soft=False,
        mode=0o644,
    )
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UserError(
            f'Another process is using {folder}. Wait for it to end, or choose another --workdir.'
        ) from None
    except (OSError, NotImplementedError) as error:
        _report_no_lock(folder, getattr(error, 'strerror', None) or str(error))
    return lock


@functools.cache  # one process opens a workdir several times
def _report_no_lock(folder: Path, reason: str) -> None:
    """Prints that a folder could not be locked: another user's, or a file system without locks."""
    print_text(
        f'{folder / ".lock"} cannot be locked ({reason}). Make sure that no other process trains '
        'or probes in this workdir. If the file belongs to another user, and nothing runs there, '
        'remove it.'
    )


def describe_saved(path, epochs: int) -> str:
    """Says how much of an interrupted sweep of `epochs` epochs is saved in the workdir `path`."""
    path = epath.Path(path)
    if (path / 'results.json').exists():
        return 'Training is finished and saved. The same command continues with what follows it.'
    finished = 0
    while (path / 'groups' / str(finished) / 'outcome.json').exists():
        finished += 1
    saved = []
    if finished:
        saved.append(f'{pluralize(finished, "finished group")} of runs')
    checkpoints = path / 'groups' / str(finished) / 'checkpoints'
    names = [file.name for file in checkpoints.iterdir()] if checkpoints.exists() else []
    done = [int(name) for name in names if name.isdigit()]
    if done:
        saved.append(f'a checkpoint after epoch {min(max(done), epochs)} of {epochs}')
    if not saved:
        return 'No checkpoint has been saved yet: the same command starts training again.'
    return f'Saved: {" and ".join(saved)}. The same command resumes from there.'


def continue_earlier_sweep(path, config):
    """Returns the configuration with the earlier defaults if the sweep in `path` began with them.

    Returns it unchanged if `path` contains no sweep, another sweep, or one of this version.
    """
    files = WorkdirFiles(epath.Path(path))
    if not files.exists('config.json'):
        return config
    stored = files.read_json('config.json', workdir_files.CONFIG)['config']
    marked_config = earlier.with_mark(config)
    is_earlier_sweep = not _list_differences(stored, marked_config)
    return marked_config if is_earlier_sweep else config


def _list_differences(stored: dict, config) -> list[str]:
    """Returns in which keys a configuration differs from one in config.json.

    Keys that may change before a sweep is resumed do not count.
    """
    old = flatten(earlier.complete(stored))
    new = flatten(earlier.complete(config_to_dict(config)))
    differing_keys = []
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key) and key not in RESUMABLE_KEYS:
            differing_keys.append(key)
    if len(differing_keys) > 1 and earlier.MARK in differing_keys:
        differing_keys.remove(earlier.MARK)  # the user's own changes say more
    differences = []
    for key in differing_keys:
        was, is_now = _format_option(old.get(key)), _format_option(new.get(key))
        differences.append(f'{key} was {was}, is {is_now}')
    return differences


def _format_option(value) -> str:
    """Returns a value as the command line takes it: lists have commas."""
    if isinstance(value, list):
        return ','.join(map(str, value)) or '()'
    return str(value)


def _read_config(file):
    """Returns the configuration of a sweep from its config.json."""
    stored = WorkdirFiles(file.parent).read_json(file.name, workdir_files.CONFIG)['config']
    try:
        return config_from_dict(earlier.complete(stored))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f'its configuration cannot be used ({type(error).__name__}: {error})'
        raise workdir_files.damaged(file, reason) from None


class Workdir:
    """The folder of one sweep, on a disk or at gs://. Every process reads it, process 0 writes."""

    def __init__(self, path, config):
        """Makes the folder if it does not exist.

        Raises UserError if it contains another sweep, if another process is using it, or if it
        cannot be written.
        """
        is_remote = '://' in str(path)
        self.path = epath.Path(path)
        if not self.path.is_absolute() and not is_remote:
            self.path = epath.Path(Path(path).absolute())
        if not is_remote:
            check_no_pattern(self.path)
        self.config = config
        self.files = WorkdirFiles(self.path)
        if distributed.is_main_process():
            self._make_folder(path)
            self.lock = None if is_remote else lock_folder(Path(self.path))
            if self.lock and self.lock.is_locked:
                self._remove_partial_files()
        distributed.check_shared_folder(self.path)
        self._check_same_sweep()

    def _make_folder(self, path) -> None:
        """Makes the folder and writes a file to it; `path` is what the user wrote."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UserError(
                f'The workdir {path} cannot be made: {e.strerror}. Choose another with --workdir.'
            ) from None
        try:
            workdir_files.write_whole(self.path / 'writable', '')
            (self.path / 'writable').unlink()
        except PermissionError:
            raise UserError(
                f'No permission to write to the workdir {path}. Choose another with --workdir.'
            ) from None

    def _remove_partial_files(self) -> None:
        """Removes what killed processes have left of files that they were writing."""
        folders = [Path(self.path), Path(self.path) / 'model']
        folders += Path(self.path).glob('groups/*')
        for folder in folders:
            for name in WRITTEN_FILES:
                workdir_files.remove_partial_files(folder, name)

    def remove_if_empty(self) -> None:
        """Removes the folder if it contains nothing but the lock."""
        if not distributed.is_main_process():
            return
        names = {file.name for file in self.path.iterdir()}
        if names <= {'.lock'}:
            (self.path / '.lock').unlink(missing_ok=True)
            self.path.rmdir()

    def _check_same_sweep(self) -> None:
        """Raises UserError if the folder contains another sweep, or a sweep over other data."""
        description = self._read_json('config.json', workdir_files.CONFIG)
        if not description:
            return
        differences = _list_differences(description['config'], self.config)
        if differences:
            raise UserError(
                f'{self.path} contains another sweep ({"; ".join(differences[:5])}). '
                f'Choose another --workdir. To train in this one, first remove {self.path}.'
            )
        old_fingerprints = description.get('data') or {}
        fingerprints = dataset.read_existing_fingerprints(self.config.data)
        for name, fingerprint in fingerprints.items():
            if old_fingerprints.get(name) != fingerprint:
                raise UserError(
                    f'{self.path} contains a sweep over other data: {name} has been prepared '
                    'again since, from other utterances. Choose another --workdir. To train in '
                    f'this one, first remove {self.path}.'
                )

    @classmethod
    def open(cls, path, data: str | None = None, upstream: str | None = None) -> 'Workdir':
        """Returns the workdir of a sweep that has been started, with the sweep's configuration.

        `data` is the folder of the prepared corpora, if they have been moved since. `upstream` is
        the folder of the pretrained encoder that the sweep fine-tunes, if it has been moved.
        Raises UserError if `path` has no config.json.
        """
        file = epath.Path(path) / 'config.json'
        if not WorkdirFiles(file.parent).exists(file.name):
            raise UserError(
                f'{path} contains no sweep (no config.json); expected a workdir of jaxser.main, '
                'e.g. runs/dann_demo.'
            )
        config = _read_config(file)
        if data:
            config.data.dir = data
        if upstream and config.model.name == 'fine_tuned':
            config.model.upstream = os.path.expanduser(upstream)
        return cls(path, config)

    def load_results(self) -> dict | None:
        """Returns results.json, or None if the sweep is not finished."""
        return self._read_json('results.json', workdir_files.RESULTS)

    def list_missing_steps(self) -> list[str]:
        """Returns what jaxser.main does after training and has not yet done here."""
        missing = []
        if self.config.probe and not (self.path / 'representations.npz').exists():
            missing.append('measuring leakage')
        enrols = self.config.data.normalise == 'speaker_enrolled'
        if enrols and 'enrolment' not in (self.load_results() or {}):
            missing.append('measuring enrolment')
        if not (self.path / 'model' / 'model.json').exists():
            missing.append('saving the model')
        if not (self.path / 'report.html').exists():
            missing.append('the report')
        return missing

    def load_choices(self) -> dict:
        """Returns what was chosen automatically when the sweep was started."""
        return self._read_json('choices.json', workdir_files.CHOICES) or {}

    def save_choices(self, choices: dict) -> None:
        """Writes what was chosen automatically, so that resuming chooses the same."""
        self._write_atomically('choices.json', json.dumps(choices))

    def checkpoint_folder(self, group: int) -> epath.Path:
        """Returns the folder of a group's checkpoints."""
        return self.path / 'groups' / str(group) / 'checkpoints'

    def load_outcome(self, group: int) -> dict | None:
        """Returns the outcome of a group, or None if the group is not finished."""
        name = f'groups/{group}/outcome.json'
        remedy = f'Remove {self.path / name}: the same command tests this group again.'
        outcome = self._read_json(name, workdir_files.OUTCOME, remedy)
        if outcome is not None:
            workdir_files.check_runs(self.path / name, outcome['runs'], remedy)
        return outcome

    def save_outcome(self, group: int, outcome: dict, predictions: Iterable[str]) -> None:
        """Writes the outcome of a group and its predictions.csv.

        `predictions` are the parts of predictions.csv. They are written one after the other. The
        outcome comes last: its presence means that the group is finished.
        """
        if distributed.is_main_process():
            parts = map(str.encode, predictions)
            self.files.write_parts(f'groups/{group}/{PREDICTIONS}', parts)
        self._write_atomically(f'groups/{group}/outcome.json', json.dumps(outcome))

    def check_same_split(self, task) -> None:
        """Raises UserError if the split differs from the one with which the sweep was started."""
        description = self._read_json('config.json', workdir_files.CONFIG)
        if description and description.get('split_sha256') != task.split_sha256:
            old, new = str(description.get('split_sha256'))[:12], task.split_sha256[:12]
            raise UserError(
                f'The data have changed since the sweep in {self.path} was started (split {old}, '
                f'now {new}). Prepare the corpus as it was, or choose another --workdir.'
            )

    def load_audit(self, task) -> dict | None:
        """Returns the audit in config.json; None if it is of other data or another version."""
        description = self._read_json('config.json', workdir_files.CONFIG)
        if not description:
            return None
        stored = [description.get(key) for key in ('split_sha256', 'data', 'git_commit')]
        current = [task.split_sha256, task.data.fingerprints, git_commit()]
        version = (description.get('versions') or {}).get('jaxser')
        if stored != current or version != package_version('jaxser'):
            return None
        return description.get('audit')

    def save_description(self, task) -> None:
        """Writes config.json; raises UserError if the folder's sweep has another split."""
        self.check_same_split(task)
        versions = {'python': platform.python_version()}
        for package in PACKAGES:
            versions[package] = package_version(package)
        description = {
            'command': f'python -m jaxser.main {shlex.join(sys.argv[1:])}',
            'config': config_to_dict(self.config),
            'data': task.data.fingerprints,
            'protocol': task.protocol.title,
            'split_sha256': task.split_sha256,
            'utterances': len(task.utterances),
            'left_out': task.split.left_out,
            'unused': task.split.unused,
            'audit': task.audit,
            'versions': versions,
            'git_commit': git_commit(),
        }
        self._write_atomically('config.json', json.dumps(description, indent=2))

    def merge_predictions(self, groups: int) -> epath.Path:
        """Joins the predictions of all groups to predictions.csv; returns its path.

        If it is large, the same table is beside it as predictions.parquet.
        """
        if distributed.is_main_process():
            self.files.write_parts(PREDICTIONS, self._merged_predictions(groups))
            self._write_parquet()
        return self.path / PREDICTIONS

    def _merged_predictions(self, groups: int) -> Iterator[bytes]:
        """Yields the parts of predictions.csv: a header, and the rows of each group."""
        header = b''
        for group in range(groups):
            remedy = (
                f'Remove {self.path}/groups/{group}/outcome.json: the same command predicts again '
                'from the checkpoint.'
            )
            content = self.files.read(f'groups/{group}/{PREDICTIONS}', remedy)
            # The file is empty if all runs of the group have diverged. All others have one header.
            if content and not header:
                header = content[: content.index(b'\n') + 1]
                yield header
            start = len(header) if content.startswith(header) else 0
            yield memoryview(content)[start:]  # not a copy

    def _write_parquet(self) -> None:
        """Writes predictions.parquet if predictions.csv is large, and else removes an older one."""
        size = (self.path / PREDICTIONS).stat().length
        if size > parquet.MIN_CSV_BYTES and parquet.is_available():
            self.files.write(PARQUET, parquet.csv_to_parquet(self.files.read(PREDICTIONS)))
        elif self.files.exists(PARQUET):
            self.files.remove([PARQUET])

    def save_results(self, results: dict) -> None:
        """Writes results.json, and removes the groups' own predictions.

        The presence of results.json means that the sweep is finished and has its predictions.csv.
        """
        self._write_atomically('results.json', json.dumps(results, indent=2))
        if distributed.is_main_process():
            groups = range(len(results['groups']))
            self.files.remove([f'groups/{group}/{PREDICTIONS}' for group in groups])

    def save_metrics(self, lines: list[str]) -> None:
        """Writes metrics.jsonl."""
        self._write_atomically('metrics.jsonl', ''.join(lines))

    def save_representations(self, arrays: dict[str, np.ndarray]) -> None:
        """Writes representations.npz, whose arrays jaxser/probe.py describes."""
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        self._write_atomically('representations.npz', content.getvalue())

    def read_lines(self, name: str) -> list[str]:
        """Returns the lines of a file with their newlines; none if there is no such file."""
        text = self.files.read_text(name) if self.files.exists(name) else ''
        return list(io.StringIO(text, newline='\n'))

    def _read_json(
        self, name: str, schema: dict, remedy: str = workdir_files.RETRAIN
    ) -> dict | None:
        """Returns the content of a JSON file, or None if there is no such file."""
        return self.files.read_json(name, schema, remedy) if self.files.exists(name) else None

    def save_model(self, weights: bytes, facts: dict) -> None:
        """Writes model/. The facts come last: they mean that the weights are complete."""
        if distributed.is_main_process():
            workdir_files.write_whole(self.path / 'model' / 'model.safetensors', weights)
            workdir_files.write_whole(
                self.path / 'model' / 'model.json', json.dumps(facts, indent=2)
            )

    def _write_atomically(self, name: str, content: str | bytes) -> None:
        """Writes a file completely or not at all. Only process 0 writes."""
        if not distributed.is_main_process():
            return
        self.files.write(name, content)
