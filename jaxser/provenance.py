"""TODO: jaxser.provenance."""

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
    """The commit of the source, if it is a checkout of git."""
    command = [
        'git',
        '-C',
        str(Path(__file__).parent),
        'describe',
        '--always',
        '--dirty',
        '--abbrev=40',
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def package_version(package: str) -> str | None:
    """Of a package, if it is there: training needs no TensorFlow, and no librosa."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
