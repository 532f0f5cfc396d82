"""The identity of a pretrained encoder: the SHA-256 of its own tensors.

It does not depend on how the tensors are spread over files, on their prefix, on 16 or 32 bits, or
on other tensors of the checkpoint; nor on anything that a file claims.

Earlier versions took the SHA-256 of the files, and believed the header of a copy about the files
from which it was copied. Their records are still recognised, by the files.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data_pipelines.errors import UserError
from jaxser.pretrained.checkpoint import DAMAGED_ADVICE, read_header, weight_files

# In the header of a file that contains only an encoder: the sha256 of the files from which it was
# copied, as earlier versions computed it, and the sha256 of its own data.
SOURCE_SHA256_KEY = 'jaxser.of_sha256'
DATA_SHA256_KEY = 'jaxser.data_sha256'


def hash_tensor(name: str, tensor: np.ndarray) -> str:
    """Returns a line with the name, shape and sha256 of a tensor in float32."""
    data = np.ascontiguousarray(tensor, '<f4')
    return f'{name} {data.shape} {hashlib.sha256(data).hexdigest()}'


def combine_hashes(lines: Iterable[str]) -> str:
    """Returns the sha256 of an encoder from the lines of its tensors, in any order."""
    return hashlib.sha256('\n'.join(sorted(lines)).encode()).hexdigest()


def check_data(files: list[Path]) -> None:
    """Raises UserError if a copied encoder does not have the checksum in its header."""
    header = read_header(files[0])
    expected = header.metadata.get(DATA_SHA256_KEY)
    if expected is None:
        return
    with open(files[0], 'rb') as stream:
        stream.seek(header.data_start)
        data_sha256 = hashlib.file_digest(stream, 'sha256').hexdigest()
    if data_sha256 != expected:
        raise UserError(
            f'{files[0]} is damaged: its data do not have the checksum in its header. '
            f'{DAMAGED_ADVICE}'
        )


def hash_files(folder: Path) -> str:
    """Returns the sha256 by which earlier versions identified the checkpoint in a folder."""
    digest = hashlib.sha256()
    for file in weight_files(folder):
        with open(file, 'rb') as stream:
            digest.update(hashlib.file_digest(stream, 'sha256').digest())
    return digest.hexdigest()


def claimed_sha256(folder: Path) -> str | None:
    """Returns the sha256 of the files from which an encoder was copied, as its header claims it.

    Anybody can write such a header. None if there is no claim.
    """
    return read_header(weight_files(folder)[0]).metadata.get(SOURCE_SHA256_KEY)
