"""Generates pages of the documentation from the code and the notebook, when mkdocs builds it."""

import ast
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from mkdocs.structure.files import File

from jaxser import leaderboard
from jaxser.scoring import leaderboard_page

ROOT = Path(__file__).resolve().parent.parent

COMMANDS = (
    'data_pipelines.prepare',
    'data_pipelines.corpora',
    'data_pipelines.audit',
    'data_pipelines.pack',
    'jaxser.main',
    'jaxser.predict',
    'jaxser.export',
    'jaxser.report',
    'jaxser.compare',
    'jaxser.probe',
    'jaxser.enrolment',
    'jaxser.bundle',
    'jaxser.upstream',
    'data_pipelines.tasks',
    'jaxser.score',
    'jaxser.submission',
    'jaxser.leaderboard',
)


class Key(NamedTuple):
    """A configuration key: its full name, its default as source text, and its comment."""

    name: str
    default: str
    comment: str


class Section(NamedTuple):
    """A function of configs/base.py: its heading and its keys."""

    heading: str
    keys: list[Key]


def on_files(files, config):
    """Adds the generated pages to the files of the site (an event of mkdocs)."""
    pages = {
        'notebook.md': notebook_page(json.loads((ROOT / 'docs' / 'notebook.ipynb').read_text())),
        'reference/configuration.md': configuration_page(),
        'reference/commands.md': commands_page(),
    }
    for path, content in (pages | leaderboard_files()).items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Returns a page whose links to the notebook, a file, lead to its page (an event of mkdocs).

    The pages themselves link the file, which can be read without the site.
    """
    return markdown.replace('notebook.ipynb)', 'notebook.md)')


def leaderboard_files() -> dict[str, str]:
    """Returns the files of the leaderboard of docs/leaderboard/submissions, by path in the site.

    A submission that is not valid ends the build.
    """
    ranked = leaderboard.build_leaderboard(ROOT / 'docs' / 'leaderboard' / 'submissions', {})
    return {
        f'leaderboard/{leaderboard.PAGE}': leaderboard_page.leaderboard_page(ranked),
        f'leaderboard/{leaderboard.JSON}': leaderboard.format_json(ranked),
    }


def notebook_page(notebook: dict) -> str:
    """Returns the Markdown of a notebook: its texts, its code, and what the code printed."""
    parts = []
    for cell in notebook['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            parts.append(source)
            continue
        parts.append(f'```python\n{source}\n```')
        for output in cell['outputs']:
            lines = output.get('text') or output.get('data', {}).get('text/plain', [])
            text = ''.join(lines).rstrip()
            if text:
                parts.append(f'```text\n{text}\n```')
    return '\n\n'.join(parts) + '\n'


def configuration_page() -> str:
    """Returns the page of all configuration keys, and of all files in configs/."""
    lines = [
        '# Configuration',
        '',
        'A configuration is a Python file in `configs/`. It changes a few of the keys below. '
        'On the command line, `--config.KEY=VALUE` changes a key: '
        '`--config.train.epochs=10 --config.sweep.lam=0,0.1,1`. '
        'This page is generated from `configs/base.py`.',
    ]
    for section in read_sections((ROOT / 'configs' / 'base.py').read_text()):
        lines += ['', f'## {section.heading}']
        for key in section.keys:
            lines += ['', f'### `{key.name}`', '', f'Default: `{key.default}`', '']
            lines += format_comment(key.comment)
    lines += ['', '## The files in `configs/`', '', '| file | what it trains |', '|---|---|']
    for path in sorted((ROOT / 'configs').glob('*.py')):
        if path.stem not in ('__init__', 'base', 'command'):
            summary = ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
            lines.append(f'| `configs/{path.name}` | {summary.replace("|", "&#124;")} |')
    return '\n'.join(lines) + '\n'


def read_sections(source: str) -> list[Section]:
    """Returns the sections of the text of configs/base.py, with the comment above each key."""
    source_lines = source.splitlines()
    sections = []
    for function in ast.parse(source).body:
        if not isinstance(function, ast.FunctionDef):
            continue
        prefix = function.name.removesuffix('_section')
        heading = 'Top level' if prefix == 'get_config' else f'config.{prefix}'
        keys = []
        for statement in function.body:
            if _is_key(statement):
                keys.append(_read_key(statement, heading, source_lines))
        sections.append(Section(heading, keys))
    return sections


def _is_key(statement: ast.stmt) -> bool:
    """Returns whether a statement sets a key, and not a section."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Attribute):
        return False
    value = ast.unparse(statement.value)
    return value != 'ConfigDict()' and not value.endswith('_section()')


def _read_key(statement: ast.Assign, heading: str, source_lines: list[str]) -> Key:
    name = ast.unparse(statement.targets[0])
    if not name.startswith('config.'):
        name = f'config.{name}'
    default = ast.unparse(statement.value)
    if isinstance(statement.value, ast.Call) and default.startswith('FieldReference'):
        default = ast.unparse(statement.value.args[0])
    number = statement.lineno - 1
    comment = []
    _, hash_sign, trailing = source_lines[number].partition('  # ')
    if hash_sign:
        comment.append(trailing)
    while source_lines[number - 1].lstrip().startswith('#'):
        number -= 1
        comment.insert(0, source_lines[number].strip().removeprefix('#').removeprefix(' '))
    return Key(name, default, '\n'.join(comment))


def format_comment(comment: str) -> list[str]:
    """Returns the Markdown lines of a comment: its indented lines as a block of code."""
    lines = []
    is_block = False
    for line in comment.splitlines():
        starts_block = line.startswith('  ')
        if starts_block != is_block:
            lines += ['```text'] if starts_block else ['```', '']
            if starts_block:
                lines.insert(-1, '')
        is_block = starts_block
        lines.append(line if is_block else _escape(line))
    if is_block:
        lines.append('```')
    return lines


def _escape(line: str) -> str:
    for character in '\\`*_<|[':
        line = line.replace(character, f'\\{character}')
    return line


def commands_page() -> str:
    """Returns the page of what `--help` of every command prints."""
    lines = ['# Commands', '', 'What `--help` prints for each command.']
    for module in COMMANDS:
        lines += ['', f'## `python -m {module}`', '', '```text', read_help(module), '```']
    return '\n'.join(lines) + '\n'


@functools.cache
def read_help(module: str) -> str:
    """Returns what `python -m module --help` prints."""
    completed = subprocess.run(
        [sys.executable, '-m', module, '--help'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return completed.stdout.strip()
