"""TODO: jaxser.cli."""

import argparse

from etils import epath


def make_workdir_parser(module: str, doc: str) -> argparse.ArgumentParser:
    """The command line of a module that goes back to a finished sweep, its data and its encoder."""
    parser = argparse.ArgumentParser(prog=f'python -m {module}', description=doc.splitlines()[0])
    parser.add_argument('--workdir', required=True, type=epath.Path, help='of a finished sweep')
    parser.add_argument('--data', help='where the shards are, if they have been moved since')
    parser.add_argument(
        '--upstream',
        help='the Hugging Face folder of its pretrained encoder, if that has been moved since',
    )
    return parser
