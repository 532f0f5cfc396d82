"""Parses the flags of all commands that take a configuration, and explains mistakes in them."""

import re

from absl import flags
from ml_collections import ConfigDict, config_flags

from configs import loading
from data_pipelines.errors import UserError
from data_pipelines.protocols.protocol import LEAK_KINDS, parse_allowed_leaks

CONFIG = config_flags.DEFINE_config_file('config', None, 'A file of configs/.', lock_config=True)
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder for the results; the audit writes nothing.')
DROP_COPIES = flags.DEFINE_bool(
    'drop_copies', None, 'Leave out all but one of each group of copies of a recording.'
)
ALLOW_LEAK = flags.DEFINE_string('allow_leak', None, f'Leaks to accept: {", ".join(LEAK_KINDS)}.')

# Python's message for a value that is not a number, and ours.
NUMBER_ERRORS = {
    'invalid literal for int() with base 10:': 'expected a whole number, found',
    'could not convert string to float:': 'expected a number, found',
}

# Messages of absl and ml_collections that are replaced.
BOOLEAN_ERROR = r"flag --(\S+?)=.*: \('Non-boolean argument to boolean flag', (.*)\)"
FILE_ERROR = r'flag --config=(.*): Error whilst parsing config file'
TUPLE_ERROR = (
    r"TypeError: Could not override field '(\w+)'.*?\. (.*) is of original type <class 'str'> "
    r"and cannot be casted to type <class 'tuple'>"
)


def parse_flags(arguments: list[str], module: str) -> ConfigDict:
    """Returns the configuration that the flags of `python -m module` describe.

    Raises UserError if absl, ml_collections or the configuration's file rejects a flag or value, or
    if the path of a folder is empty.
    """
    try:
        positional = flags.FLAGS(_with_installed_config(arguments))[1:]
        if positional:
            raise UserError(
                f'{positional[0]!r} is not a flag. Set a value with --config.KEY=VALUE.'
            )
        if CONFIG.value is None:
            raise UserError(_missing_config_message(module))
        CONFIG.value.to_dict()  # raises what loading the file raised
    except (KeyError, AttributeError) as e:
        raise UserError(unknown_key_message(arguments, str(e.args[0]))) from None
    except ImportError as e:
        raise UserError(
            f'A module that the configuration imports is missing: {e}. '
            'Install jaxser (pip install -e .) or run from its checkout.'
        ) from None
    except OSError:
        raise _missing_file_error(arguments) from None
    except flags.UnrecognizedFlagError as e:
        if e.flagname.startswith('config.'):  # these flags exist only if --config does
            raise UserError(_missing_config_message(module)) from None
        raise UserError(str(e)) from None
    except (flags.Error, ValueError, TypeError, SyntaxError) as e:
        raise UserError(_wrong_value_message(e)) from None
    _check_not_empty('--workdir', WORKDIR.value)
    _check_not_empty('--config.data.dir', CONFIG.value.data.dir)
    protocol = CONFIG.value.protocol
    allowed = protocol.allow_leak if ALLOW_LEAK.value is None else ALLOW_LEAK.value
    protocol.allow_leak = ','.join(parse_allowed_leaks(allowed))
    if DROP_COPIES.value is not None:
        protocol.drop_copies = DROP_COPIES.value
    return CONFIG.value


def _check_not_empty(flag: str, value: str | None) -> None:
    """Raises UserError for an empty path, which would be the folder of the shell."""
    if value == '':
        raise UserError(
            f'{flag} is empty, perhaps an unset variable of the shell: name a folder, or leave the '
            'flag out.'
        )


def _missing_config_message(module: str) -> str:
    """Returns the message for a command line without --config."""
    return f'--config is missing. Example: python -m {module} --config=configs/dann_demo.py'


def _missing_file_error(arguments: list[str]) -> UserError:
    """Returns the error for a configuration that cannot be read."""
    prefix = '--config='
    names = [a.removeprefix(prefix) for a in arguments if a.startswith(prefix)]
    flag = ' '.join([a for a in arguments if a.startswith('--config')])
    return loading.missing_file_error(names[0] if names else flag)


def _with_installed_config(arguments: list[str]) -> list[str]:
    """Returns the arguments with the path of an installed configuration that they name."""
    prefix = '--config='
    paths = []
    for index, argument in enumerate(arguments):
        if argument.startswith(prefix):
            name = argument.removeprefix(prefix)
            argument = prefix + loading.find_config_file(name)
        elif index and arguments[index - 1] == '--config':
            argument = loading.find_config_file(argument)
        paths.append(argument)
    return paths


def _wrong_value_message(error: Exception) -> str:
    """Returns the message for a wrong value, or an error in the configuration's file."""
    boolean = re.fullmatch(BOOLEAN_ERROR, str(error))
    if boolean:
        key_path, value = boolean.groups()
        return f'{key_path} is {value}; expected True or False.'
    lines = str(error).strip().splitlines()
    message = lines[-1]  # ml_collections puts a stack trace before it
    for words, ours in NUMBER_ERRORS.items():
        message = message.replace(words, ours)
    own_prefix = 'ValueError: '
    if message.startswith(own_prefix):  # raised by the configuration's file itself
        return message.removeprefix(own_prefix)
    file = re.match(FILE_ERROR, lines[0])
    if file:
        return f'{file[1]} cannot be loaded: {_explain_tuple_error(message)}'
    return f'{message} (see configs/base.py for every key and its kind of value)'


def _explain_tuple_error(message: str) -> str:
    """Returns an error of the configuration's file; for a text in place of a tuple, with advice."""
    text = re.fullmatch(TUPLE_ERROR, message)
    if not text:
        return message
    key, value = text.groups()
    return f'{key!r} is the text {value!r}; expected a tuple. Write e.g. ({value!r},).'


def unknown_key_message(arguments: list[str], complaint: str) -> str:
    """Returns the message for an unknown key, with a similar key that exists.

    If all keys of the command line exist, the file itself sets an unknown one. The message then
    contains `complaint`, the error that loading the file raised.
    """
    prefix = '--config.'
    for argument in arguments:
        if argument.startswith(prefix):
            message = loading.unknown_key_message(argument.removeprefix(prefix).split('=')[0])
            if message:
                return message
    reason = complaint.split(' Other fields')[0]
    return f'The configuration sets a key that is not in configs/base.py: {reason}'
