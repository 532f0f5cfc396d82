"""What a sweep leaves behind, and whether it is this sweep's."""

import fcntl
import io
import json
import os
import platform
import shlex
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from etils import epath

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from data_pipelines.storage import dataset
from jaxser import distributed
from jaxser.analysis.predictions import read_prediction_rows
from jaxser.configuration.serialization import config_from_dict, config_to_dict
from jaxser.provenance import PACKAGES, git_commit, package_version
from jaxser.runs import flatten

# What may change before a resumption.
RESUMABLE_KEYS = (
    'data.dir',
    'model.upstream',
    'train.checkpoint_seconds',
    'data.eval_batch',
    'data.resident',
    'probe',
)


class WorkdirLock:
    """That this process writes in a folder, until nobody here refers to it any more or the process ends."""

    def __init__(self, folder: Path):
        file = os.open(folder / '.lock', os.O_RDWR | os.O_CREAT)
        weakref.finalize(self, os.close, file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f'Another process is working in {folder}. Wait for it, or choose another --workdir.'
            ) from None
        except OSError:  # this file system knows no locks
            pass

    @classmethod
    def acquire(cls, folder: Path) -> 'WorkdirLock':
        """The one that is there, or a new one; refuses a folder in which another process writes."""
        held = OPEN_LOCKS[str(folder)] = OPEN_LOCKS.get(str(folder)) or cls(folder)
        return held


OPEN_LOCKS: weakref.WeakValueDictionary[str, WorkdirLock] = (
    weakref.WeakValueDictionary()
)  # a process may open a folder twice


class Workdir:
    """The folder of one sweep, on a disk or at gs://; refuses one that holds another sweep or cannot be written.

    Every process reads it, and process 0 writes.
    """

    def __init__(self, path, config):
        self.path, self.config = epath.Path(path), config
        if not self.path.is_absolute() and '://' not in str(path):
            self.path = epath.Path(Path(path).absolute())
        if distributed.is_main_process():
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise UserError(
                    f'The workdir {path} cannot be made: {e.strerror}. Choose another with --workdir.'
                ) from None
            try:
                self._write_atomically('writable', '')
                (self.path / 'writable').unlink()
            except PermissionError:
                raise UserError(
                    f'No permission to write to the workdir {path}. Choose another with --workdir.'
                ) from None
            self.lock = WorkdirLock.acquire(Path(self.path)) if '://' not in str(path) else None
        distributed.check_shared_folder(self.path)
        self._check_same_sweep()

    def remove_if_empty(self) -> None:
        """Removes the folder of a sweep that was refused before it left anything."""
        if distributed.is_main_process() and not any(
            p.name != '.lock' for p in self.path.iterdir()
        ):
            (self.path / '.lock').unlink(missing_ok=True)
            self.path.rmdir()

    def _check_same_sweep(self) -> None:
        if not (known := self._read_json('config.json')):
            return
        old, new = flatten(known['config']), flatten(config_to_dict(self.config))
        differ = [
            k for k in sorted({*old, *new}) if old.get(k) != new.get(k) and k not in RESUMABLE_KEYS
        ]
        if differ:
            what = '; '.join(f'{k} was {old.get(k)}, is {new.get(k)}' for k in differ[:5])
            raise UserError(
                f'{self.path} holds another sweep ({what}). Choose another --workdir, or remove that one to train anew.'
            )
        was, now = known['data'], dataset.read_fingerprints(self.config.data)
        if changed := [name for name in now if was.get(name) != now[name]]:
            raise UserError(
                f'{self.path} holds a sweep over other data: {changed[0]} has been prepared anew since, from other utterances. '
                'Choose another --workdir, or remove that one to train anew.'
            )

    @classmethod
    def open(cls, path, data: str | None = None, upstream: str | None = None) -> 'Workdir':
        """The folder of a sweep that has begun, with its own configuration.

        `data` is where the shards are now, `upstream` where the pretrained encoder that it trains, if it trains one.
        """
        known = epath.Path(path) / 'config.json'
        if not known.exists():
            raise UserError(
                f'{path} holds no sweep (no config.json); expected a workdir of jaxser.main, e.g. runs/dann_demo.'
            )
        config = config_from_dict(json.loads(known.read_text())['config'])
        if data:
            config.data.dir = data
        if upstream and config.model.name == 'fine_tuned':
            config.model.upstream = os.path.expanduser(upstream)
        return cls(path, config)

    def load_results(self) -> dict | None:
        """The results of a sweep that is done."""
        return self._read_json('results.json')

    def load_choices(self) -> dict:
        """What was chosen automatically when the sweep began."""
        return self._read_json('choices.json') or {}

    def save_choices(self, choices: dict) -> None:
        """Remembers what was chosen, so that resuming chooses the same."""
        self._write_atomically('choices.json', json.dumps(choices))

    def checkpoint_folder(self, group: int) -> epath.Path:
        """The folder of a group's checkpoints."""
        return self.path / 'groups' / str(group) / 'checkpoints'

    def load_outcome(self, group: int) -> dict | None:
        """The runs of a group that is done."""
        return self._read_json(f'groups/{group}/outcome.json')

    def save_outcome(self, group: int, outcome: dict, predictions: list[dict]) -> None:
        """Writes what a group has come to; the outcome's presence says that it is done."""
        self._write_atomically(
            f'groups/{group}/predictions.csv', csv_files.format_rows(predictions)
        )
        self._write_atomically(f'groups/{group}/outcome.json', json.dumps(outcome))

    def check_same_split(self, task) -> None:
        """Refuses other data than those the sweep began with."""
        if (known := self._read_json('config.json')) and (
            old := known['split_sha256']
        ) != task.split_sha256:
            raise UserError(
                f'The data have changed since the sweep in {self.path} began (split {old[:12]}, now {task.split_sha256[:12]}). '
                'Prepare the corpus as it was, or choose another --workdir.'
            )

    def save_description(self, task) -> None:
        """Writes config.json; refuses to go on with other data than those the sweep began with."""
        self.check_same_split(task)
        facts = {
            'command': f'python -m jaxser.main {shlex.join(sys.argv[1:])}',
            'config': config_to_dict(self.config),
            'data': dataset.read_fingerprints(self.config.data),
            'protocol': task.protocol.title,
            'split_sha256': task.split_sha256,
            'utterances': len(task.utterances),
            'left_out': task.split.left_out,
            'unused': task.split.unused,
            'audit': task.audit,
            'versions': {'python': platform.python_version()}
            | {p: package_version(p) for p in PACKAGES},
            'git_commit': git_commit(),
        }
        self._write_atomically('config.json', json.dumps(facts, indent=2))

    def merge_predictions(self, groups: int) -> Iterator[dict]:
        """Writes predictions.csv of those of all groups, and returns its rows; in process 0 alone."""
        texts = [self._read_text(f'groups/{n}/predictions.csv') for n in range(groups)]
        # The same in all but those that are empty, as every run of theirs diverged.
        header = next(filter(None, texts)).partition('\n')[0] + '\n'
        self._write_atomically(
            'predictions.csv', header + ''.join(text.removeprefix(header) for text in texts)
        )
        runs = [run for n in range(groups) for run in self.load_outcome(n)['runs']]
        return read_prediction_rows(self.path / 'predictions.csv', runs)

    def save_results(self, results: dict) -> None:
        """Writes results.json, whose presence says that the sweep is done; predictions.csv is there."""
        self._write_atomically('results.json', json.dumps(results, indent=2))
        for n in range(len(results['groups'])):
            (self.path / f'groups/{n}/predictions.csv').unlink(missing_ok=True)

    def save_representations(self, arrays: dict[str, np.ndarray]) -> None:
        """Writes representations.npz, which jaxser/probe.py describes."""
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        self._write_atomically('representations.npz', content.getvalue())

    def read_lines(self, name: str) -> list[str]:
        """Returns the lines of a file with their newlines; none where there is no such file."""
        return list(io.StringIO(self._read_text(name), newline='\n'))

    def _read_text(self, name: str) -> str:
        """Returns the text of a file, its ends of lines as they are; '' where there is none."""
        file = self.path / name
        return file.read_bytes().decode() if file.exists() else ''

    def _read_json(self, name: str) -> dict | None:
        file = self.path / name
        return json.loads(file.read_text()) if file.exists() else None

    def save_model(self, weights: bytes, facts: dict) -> None:
        """Writes model/, the facts last: where they are, the weights are whole."""
        self._write_atomically('model/model.safetensors', weights)
        self._write_atomically('model/model.json', json.dumps(facts, indent=2))

    def _write_atomically(self, name: str, content: str | bytes) -> None:
        """Writes a file whole or not at all."""
        if distributed.is_main_process():
            part = (self.path / name).with_name(f'.{name.rpartition("/")[2]}.part')
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content.encode() if isinstance(content, str) else content)
            part.replace(self.path / name)
