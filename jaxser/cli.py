"""The command-line flags that several commands share."""

import argparse

from etils import epath

from data_pipelines.arguments import path_text


def any_path(text: str) -> epath.Path:
    """Returns a path on this machine or in a bucket; argparse refuses an empty one."""
    return epath.Path(path_text(text))


def make_workdir_parser(module: str, doc: str) -> argparse.ArgumentParser:
    """Returns the parser of a command that reads a finished sweep, its data and its encoder."""
    description = doc.partition('\n')[0]
    parser = argparse.ArgumentParser(prog=f'python -m {module}', description=description)
    parser.add_argument(
        '--workdir', required=True, type=any_path, help='the workdir of a finished sweep'
    )
    parser.add_argument(
        '--data',
        type=path_text,
        help='the folder of the prepared corpora, if it has moved since training',
    )
    parser.add_argument(
        '--upstream',
        type=path_text,
        help='the Hugging Face folder of the pretrained encoder, if it has moved since training',
    )
    return parser
