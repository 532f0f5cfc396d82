"""The command-line flags that several commands share."""

import argparse

from etils import epath


def make_workdir_parser(module: str, doc: str) -> argparse.ArgumentParser:
    """Returns the parser of a command that reads a finished sweep, its data and its encoder."""
    description = doc.partition('\n')[0]
    parser = argparse.ArgumentParser(prog=f'python -m {module}', description=description)
    parser.add_argument(
        '--workdir', required=True, type=epath.Path, help='the workdir of a finished sweep'
    )
    parser.add_argument(
        '--data', help='the folder of the prepared corpora, if it has moved since training'
    )
    parser.add_argument(
        '--upstream',
        help='the Hugging Face folder of the pretrained encoder, if it has moved since training',
    )
    return parser
