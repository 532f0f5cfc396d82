"""Makes the model of a finished sweep (jaxser/bundle.py describes its files)."""

import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.features import log_mel
from data_pipelines.features.upstream import STATE_KINDS
from data_pipelines.storage import dataset
from jaxser import distributed, plugins
from jaxser.analysis import enrolment, summary
from jaxser.analysis.calibration import fit_temperature
from jaxser.configuration.serialization import config_to_dict
from jaxser.configuration.sweep import run_subset
from jaxser.pretrained.encoder import PretrainedEncoder, write_encoder
from jaxser.pretrained.extractor import states_of_local_encoder
from jaxser.provenance import PACKAGES, package_version
from jaxser.serving.ensemble import (
    ChosenSetting,
    EnsembleMember,
    choose_setting,
    ensemble_members,
    find_setting,
    required_arrays,
)
from jaxser.serving.model import (
    ENCODER_FOLDER,
    METADATA_FILE,
    MODEL_FORMAT,
    WEIGHTS_FILE,
    find_encoder,
    is_fine_tuned,
    read_model,
    serialize_arrays,
)
from jaxser.serving.model_checks import describe_arrays, with_checksum
from jaxser.training import restore, validate
from jaxser.workdir import Workdir

# Results of the chosen setting, from the sweep's summary, that model.json keeps.
ROW_KEYS = (
    'seeds',
    'tested_speakers',
    'dev_uar',
    'uar',
    'uar_ci95',
    'uar_folds',
    'wa',
    'f1',
    'dev_ccc',
    'ccc',
    'ccc_ci95',
    'ccc_folds',
    'pearson',
    'rmse',
    'ratings',
)
ENCODER_KEYS = ('name', 'format', 'sha256', 'folder')  # of an encoder, that model.json keeps


class Ensemble(NamedTuple):
    """The members of a model, and the trainer of their runs."""

    members: list[EnsembleMember]
    trainer: object


def describe_data(task) -> dict[str, dict]:
    """Describes the utterances of every corpus that some fold uses.

    Counts the utterances, those whose labels are used in training, and the speakers. Lists the
    languages, sexes and styles, if they are known.
    """
    trained = _rows_of_parts(task, ('train',))
    used = _rows_of_parts(task, ('train', 'dev', 'test', 'adapt', 'identity'))
    text = task.utterances.text
    corpora = {}
    for corpus in np.unique(text['corpus'][used]).tolist():
        rows = used[text['corpus'][used] == corpus]
        corpora[corpus] = {
            'utterances': len(rows),
            'trained': int(np.isin(rows, trained).sum()),
            'speakers': len(_known_values(text['speaker'][rows])),
            'languages': _known_values(text['language'][rows]),
            'sexes': _known_values(text['sex'][rows]),
            'styles': _known_values(text['style'][rows]),
        }
    return corpora


def count_training_speakers(task, runs: list[dict]) -> dict[str, int]:
    """Counts the known speakers of all parts, and those in the training data of some run."""
    speaker_N = task.utterances.text['speaker']
    fold_indices = {task.subset_fold_index[run['fold'], run_subset(run)] for run in runs}
    rows = [task.subset_folds[index].train_and_adapt for index in sorted(fold_indices)]
    trained = _known_values(speaker_N[np.concatenate(rows)])
    used = _known_values(speaker_N[_rows_of_parts(task, ('train', 'dev', 'test', 'adapt'))])
    return {'trained': len(trained), 'all': len(used)}


def _rows_of_parts(task, names: tuple[str, ...]) -> np.ndarray:
    parts = []
    for fold in task.folds:
        for name in names:
            parts.append(getattr(fold, name))
    return np.unique(np.concatenate(parts))


def _known_values(column: np.ndarray) -> list[str]:
    return sorted(set(column.tolist()) - {''})


def bundle_model(
    path,
    data: str | None = None,
    carry_upstream: bool = False,
    upstream=None,
    setting: str | None = None,
):
    """Makes the model of the finished sweep in `path`, unless it exists; returns its folder.

    Args:
      path: the workdir.
      data: where the shards are now, if they have been moved since training.
      carry_upstream: whether to copy the pretrained encoder into the model's folder.
      upstream: where that encoder is now, if it has been moved.
      setting: the title of the setting to save, in place of a model of another setting; None for
        the one with the best dev UAR or, of ratings, dev CCC.

    Raises:
      UserError: the sweep is not finished, it has no such setting, or the encoder is missing,
        wrong, or not needed.
    """
    folder = build_model(path, data, upstream, setting)
    if upstream and not carry_upstream and not is_fine_tuned(read_model(folder).metadata):
        raise UserError(
            f'The sweep in {path} trains no pretrained encoder: leave out --upstream {upstream}, '
            'or add --carry_upstream to copy it.'
        )
    if carry_upstream:
        copy_encoder(folder, find_encoder(folder, read_model(folder).metadata, upstream))
    return folder


def build_model(
    path, data: str | None = None, upstream: str | None = None, wanted: str | None = None
):
    """Makes the model without copying an encoder; arguments and result as `bundle_model`."""
    workdir = Workdir.open(path, data, upstream)
    if upstream and workdir.config.model.name == 'fine_tuned':
        validate.plan_programs(workdir.config)  # only for its check of the encoder's weights
    results = workdir.load_results()
    folder = workdir.path / 'model'
    if results is None:
        raise UserError(
            f'{path} contains no finished sweep (no results.json). Repeat the command that started '
            'it: training continues where it stopped.'
        )
    with workdir.files.refuse_other_contents('results.json'):
        setting = usual_setting = choose_setting(results)
        if wanted is not None:
            setting = find_setting(results, config_to_dict(workdir.config), wanted)
    if (folder / METADATA_FILE).exists() and (wanted is None or _is_saved(folder, setting)):
        _add_enrolment(workdir, results)
        return folder
    ensemble = _restore_ensemble(workdir, setting)
    arrays = _stack_arrays(ensemble)
    weights = serialize_arrays(arrays)
    facts = _metadata(results, setting, ensemble, weights)
    if setting != usual_setting:
        facts['chosen_by'] = 'user'
    if is_fine_tuned(facts):
        facts['arrays'] = describe_arrays(arrays)
    workdir.save_model(weights, with_checksum(facts))
    return folder


def _is_saved(folder, setting: ChosenSetting) -> bool:
    """Returns whether the model in `folder` is that of a setting."""
    saved = read_model(folder).metadata['row']
    return all(saved.get(key) == setting.row[key] for key in summary.swept_keys(setting.row))


def _add_enrolment(workdir: Workdir, results: dict) -> None:
    """Adds the enrolment curve to an existing model, if it has been measured since."""
    if 'enrolment' not in results:
        return
    folder = workdir.path / 'model'
    metadata = read_model(folder).metadata
    rows = enrolment_rows(results, metadata['row'])
    if metadata.get('enrolment') != rows:
        weights = (folder / WEIGHTS_FILE).read_bytes()
        workdir.save_model(weights, with_checksum(metadata | {'enrolment': rows}))


def enrolment_rows(results: dict, setting: dict) -> list[dict]:
    """Returns the rows of the enrolment curve of a setting, without the values of the setting.

    `setting` is a row of the summary. The number of enrolled utterances, which it may have, is not
    compared: a curve has all numbers.
    """
    rows = []
    for row in results['enrolment']['rows']:
        keys = enrolment.setting_keys(row)
        if all(row[key] == setting.get(key) for key in keys):
            rows.append({key: row[key] for key in enrolment.RESULT_KEYS if key in row})
    return rows


def _restore_ensemble(workdir: Workdir, setting: ChosenSetting) -> Ensemble:
    """Restores the chosen runs and predicts their dev parts."""
    members: list[EnsembleMember] = []
    last_trainer = None

    def is_chosen(run: dict) -> bool:
        return run in setting.runs

    with plugins.matmul_precision_context(workdir.config):
        for trainer, group, selected in restore.restored_groups(workdir, is_chosen):
            members += ensemble_members(trainer, group, selected, setting.runs)
            last_trainer = trainer  # one setting: all trainers have its method and network
    return Ensemble(members, last_trainer)


def _stack_arrays(ensemble: Ensemble) -> dict:
    """Returns the arrays that prediction needs, with a leading axis of runs."""
    members, trainer = ensemble
    arrays_by_run = [member.arrays for member in members]
    stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *arrays_by_run)
    bands = trainer.task.utterances.bands
    return required_arrays(trainer.step.predict, stacked, bands, trainer.frozen)


def _metadata(results: dict, setting: ChosenSetting, ensemble: Ensemble, weights: bytes) -> dict:
    """Returns the contents of model.json."""
    members, trainer = ensemble
    task = trainer.task
    config = config_to_dict(trainer.config)
    del config['data']['dir']  # prediction needs no data, and their path is private
    metadata = {
        'format': MODEL_FORMAT,
        'sha256': hashlib.sha256(weights).hexdigest(),
        'config': config,
        'task': results.get('task', 'emotion'),
        'classes': results['classes'],
        'ratings': results.get('ratings', []),
        'sizes': task.make_sizes(trainer.config)._asdict(),
        'normalisation': config['data']['normalise'],
        'log_mel': log_mel.FORMAT_VERSION,
    }
    encoder = _encoder_record(trainer.config, task.data)
    if encoder:
        metadata['upstream'] = {key: encoder[key] for key in ENCODER_KEYS}
    if 'enrolment' in results:
        metadata['enrolment'] = enrolment_rows(results, setting.row)
    if results['classes']:  # ratings are not calibrated
        metadata['calibration'] = fit_temperature(
            np.concatenate([member.p_NxC for member in members]),
            np.concatenate([member.emotion_N for member in members]),
        )
    runs = [member.run for member in members]
    return metadata | {
        'runs': runs,
        'protocol_folds': len(task.protocol_folds),
        'training_speakers': count_training_speakers(task, runs),
        'row': _setting_and_results(setting.row),
        'protocol': results['protocol'],
        'corpora': results['corpora'],
        'data': describe_data(task),
        'labels': results['labels'],
        'synthetic': results['synthetic'],
        'split_sha256': results['split_sha256'],
        'versions': {package: package_version(package) for package in PACKAGES},
    }


def _encoder_record(config, data: dataset.PreparedData) -> dict | None:
    """Returns the record of the pretrained encoder; None for a model on log-mel."""
    if config.model.name == 'fine_tuned':
        states = states_of_local_encoder(config.model.upstream, STATE_KINDS[0])
        return states.record_fields()['upstream']
    if config.data.upstream:
        return dataset.read_encoder_record(data)
    return None


def _setting_and_results(row: dict) -> dict:
    """Returns a row of the summary without the results that model.json does not contain."""
    kept = {*summary.swept_keys(row), *ROW_KEYS}
    return {key: value for key, value in row.items() if key in kept}


def copy_encoder(folder, encoder: PretrainedEncoder | None) -> None:
    """Copies a pretrained encoder into the model's `folder`, unless it is there already.

    It is copied as a whole or not at all. Raises UserError if `encoder` is None, or if `folder` is
    not on a local disk.
    """
    if not encoder:
        raise UserError(
            f'The model of {folder} takes log-mel features: there is no pretrained encoder to '
            'copy. Leave out --carry_upstream.'
        )
    if '://' in str(folder):
        raise UserError(
            f'{folder} is not on a local disk. Copy the model to a local disk, and use '
            '--carry_upstream there.'
        )
    target = Path(folder) / ENCODER_FOLDER
    if not distributed.is_main_process() or encoder.folder.resolve() == target.resolve():
        return
    partial = target.with_name(f'.{target.name}.part')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        write_encoder(encoder, partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
