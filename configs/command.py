"""The flags that all commands over a configuration share, and what is said when they are wrong."""

import difflib
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from data_pipelines.errors import UserError
from data_pipelines.protocols import folds

CONFIG = config_flags.DEFINE_config_file('config', None, 'A file of configs/.', lock_config=True)
WORKDIR = flags.DEFINE_string('workdir', None, 'Where the results go; the audit writes nothing.')
ALLOW_LEAK = flags.DEFINE_string(
    'allow_leak', None, f'Leaks to go on with: {", ".join(folds.LEAK_KINDS)}.'
)

KINDS = {  # what Python says of a value that is no number
    'invalid literal for int() with base 10:': 'expected a whole number, found',
    'could not convert string to float:': 'expected a number, found',
}


def parse_flags(arguments: list[str], module: str) -> ConfigDict:
    """Reads the flags of `python -m module`; what absl and ml_collections complain of becomes a Refusal."""
    try:
        rest = flags.FLAGS(arguments)[1:]
        if rest:
            raise UserError(f'{rest[0]!r} is not understood; values are set as --config.key=value.')
        if CONFIG.value is None:
            raise UserError(
                f'Which configuration? E.g. python -m {module} --config=configs/dann_demo.py'
            )
        CONFIG.value.to_dict()  # a file that could not be loaded says so only when it is used
    except (KeyError, AttributeError) as e:
        raise UserError(unknown_key_message(arguments, str(e.args[0]))) from None
    except ImportError as e:
        raise UserError(
            f'The configuration imports what is not there: {e}. Install jaxser (pip install -e .) or run from its checkout.'
        ) from None
    except OSError:
        known = sorted(
            str(p)
            for p in Path('configs').glob('*.py')
            if p.stem not in ('base', 'command', '__init__')
        )
        asked = next((a.partition('=')[2] for a in arguments if a.startswith('--config=')), '')
        near = ', '.join(difflib.get_close_matches(asked, known, 5) or known[:5])
        raise UserError(
            f'The configuration cannot be read: {" ".join(a for a in arguments if a.startswith("--config"))}. '
            + (
                f'Here are {len(known)}, among them {near}.'
                if known
                else 'Run from the checkout, where configs/ is.'
            )
        ) from None
    except (flags.Error, ValueError, TypeError, SyntaxError) as e:
        said = str(e).strip().splitlines()[-1]  # ml_collections puts a stack trace before it
        for python, people in KINDS.items():
            said = said.replace(python, people)
        if said.startswith(own := 'ValueError: '):  # a configuration's own words
            raise UserError(said.removeprefix(own)) from None
        raise UserError(
            f'{said} (see configs/base.py for every key and its kind of value)'
        ) from None
    if ALLOW_LEAK.value is not None:
        CONFIG.value.protocol.allow_leak = ALLOW_LEAK.value
    CONFIG.value.protocol.allow_leak = ','.join(
        folds.parse_allowed_leaks(CONFIG.value.protocol.allow_leak)
    )
    return CONFIG.value


def unknown_key_message(arguments: list[str], complaint: str) -> str:
    """Names the misspelt key and the nearest one there is."""
    from configs import base

    where = base.get_config()
    for argument in arguments:
        if not argument.startswith('--config.'):
            continue
        key, node = argument.removeprefix('--config.').split('=')[0], where
        for part in key.split('.'):
            if not hasattr(node, 'keys') or part not in node:
                near = difflib.get_close_matches(part, getattr(node, 'keys', list)(), 1)
                hint = (
                    f' Did you mean {near[0]!r}?'
                    if near
                    else misplaced_key_hint(base.get_config(), part)
                )
                return f'There is no key config.{key}: {part!r} is unknown.{hint} configs/base.py explains every key.'
            node = node[part]
    return f'The configuration sets a key that is not in configs/base.py: {complaint.split(" Other fields")[0]}'


def misplaced_key_hint(config: ConfigDict, key: str) -> str:
    """Where a key is that was looked for in the wrong place."""
    found = [
        f'config.{node}.{key}'
        for node in config
        if isinstance(config[node], ConfigDict) and key in config[node]
    ]
    return f' There is {" and ".join(found)}.' if found else ''
