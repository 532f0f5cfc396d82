"""Versions of the source and of the packages that a result depends on."""

import importlib.metadata
import subprocess
from pathlib import Path

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


def git_commit() -> str | None:
    """Returns the commit of the source, or None if it is not a Git checkout."""
    folder = str(Path(__file__).parent)
    command = ['git', '-C', folder, 'describe', '--always', '--dirty', '--abbrev=40']
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()


def package_version(package: str) -> str | None:
    """Returns the version of a package, or None if it is not installed.

    Training needs neither TensorFlow nor librosa.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
