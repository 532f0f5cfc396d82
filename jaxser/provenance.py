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
    """Returns the commit of the source, or None if it is not a Git checkout.

    An installed copy may be inside the checkout of another project, whose commit is not ours.
    """
    try:
        _run_git('ls-files', '--error-unmatch', Path(__file__).name)
        return _run_git('describe', '--always', '--dirty', '--abbrev=40')
    except (OSError, subprocess.CalledProcessError):
        return None


def _run_git(*arguments: str) -> str:
    command = ['git', '-C', str(Path(__file__).parent), *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return process.stdout.strip()


def package_version(package: str) -> str | None:
    """Returns the version of a package, or None if it is not installed.

    Training needs neither TensorFlow nor librosa.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
