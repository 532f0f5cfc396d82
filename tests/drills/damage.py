"""Damages files at random: truncated, of another kind, with other values."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from drills.drill import flip_bit

VALUES = (
    10**9,
    1e9,
    -1,
    0,
    0.5,
    1e308,
    10**400,
    float('nan'),
    float('inf'),
    True,
    None,
    '',
    'x',
    '\x1b[31m',
    '../' * 50,
    'x' * 100_000,
    [],
    {},
    [[]],
    ['a', 'a'],
    {'a': {}},
)
OTHER_KINDS = (
    b'',
    b'\0' * 4096,
    b'[]',
    b'{}',
    b'null',
    b'3',
    b'"text"',
    b'[' * 100_000,
    b'{"a":' * 50_000,
    b'\xff\xfe{\0}\0',
    b'PK\x03\x04' + bytes(100),
    b'<html></html>',
    b'version https://git-lfs.github.com/spec/v1\n',
    b'1' * 10_000,
)


def places(value, path: tuple = ()) -> list[tuple]:
    """Returns the paths of all values in a JSON value, that of the whole excepted."""
    paths = []
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return paths
    for key, child in items:
        paths.append((*path, key))
        paths += places(child, (*path, key))
    return paths


def change_json(value, random: np.random.Generator) -> str:
    """Changes a value, or removes or adds a key, in place; returns what was done."""
    candidates = places(value)
    if not candidates:
        return 'nothing'
    # Every depth is as likely as another: most of the values are deep.
    depths = sorted({len(path) for path in candidates})
    depth = depths[random.integers(len(depths))]
    candidates = [path for path in candidates if len(path) == depth]
    path = candidates[random.integers(len(candidates))]
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    if random.random() < 0.2:
        del parent[path[-1]]
        return f'without {path}'
    new = VALUES[random.integers(len(VALUES))]
    parent[path[-1]] = json.loads(json.dumps(new))
    return f'{path} = {str(new)[:20]!r}'


def change_json_file(file: Path, random: np.random.Generator) -> str:
    """Changes a value of a JSON file, or of a line of a JSONL file."""
    lines = file.read_text().splitlines() if file.suffix == '.jsonl' else [file.read_text()]
    number = random.integers(len(lines))
    value = json.loads(lines[number])
    done = change_json(value, random)
    lines[number] = json.dumps(value)
    file.write_text('\n'.join(lines) + '\n')
    return done


def change_cell(file: Path, random: np.random.Generator) -> str:
    """Changes a cell of a CSV file, or removes a column or repeats a line."""
    lines = file.read_text().splitlines()
    number = random.integers(len(lines))
    cells = lines[number].split(',')
    column = random.integers(len(cells))
    kind = random.integers(3)
    if kind == 0:
        cells[column] = str(VALUES[random.integers(len(VALUES))])
        lines[number] = ','.join(cells)
    elif kind == 1:
        del cells[column]
        lines[number] = ','.join(cells)
    else:
        lines.insert(number, lines[number])
    file.write_text('\n'.join(lines) + '\n')
    return f'line {number}, column {column}, {("cell", "shorter", "repeated")[kind]}'


def truncate(file: Path, random: np.random.Generator) -> str:
    """Truncates a file."""
    size = int(random.integers(file.stat().st_size + 1))
    os.truncate(file, size)
    return f'truncated to {size}'


def flip(file: Path, random: np.random.Generator) -> str:
    """Inverts one bit of a file."""
    file.write_bytes(flip_bit(file.read_bytes(), random))
    return 'one bit'


def replace_kind(file: Path, random: np.random.Generator) -> str:
    """Writes another kind of content."""
    content = OTHER_KINDS[random.integers(len(OTHER_KINDS))]
    file.write_bytes(content)
    return f'content {content[:12]!r}'


def replace_node(file: Path, random: np.random.Generator) -> str:
    """Puts something that is no regular file in the place of a file, or nothing."""
    kind = ('missing', 'folder', 'fifo', 'loop', 'dead link', '/dev/zero', 'huge')
    kind = kind[random.integers(len(kind))]
    file.unlink()
    if kind == 'folder':
        file.mkdir()
    elif kind == 'fifo':
        os.mkfifo(file)
    elif kind == 'loop':
        file.symlink_to(file.name)
    elif kind == 'dead link':
        file.symlink_to('gone')
    elif kind == '/dev/zero':
        file.symlink_to('/dev/zero')
    elif kind == 'huge':
        with open(file, 'wb') as stream:
            stream.truncate(2**41)
    return kind


def damage_file(file: Path, random: np.random.Generator) -> str:
    """Damages a file in a way that fits its kind; returns what was done."""
    ways: list[Callable] = [truncate, flip, replace_kind, replace_node]
    if file.suffix in ('.json', '.jsonl'):
        ways += [change_json_file] * 3
    if file.suffix == '.csv':
        ways += [change_cell] * 3
    return ways[random.integers(len(ways))](file, random)


def replace_by_copy(source: Path, target: Path) -> Path:
    """Copies a folder, in place of an earlier copy if there is one; returns the copy."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target
