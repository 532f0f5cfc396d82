"""python -m jaxser.main --config=configs/X.py: trains and evaluates the sweep of a configuration."""

import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from data_pipelines.refusal import Refusal

config_flag = config_flags.DEFINE_config_file('config', None, 'The configuration, a file of configs/.', lock_config=True)
workdir_flag = flags.DEFINE_string(
    'workdir', None, 'Where everything goes; runs/<config name> by default. The same command resumes.'
)


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise Refusal(f'{arguments[1]!r} is not understood; values are set as --config.key=value.')
    from jaxser import train

    name = Path(flags.FLAGS['config'].config_filename).stem
    train.run(config_flag.value, Path(workdir_flag.value or Path('runs') / name))


def parse(arguments: list[str]) -> list[str]:
    """absl's parsing, with its complaints as a Refusal."""
    try:
        rest = flags.FLAGS(arguments)
    except flags.Error as e:
        raise Refusal(str(e)) from None
    except FileNotFoundError as e:
        known = ', '.join(sorted(str(p) for p in Path('configs').glob('*.py') if p.stem not in ('base', '__init__')))
        raise Refusal(f'There is no configuration {e.filename}. Known here: {known or "none; run from the checkout"}.') from None
    except (AttributeError, KeyError, ValueError, TypeError) as e:
        raise Refusal(f'--config: {e}') from None
    if config_flag.value is None:
        raise Refusal('Which configuration? E.g. python -m jaxser.main --config=configs/dann_demo.py')
    return rest


def cli() -> None:
    """Prints a refusal as a sentence, and nothing else of it."""
    try:
        main(parse(sys.argv))
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print('\nInterrupted; the same command goes on from the last checkpoint.', file=sys.stderr)
        sys.exit(130)


if __name__ == '__main__':
    cli()
