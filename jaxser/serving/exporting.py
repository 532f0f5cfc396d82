"""Writes the folder of an exported model (jaxser/export.py describes its files)."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from etils import epath

from data_pipelines.errors import UserError
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.anonymity import ABSOLUTE_PATH, names_speakers
from jaxser.pretrained.encoder import PretrainedEncoder, write_encoder
from jaxser.serving.card_usage import SAVED_MODEL_FOLDER, has_program, program_file
from jaxser.serving.model import (
    ENCODER_FOLDER,
    METADATA_FILE,
    MODEL_FILES,
    Model,
    check_network,
    find_encoder,
    model_folder,
    read_model,
    refuse_damaged_facts,
)
from jaxser.serving.model_card import render_card
from jaxser.serving.model_checks import with_checksum
from jaxser.serving.stablehlo import export_program, program_inputs, save_for_tensorflow


class Export(NamedTuple):
    """The model to export, and the workdir it comes from."""

    workdir: epath.Path
    model: Model
    encoder: PretrainedEncoder | None  # if it is copied too
    saved_model: bool


def export_model(
    workdir, out, saved_model: bool = False, carry_upstream: bool = False, upstream=None
) -> Path:
    """Writes the folder `out`, as a whole or not at all, and returns it.

    Args:
      workdir: that of a finished sweep, or the folder of a model.
      out: must not exist, or be empty.
      saved_model: whether to write a SavedModel for TensorFlow too.
      carry_upstream: whether to copy the pretrained encoder too.
      upstream: where that encoder is, if `find_encoder` would not find it.

    Raises:
      UserError: there is no model, `out` is not empty, or the options contradict the model.
      OSError: the folder cannot be written.
    """
    workdir, out = epath.Path(workdir), Path(out)
    model = read_model(workdir)
    _check_target(workdir, model, out)
    encoder = _carried_encoder(workdir, model, carry_upstream, upstream)
    check_network(workdir, model, encoder)
    if saved_model and not has_program(model.metadata, encoder):
        raise UserError(
            f'The model of {workdir} contains only changes to the weights of a pretrained encoder, '
            'and TensorFlow needs these weights: add --carry_upstream, if the licence of the '
            'encoder allows a copy, or leave out --saved_model.'
        )
    out = Path(os.path.abspath(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    with _written_as_a_whole(out) as partial:
        _write_files(Export(workdir, model, encoder, saved_model), partial)
    return out


def _check_target(workdir, model: Model, out: Path) -> None:
    if 'data' not in model.metadata:
        raise UserError(
            f'The model of {workdir} was made by an earlier version of jaxser, which did not '
            f'record its data. Remove {workdir}/model and run '
            f'python -m jaxser.bundle --workdir {workdir}'
        )
    is_empty_folder = out.is_dir() and not any(out.iterdir())
    if out.exists() and not is_empty_folder:
        raise UserError(
            f'{out} exists already and is not an empty folder: choose another --out, or remove it.'
        )


def _carried_encoder(
    workdir, model: Model, carry_upstream: bool, upstream
) -> PretrainedEncoder | None:
    """Returns the pretrained encoder to copy, or None.

    It is copied with `carry_upstream`, or if the model's folder already contains it.
    """
    is_in_model_folder = (model_folder(workdir) / ENCODER_FOLDER).exists()
    if not carry_upstream and not is_in_model_folder:
        if upstream:
            raise UserError(
                f'{upstream} is only read to copy it: add --carry_upstream, or leave out '
                '--upstream.'
            )
        return None
    encoder = find_encoder(workdir, model.metadata, upstream)
    if not encoder:
        raise UserError(
            f'The model of {workdir} takes log-mel features: there is no pretrained encoder to '
            'copy. Leave out --carry_upstream.'
        )
    return encoder


@contextlib.contextmanager
def _written_as_a_whole(out: Path) -> Iterator[Path]:
    """Yields a temporary folder next to `out`, and renames it to `out` if no error is raised."""
    partial = out.with_name(f'.{out.name}.part')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        partial.replace(out)  # an empty folder is replaced
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_files(export: Export, folder: Path) -> None:
    model, encoder = export.model, export.encoder
    for name in MODEL_FILES:
        (folder / name).write_bytes((model_folder(export.workdir) / name).read_bytes())
    metadata = _without_folders(model.metadata)
    if metadata != model.metadata:
        text = json.dumps(with_checksum(metadata), indent=2)
        (folder / METADATA_FILE).write_text(text)
    if encoder:
        write_encoder(encoder, folder / ENCODER_FOLDER)
    analysis = None
    if (export.workdir / 'results.json').exists():  # not with a copy of only model/
        analysis = SweepAnalysis(read_finished_sweep(export.workdir))
    with refuse_damaged_facts(export.workdir):
        card = render_card(model, analysis, export.saved_model, encoder)
    (folder / 'README.md').write_text(card, encoding='utf-8')
    if not has_program(model.metadata, encoder):
        return
    program = export_program(model, encoder)
    (folder / program_file(model.metadata)).write_bytes(program.serialize())
    if export.saved_model:
        input_names = list(program_inputs(model, encoder))
        save_for_tensorflow(program, input_names, folder / SAVED_MODEL_FOLDER)


def _without_folders(metadata: dict) -> dict:
    """Returns a copy of model.json without what is private: absolute paths, and names of speakers.

    They are in the configuration (config.data.only may name speakers), and in the record of the
    encoder. Speakers are SPEAKERS.
    """
    config = _without_paths(metadata['config'])
    if names_speakers(config['data'].get('only') or ''):
        config['data'] = config['data'] | {'only': 'SPEAKERS'}
    if 'upstream' not in metadata:
        return metadata | {'config': config}
    config['model'] = config['model'] | {'upstream': ''}
    return metadata | {'upstream': metadata['upstream'] | {'folder': ''}, 'config': config}


def _without_paths(value):
    """Returns a copy of a value from JSON in which texts that are absolute paths are empty."""
    if isinstance(value, dict):
        return {key: _without_paths(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_paths(part) for part in value]
    is_path = isinstance(value, str) and ABSOLUTE_PATH.match(value) is not None
    return '' if is_path else value
