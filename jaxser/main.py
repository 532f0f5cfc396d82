"""Trains and evaluates the sweep of a configuration.

  python -m jaxser.main --config=configs/dann_demo.py [--workdir=runs/dann_demo] [--config.KEY=VALUE ...]

The results go to --workdir, by default runs/ and the configuration's name; the same command resumes what was interrupted.
Every KEY is explained in configs/base.py, e.g. --config.train.epochs=10 --config.sweep.lam=0,0.1,1 --config.data.dir=data
"""

import difflib
import errno
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from data_pipelines.refusal import Refusal

CONFIG = config_flags.DEFINE_config_file('config', None, 'A file of configs/.', lock_config=True)
WORKDIR = flags.DEFINE_string('workdir', None, 'Where the results go.')


def parse(arguments: list[str]) -> None:
    """Reads the flags; what absl and ml_collections complain of becomes a Refusal."""
    try:
        rest = flags.FLAGS(arguments)[1:]
        if rest:
            raise Refusal(f'{rest[0]!r} is not understood; values are set as --config.key=value.')
        if CONFIG.value is None:
            raise Refusal('Which configuration? E.g. python -m jaxser.main --config=configs/dann_demo.py')
        CONFIG.value.to_dict()  # a file that could not be loaded says so only when it is used
    except (KeyError, AttributeError) as e:
        raise Refusal(unknown_key(arguments, str(e.args[0]))) from None
    except ImportError as e:
        raise Refusal(
            f'The configuration imports what is not there: {e}. Install jaxser (pip install -e .) or run from its checkout.'
        ) from None
    except OSError:
        known = sorted(str(p) for p in Path('configs').glob('*.py') if p.stem not in ('base', '__init__'))
        raise Refusal(
            f'The configuration cannot be read: {" ".join(a for a in arguments if a.startswith("--config"))}. '
            + (f'Here are: {", ".join(known)}.' if known else 'Run from the checkout, where configs/ is.')
        ) from None
    except (flags.Error, ValueError, TypeError, SyntaxError) as e:
        raise Refusal(f'{e} (see configs/base.py for every key and its kind of value)') from None


def unknown_key(arguments: list[str], complaint: str) -> str:
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
                hint = f' Did you mean {near[0]!r}?' if near else ''
                return f'There is no key config.{key}: {part!r} is unknown.{hint} configs/base.py explains every key.'
            node = node[part]
    return f'The configuration sets a key that is not in configs/base.py: {complaint}'


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    if {'--help', '-h', '-help'} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        parse(sys.argv)
        from jaxser import train  # JAX is imported once the flags are right

        name = Path(flags.FLAGS['config'].config_filename).stem
        train.run(CONFIG.value, Path(WORKDIR.value or Path('runs') / name))
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(2)
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        where = f'{e.filename}: ' if e.filename else ''
        print(f'{where}{e.strerror}. Mend that; the same command goes on from the last checkpoint.', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print('\nInterrupted; the same command goes on from the last checkpoint.', file=sys.stderr)
        sys.exit(130)


if __name__ == '__main__':
    main()
