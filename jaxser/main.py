"""Trains and evaluates the sweep of a configuration.

  python -m jaxser.main --config=configs/dann_demo.py [--workdir=runs/dann_demo] [--config.KEY=VALUE ...]

  [--profile]       a trace of an epoch, for TensorBoard or ui.perfetto.dev, into WORKDIR/profile
  [--distributed]   this process is one of several: under SLURM and on TPU pods by itself, elsewhere by JAX_COORDINATOR_ADDRESS,
                    JAX_NUM_PROCESSES and JAX_PROCESS_ID

The results go to --workdir, by default runs/ and the configuration's name; the same command resumes what was interrupted.
Every KEY is explained in configs/base.py, e.g. --config.train.epochs=10 --config.sweep.lam=0,0.1,1 --config.data.dir=data
"""

import difflib
import errno
import os
import sys
import time
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from data_pipelines.refusal import Refusal

CONFIG = config_flags.DEFINE_config_file('config', None, 'A file of configs/.', lock_config=True)
WORKDIR = flags.DEFINE_string('workdir', None, 'Where the results go.')
PROFILE = flags.DEFINE_bool('profile', False, 'Writes a trace of an epoch.')
DISTRIBUTED = flags.DEFINE_bool('distributed', False, 'This process is one of several.')


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
        said = str(e).strip().splitlines()[-1]  # ml_collections puts a stack trace before it
        raise Refusal(f'{said} (see configs/base.py for every key and its kind of value)') from None


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
    return f'The configuration sets a key that is not in configs/base.py: {complaint.split(" Other fields")[0]}'


def prepare_jax() -> None:
    """What JAX reads from the environment when it is imported; what the user has set there stands."""
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'jaxser' / 'xla'
    os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(cache))
    os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.5')
    # A core is a device: runs side by side use two cores better than one product spread over both.
    os.environ.setdefault(
        'JAX_NUM_CPU_DEVICES', str(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())
    )


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    began = time.time()
    if {'--help', '-h', '-help'} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        parse(sys.argv)
        prepare_jax()
        from jaxser import cluster, train  # JAX is imported once the flags are right

        if DISTRIBUTED.value:
            cluster.join()
        name = Path(flags.FLAGS['config'].config_filename).stem
        try:
            train.run(CONFIG.value, WORKDIR.value or Path('runs') / name, PROFILE.value, began)
        except cluster.Preempted as preempted:
            cluster.say(f'{preempted} The same command goes on from there.')
            sys.exit(cluster.RESUME)
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
