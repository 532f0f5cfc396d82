"""Protects the commands and the code of the documentation: they parse, and they run on the demo.

A block that begins with ```bash or ```python is run by the gate, page after page, in one folder.
One that needs a corpus, a network or a microphone begins with ```{ .bash .not-run } or
```{ .python .not-run }, and only its flags and configuration keys are checked.
"""

import ast
import contextlib
import functools
import importlib.util
import io
import re
import shlex
import sys
import tomllib
import unittest.mock
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers.documentation import run_step
from ml_collections import ConfigDict

from configs import base

ROOT = Path(__file__).parents[2]
DOCS = ROOT / 'docs'
# The tutorial makes what the other pages use.
FIRST_PAGES = (DOCS / 'tutorial.md', ROOT / 'README.md', DOCS / 'index.md')

BLOCK = re.compile(r'^( *)```(?P<kind>[^`\n]*)\n(?P<code>.*?)^\1```$', re.MULTILINE | re.DOTALL)
INLINE_COMMAND = re.compile(r'`((?:python -m (?:jaxser|data_pipelines)|jaxser-)[^`]*)`')
INLINE_KEY = re.compile(r'`(?:--)?config\.(?!json\b)([a-z0-9_]+(?:\.[a-z0-9_]+)*)')
FILE_OF_RESULTS = re.compile(r'`((?:runs|data|emotion_model)[^`\s]*)`')

OTHER_PROGRAMS = {
    '.ci/run', 'arecord', 'bash', 'cat', 'cd', 'cp', 'dask', 'export', 'gcloud', 'git', 'hf',
    'mkdir', 'mkdocs', 'mlflow', 'mv', 'pip', 'python', 'rm', 'ruff', 'sbatch', 'scp',
    'tensorboard', 'wandb',
}  # fmt: skip
# Configurations that a page tells its reader to write.
OWN_CONFIGURATION = re.compile(r'configs/my_\w+\.py')


class Block(NamedTuple):
    """A block of a page, e.g. of kind 'bash' or '{ .bash .not-run }'."""

    kind: str
    code: str

    @property
    def is_shell(self) -> bool:
        return self.kind in ('bash', '{ .bash .not-run }')


def pages() -> list[Path]:
    """Returns all written pages in the order in which their commands are run."""
    others = set(DOCS.rglob('*.md')) | {ROOT / 'CONTRIBUTING.md'}
    return [*FIRST_PAGES, *sorted(others.difference(FIRST_PAGES))]


def read_blocks(page: Path) -> list[Block]:
    blocks = []
    for match in BLOCK.finditer(page.read_text()):
        indent = match[1]
        lines = [line.removeprefix(indent) for line in match['code'].splitlines()]
        blocks.append(Block(match['kind'].strip(), '\n'.join(lines) + '\n'))
    return blocks


def shell_commands(script: str) -> list[list[str]]:
    """Returns the words of each command of a script, without variables and redirections."""
    lexer = shlex.shlex(script.replace('\\\n', ' ').replace('\n', ' ;\n'), punctuation_chars='|&;')
    lexer.whitespace_split = True
    commands = [[]]
    for word in lexer:
        if set(word) <= set('|&;'):
            commands.append([])
        elif commands[-1] or not re.match(r'[A-Z_]+=', word):
            commands[-1].append(word)
    return [command for command in commands if command]


@functools.cache
def read_help(module: str) -> str:
    """Returns what `python -m module --help` prints."""
    if importlib.util.find_spec(module).submodule_search_locations:
        module += '.__main__'
    printed = io.StringIO()
    with (
        unittest.mock.patch('sys.argv', [module, '--help']),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        importlib.import_module(module).main()
    return printed.getvalue()


@functools.cache
def entry_points() -> dict[str, str]:
    """Returns the module of each installed command, such as jaxser-train."""
    scripts = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project'].get('scripts', {})
    modules = {}
    for name, target in scripts.items():
        modules[name] = target.partition(':')[0]
    return modules


def extras() -> set[str]:
    return set(
        tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['optional-dependencies']
    )


def check_command(words: list[str]) -> None:
    """Fails if a command has a program, module, flag, key, configuration or extra of its own."""
    program = words[0]
    if program == 'pip':
        for names in re.findall(r'\[([\w,]+)\]', ' '.join(words)):
            assert set(names.split(',')) <= extras(), words
        return
    if program in entry_points():
        check_flags(entry_points()[program], words[1:])
    elif words[:2] == ['python', '-m'] and words[2].split('.')[0] in ('jaxser', 'data_pipelines'):
        check_flags(words[2], words[3:])
    else:
        assert program in OTHER_PROGRAMS, f'{program}: a misspelt command? {shlex.join(words)}'


def check_flags(module: str, arguments: list[str]) -> None:
    assert importlib.util.find_spec(module), f'there is no module {module}'
    for argument in arguments:
        name, equals_sign, value = argument.partition('=')
        if name.startswith('--config.'):
            check_key(name.removeprefix('--config.'))
        elif name == '--config' and equals_sign:
            check_configuration(value)
        elif name.startswith('--'):
            assert re.search(rf'{name}\b(?!-)', read_help(module)), f'{module} has no flag {name}'


def check_key(name: str) -> None:
    node = base.get_config()
    for key in name.split('.'):
        assert isinstance(node, ConfigDict), f'{name} has too many dots'
        assert key in node, f'configs/base.py has no key {name}'
        node = node[key]


def check_configuration(value: str) -> None:
    file, _, task = value.partition(':')
    if OWN_CONFIGURATION.fullmatch(file):
        return
    assert (ROOT / file).is_file(), value
    if task:
        importlib.import_module(f'configs.{Path(file).stem}').get_config(task)


@pytest.mark.parametrize('page', pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_keys_of_a_page_exist(page):
    """Every module, flag, configuration, key and extra that the page names exists."""
    text = page.read_text()
    commands = []
    for block in read_blocks(page):
        if block.is_shell:
            commands += shell_commands(block.code)
        elif 'python' in block.kind:
            ast.parse(block.code)
    for command in INLINE_COMMAND.findall(text):
        commands += shell_commands(' '.join(command.split()))
    for command in commands:
        check_command(command)
    for name in INLINE_KEY.findall(text):
        check_key(name)


@pytest.mark.parametrize(
    'line',
    [
        'python -m jaxser.mian --config=configs/dann_demo.py',
        'python -m jaxser.main --config=configs/dann_damo.py',
        'python -m jaxser.main --config=configs/dann_demo.py --config.train.epoch=3',
        'arecord -q | python -m jaxser.predict --workdir W --rat 16000 -',
        'A=x python -m data_pipelines.prepare folder --sauce my.csv',
        "pip install -e '.[demos]' && python -m data_pipelines.corpora",
        'piip install jaxser',
    ],
)
def test_mistakes_in_commands_are_found(line):
    """The check itself: each of these has one mistake."""
    last_error = None
    for command in shell_commands(line):
        try:
            check_command(command)
        except AssertionError as error:
            last_error = error
    assert last_error is not None


def runnable_steps(page: Path) -> list[list[str]]:
    """Returns the command line of each block that is run; pip is left out."""
    steps = []
    for block in read_blocks(page):
        if block.kind == 'python':
            steps.append([sys.executable, '-c', block.code])
        elif block.kind == 'bash':
            lines = [line for line in block.code.splitlines() if not line.startswith('pip install')]
            script = '\n'.join(lines).replace("pip install -e '.[demo]' && ", '')
            if script.strip():
                steps.append(['bash', '-euo', 'pipefail', '-c', script])
    return steps


@pytest.mark.gate
def test_the_documentation_runs(tmp_path):
    """All blocks succeed in one folder, and the tutorial writes the files that it names."""
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    for page in pages():
        for step in runnable_steps(page):
            run_step(step, tmp_path)
        if page.name == 'tutorial.md':
            named = FILE_OF_RESULTS.findall(page.read_text())
            assert {'runs/dann_demo/report.html', 'data/demo'} <= set(named)
            for path in named:
                assert (tmp_path / path).exists(), path
