"""What a sweep leaves behind, and whether it is this sweep's."""

import csv
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path

import numpy as np

from data_pipelines import batches
from data_pipelines.refusal import Refusal

PACKAGES = (
    'jaxser',
    'jax',
    'jaxlib',
    'flax',
    'optax',
    'orbax-checkpoint',
    'tensorflow-datasets',
    'librosa',
    'soundfile',
    'soxr',
    'numpy',
)
FREE = ('data.dir', 'train.checkpoint_seconds', 'data.eval_batch')  # what may change between a run and its resumption


def plain(config) -> dict:
    """The configuration as JSON has it."""
    return json.loads(config.to_json())


def flat(tree: dict, prefix: str = '') -> dict:
    """{'a.b': value} of nested dictionaries."""
    pairs = ((f'{prefix}{k}', v) for k, v in tree.items())
    return {name: leaf for k, v in pairs for name, leaf in (flat(v, f'{k}.') if isinstance(v, dict) else {k: v}).items()}


def git_commit() -> str | None:
    """The commit of the source, if it is a checkout of git."""
    command = ['git', '-C', str(Path(__file__).parent), 'describe', '--always', '--dirty', '--abbrev=40']
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


class Workdir:
    """The folder of one sweep; refuses one that holds another sweep or cannot be written."""

    def __init__(self, path: Path, config):
        self.path, self.config = path, config
        self.checkpoints = path / 'checkpoints'
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise Refusal(f'The workdir {path} cannot be made: {e.strerror}. Choose another with --workdir.') from None
        if not os.access(path, os.W_OK):
            raise Refusal(f'No permission to write to the workdir {path}. Choose another with --workdir.')
        self._refuse_another_sweep()

    def _refuse_another_sweep(self) -> None:
        file = self.path / 'config.json'
        if not file.exists():
            return
        old, new = flat(json.loads(file.read_text())['config']), flat(plain(self.config))
        differ = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k) and k not in FREE]
        if differ:
            what = '; '.join(f'{k} was {old.get(k)}, is {new.get(k)}' for k in differ[:5])
            raise Refusal(
                f'{self.path} holds another sweep ({what}). Choose another --workdir, or remove that one to train anew.'
            )
        was, now = json.loads(file.read_text())['data'], batches.fingerprints(self.config.data)
        if changed := [name for name in now if was.get(name) != now[name]]:
            raise Refusal(
                f'{self.path} holds a sweep over other data: {changed[0]} has been prepared anew since, from other utterances. '
                'Choose another --workdir, or remove that one to train anew.'
            )

    def finished(self) -> dict | None:
        """The results of a sweep that is done."""
        file = self.path / 'results.json'
        return json.loads(file.read_text()) if file.exists() else None

    def describe(self, split_sha256: str, utterances: int, left_out: dict[str, int]) -> None:
        """Writes config.json; refuses to go on with other data than those the sweep began with."""
        file = self.path / 'config.json'
        if file.exists() and (old := json.loads(file.read_text())['split_sha256']) != split_sha256:
            raise Refusal(
                f'The data have changed since the sweep in {self.path} began (split {old[:12]}, now {split_sha256[:12]}). '
                'Prepare the corpus as it was, or choose another --workdir.'
            )
        facts = {
            'config': plain(self.config),
            'data': batches.fingerprints(self.config.data),
            'split_sha256': split_sha256,
            'utterances': utterances,
            'left_out': left_out,
            'versions': {'python': platform.python_version()} | {p: importlib.metadata.version(p) for p in PACKAGES},
            'git_commit': git_commit(),
        }
        self._replace('config.json', json.dumps(facts, indent=2))

    def _replace(self, name: str, text: str) -> None:
        """Writes a file whole or not at all."""
        part = self.path / f'.{name}.part'
        part.write_text(text)
        part.rename(self.path / name)

    def finish(self, results: dict, predictions: list[dict]) -> None:
        """Writes predictions.csv, then results.json, whose presence says that the sweep is done."""
        if not predictions:
            raise Refusal(f'Every run diverged (see {self.path}/metrics.jsonl). Lower config.sweep.lr or config.sweep.lam.')
        part = self.path / '.predictions.csv.part'
        with open(part, 'w', newline='') as file:
            writer = csv.DictWriter(file, predictions[0])
            writer.writeheader()
            writer.writerows(predictions)
        part.rename(self.path / 'predictions.csv')
        self._replace('results.json', json.dumps(results, indent=2))


class Metrics:
    """metrics.jsonl and TensorBoard's event files; both are cut back to the checkpoint on resuming."""

    def __init__(self, path: Path, size: int, epoch: int, labels: list[str]):
        from tensorboardX import SummaryWriter

        self.file = open(path / 'metrics.jsonl', 'ab')  # noqa: SIM115
        self.file.truncate(size)
        board = path / 'tensorboard'
        self.writers = [SummaryWriter(str(board / label), purge_step=epoch + 1 if epoch else None) for label in labels]

    def write(self, epoch: int, rows: list[dict], means: list[dict[str, float]]) -> int:
        """A line per run, a scalar per variant (its mean over folds); returns the bytes of metrics.jsonl so far."""
        for row in rows:
            self.file.write(json.dumps(row).encode() + b'\n')
        self.file.flush()
        for writer, scalars in zip(self.writers, means):
            for name, value in scalars.items():
                if np.isfinite(value):
                    writer.add_scalar(name, value, epoch)
        return self.file.tell()

    def close(self) -> None:
        """Ends the files."""
        self.file.close()
        for writer in self.writers:
            writer.close()
