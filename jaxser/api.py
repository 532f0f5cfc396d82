"""The commands as functions for notebooks and scripts: `jaxser.train` and `jaxser.prepare`.

They print progress as the commands do. A mistake that the user can correct is a UserError.
"""

import contextlib
import copy
import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from etils import epath
from ml_collections import ConfigDict

from configs import loading
from data_pipelines import corpora, surroundings
from data_pipelines.arguments import check_length
from data_pipelines.corpora import folder
from data_pipelines.errors import UserError
from data_pipelines.protocols.protocol import parse_allowed_leaks
from jaxser.analysis import frames

DEFAULT_IMPORTER = 'folder'  # that of a CSV list, and the name of such a corpus without a name


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A finished sweep in its workdir."""

    workdir: epath.Path

    @property
    def results(self):
        """The runs as a pandas.DataFrame, one row each (`jaxser.results`)."""
        return frames.results_frame(self.workdir)

    @property
    def table(self):
        """The settings as a pandas.DataFrame, one row each, with intervals and differences."""
        return frames.settings_frame(self.workdir)

    @property
    def report_path(self) -> epath.Path:
        """The page, which a browser shows."""
        return self.workdir / 'report.html'

    def _repr_html_(self) -> str:
        """Returns what a notebook shows."""
        return f'{self.table._repr_html_()}<p>{self.report_path}</p>'


def train(
    config: str | os.PathLike | ConfigDict,
    workdir: str | os.PathLike | None = None,
    changes: Mapping[str, object] | None = None,
) -> Sweep:
    """Trains, probes, saves and reports a sweep; `jaxser.train` explains the arguments."""
    # JAX is imported only when the configuration is right.
    surroundings.provide_cache_folder()
    changed_config = _change_config(config, changes or {})
    path = _choose_workdir(config, workdir)
    from jaxser import distributed, stages

    with contextlib.suppress(RuntimeError):  # JAX is in use already: it keeps its devices
        distributed.configure_jax()
    with _script_runs_once():
        stages.run_stages(changed_config, path)
    return Sweep(path)


def _change_config(
    config: str | os.PathLike | ConfigDict, changes: Mapping[str, object]
) -> ConfigDict:
    """Returns a copy of a configuration, or that of a file, with the changes."""
    if isinstance(config, ConfigDict):
        changed = copy.deepcopy(config).lock()
    else:
        changed = loading.load_config(config)
    loading.change_config(changed, changes)
    protocol = changed.protocol
    protocol.allow_leak = ','.join(parse_allowed_leaks(protocol.allow_leak))
    return changed


def _choose_workdir(config, workdir: str | os.PathLike | None) -> epath.Path:
    """Returns the workdir; of a configuration's file, by default runs/ and its name."""
    if workdir is None:
        if isinstance(config, ConfigDict):
            raise UserError('Name a workdir: jaxser.train(config, "runs/mine").')
        return epath.Path(loading.default_workdir(os.fspath(config)))
    if not os.fspath(workdir):
        raise UserError('The workdir is empty: name a folder, such as runs/mine.')
    check_length(workdir, 'workdir')
    return epath.Path(workdir)


def prepare(
    source, name: str, out: str | os.PathLike, importer: str = DEFAULT_IMPORTER, **options: object
) -> Path:
    """Returns the folder of the prepared data set; `jaxser.prepare` explains the arguments."""
    from data_pipelines import prepare as command

    surroundings.provide_cache_folder()
    is_known = name in corpora.corpus_names()
    if not is_known:
        corpora.check_own_name(name)
    is_list = importer == DEFAULT_IMPORTER
    if is_known and not is_list:
        raise UserError(
            f'{name} is a corpus that jaxser knows; importer={importer!r} is for data of your own: '
            f'choose another name, such as my_{name}, or leave importer out.'
        )
    if not isinstance(source, str | os.PathLike | None):
        if not is_list or (is_known and name != DEFAULT_IMPORTER):
            raise UserError(
                f'The source is a {type(source).__name__}; expected a path for {name}. A '
                'pandas.DataFrame is data of your own: give it another name, and no importer.'
            )
        file = Path(out) / 'sources' / name / 'list.csv'
        source = _write_list(source, file, options.get('columns'))
    arguments = [name] if is_known else [importer, '--name', name]
    arguments += ['--out', os.fspath(out)]
    if source is not None:
        arguments += ['--source', os.fspath(source)]
    for key, value in options.items():
        arguments += _option(key, value)
    parser = command.make_parser()
    parser.error = _raise_user_error
    parsed_arguments = parser.parse_args(arguments)
    with _script_runs_once():
        return command.run(parsed_arguments)


@contextlib.contextmanager
def _script_runs_once() -> Iterator[None]:
    """Context in which worker processes do not run the script that called us.

    They need nothing of it. Python would run it in each of them, to import what it defines: a
    script that does not ask whether it is the main program would call us again there.
    """
    script = sys.modules['__main__']
    names = ('__file__', '__spec__')
    hidden = {name: vars(script)[name] for name in names if name in vars(script)}
    vars(script).pop('__file__', None)
    script.__spec__ = None
    try:
        yield
    finally:
        vars(script).update(hidden)


def _option(key: str, value: object) -> list[str]:
    """Returns a keyword as the option of the command."""
    if value is None or value is False:
        return []
    if value is True:
        return [f'--{key}']
    if isinstance(value, Mapping):
        return [f'--{key}', _option_text(value)]
    if isinstance(value, list | tuple):
        return [f'--{key}', *map(str, value)]
    return [f'--{key}={value}']


def _option_text(value: str | Mapping) -> str:
    """Returns e.g. 'path=file,speaker=spk' for a mapping; a text as it is."""
    if isinstance(value, str):
        return value
    return ','.join([f'{word}={meaning}' for word, meaning in value.items()])


def _absolute_path(value: object) -> object:
    """Returns a path from the current folder; what is no path, or an address, as it is."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value).strip():
        return value
    text = os.fspath(value)
    return text if '://' in text or text.startswith('~') else os.path.abspath(text)


def _raise_user_error(message: str):
    raise UserError(f'jaxser.prepare: {message}')


def _write_list(frame, file: Path, columns: str | Mapping[str, str] | None = None) -> Path:
    """Writes a pandas.DataFrame as a list of utterances; returns the file.

    Paths, which are relative to the current folder, become absolute. `columns` is the option of
    this name, which may say which column has the paths.
    """
    if not hasattr(frame, 'to_csv'):
        raise UserError(
            f'The source is a {type(frame).__name__}; expected a path, or a pandas.DataFrame with '
            'the columns path, speaker and emotion.'
        )
    chosen = {}
    if columns:
        chosen = folder.parse_columns(_option_text(columns), folder.KNOWN_COLUMNS)
    path_names = folder.possible_names(['path'], chosen)
    frame = frame.copy()
    for column in frame.columns:
        if ' '.join(str(column).casefold().split()) in path_names:
            frame[column] = frame[column].map(_absolute_path)
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(file, index=False)
    return file
