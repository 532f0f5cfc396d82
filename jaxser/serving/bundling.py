"""TODO: jaxser.serving.bundling."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from data_pipelines.errors import UserError
from data_pipelines.features import log_mel
from data_pipelines.features.upstream import STATE_KINDS
from data_pipelines.storage import dataset
from jaxser import distributed, plugins
from jaxser.analysis import summary
from jaxser.analysis.calibration import fit_temperature
from jaxser.configuration.serialization import config_to_dict
from jaxser.pretrained.encoder import PretrainedEncoder, write_encoder
from jaxser.pretrained.extractor import states_from_folder
from jaxser.provenance import PACKAGES, package_version
from jaxser.serving.model import (
    ENCODER_FOLDER,
    MODEL_FORMAT,
    find_encoder,
    is_fine_tuned,
    read_model,
    serialize_arrays,
)
from jaxser.training import restore, validate
from jaxser.workdir import Workdir

ROW_KEYS = (
    'seeds',
    'tested_speakers',
    'dev_uar',
    'uar',
    'uar_ci95',
    'uar_folds',
    'wa',
    'f1',
)  # of the summary


class EnsembleMember(NamedTuple):
    """A run of the model, and what it says of its own dev part."""

    run: dict
    arrays: dict
    p_NxC: np.ndarray
    truth_N: np.ndarray


def choose_setting(results: dict) -> tuple[dict, list[dict]]:
    """The row of the setting with the best mean dev UAR, and the hyper-parameters of its runs that did not diverge."""

    def runs(row: dict) -> list[dict]:
        swept = [k for k in row if k not in summary.RESULT_KEYS]
        return [
            r['hyper']
            for r in results['runs']
            if r['status'] == 'ok' and all(r['hyper'].get(k) == row[k] for k in swept)
        ]

    best = max(results['summary'], key=lambda row: (row['dev_uar'] or 0.0, len(runs(row))))
    return best, runs(best)


def ensemble_members(
    trainer, group, selected: tuple, wanted_runs: list[dict]
) -> list[EnsembleMember]:
    """The wanted runs of a group."""
    _, scores = restore.predict_part(trainer, group, selected, 'dev')
    table, layout = trainer.task.table, group.layout
    params_N, batch_stats_N = jax.tree.map(layout.collect, selected)
    made = []
    for n, run in enumerate(group.runs):
        if run not in wanted_runs:
            continue
        rows, p_NxC = scores.get_run(n)
        arrays = jax.tree.map(
            lambda x, n=n: x[n], {'params': params_N, 'batch_stats': batch_stats_N}
        )
        if table.normalisation == 'global':
            at = table.moments_index_FxN[group.fold_N[n], 0]
            arrays |= {'mean': table.mean[at], 'scale': table.scale[at]}
        made.append(EnsembleMember(run, arrays, p_NxC, table.emotion_N[rows]))
    return made


def required_arrays(predict: Callable, arrays: dict, bands: int, frozen=None) -> dict:
    """Those of the model's arrays on which the scores of `predict` (jaxser/step.py) depend; an Encoder's `frozen` stay behind."""
    flat = traverse_util.flatten_dict(arrays, sep='/')

    def scores(flat: dict) -> jax.Array:
        run = {'batch_stats': {}} | traverse_util.unflatten_dict(
            {k: x[0] for k, x in flat.items()}, sep='/'
        )
        batch = {
            'mel_BxTxM': jnp.zeros((1, 16, bands)),
            'frames_B': jnp.full((1,), 16),
            'target_B': jnp.ones((1,)),
        }
        if frozen is not None:
            batch['frozen'] = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), frozen)
        batch |= {f'{k}_BxM': run.get(k, jnp.ones(bands))[None] for k in ('mean', 'scale')}
        return predict(run['params'], run['batch_stats'], batch)[1]

    read = jax.export.export(jax.jit(scores))(
        flat
    ).module_kept_var_idx  # what does not matter is no argument of the program
    return traverse_util.unflatten_dict(
        {k: x for n, (k, x) in enumerate(sorted(flat.items())) if n in read}, sep='/'
    )


def describe_data(task) -> dict[str, dict]:
    """Of every corpus that has a part in some fold: how much of it, how much training hears with its emotions, and who speaks."""
    part = lambda *names: np.unique(
        np.concatenate([getattr(f, n) for f in task.folds for n in names])
    )  # noqa: E731
    used, trained = part('train', 'dev', 'test', 'adapt', 'identity'), part('train')
    text, found = task.utterances.text, {}
    for corpus in np.unique(text['corpus'][used]).tolist():
        of = used[text['corpus'][used] == corpus]
        known = lambda key, of=of: sorted({*text[key][of].tolist()} - {''})  # noqa: E731
        found[corpus] = {
            'utterances': len(of),
            'trained': int(np.isin(of, trained).sum()),
            'speakers': len(known('speaker')),
            'languages': known('language'),
            'sexes': known('sex'),
            'styles': known('style'),
        }
    return found


def bundle_model(path, data: str | None = None, carry_upstream: bool = False, upstream=None):
    """Makes the model of the finished sweep in `path`, unless it is there; returns its folder.

    `data` is where the shards are now, if they are elsewhere than in training, `upstream` where the pretrained encoder. With
    `carry_upstream` that one is put beside the model.
    """
    folder = build_model(path, data, upstream)
    if upstream and not carry_upstream and not is_fine_tuned(read_model(folder).metadata):
        raise UserError(
            f'The sweep in {path} trains no pretrained encoder: leave --upstream {upstream} out, or carry it.'
        )
    if carry_upstream:
        copy_encoder(folder, find_encoder(folder, read_model(folder).metadata, upstream))
    return folder


def build_model(path, data: str | None = None, upstream: str | None = None):
    """The folder of the model, made unless it is there."""
    place = Workdir.open(path, data, upstream)
    if upstream and place.config.model.name == 'fine_tuned':
        validate.validate(place.config)  # refuses other weights
    results, folder = place.load_results(), place.path / 'model'
    if results is None:
        raise UserError(
            f'{path} holds no finished sweep (no results.json). The command that began it goes on with it.'
        )
    if (folder / 'model.json').exists():
        return folder
    row, wanted = choose_setting(results)
    found: list[EnsembleMember] = []
    with plugins.matmul_precision_context(place.config):
        for trainer, group, best in restore.restored_groups(place, lambda run: run in wanted):
            found += ensemble_members(trainer, group, best, wanted)
            config, task = trainer.config, trainer.task
            sizes = task.make_sizes(config)
    arrays = jax.tree.map(lambda *x: np.stack(x), *(m.arrays for m in found))
    named = (
        dataset.read_encoder_record(config.data)
        if config.data.upstream and config.model.name != 'fine_tuned'
        else None
    )
    if config.model.name == 'fine_tuned':
        states = states_from_folder(config.model.upstream, STATE_KINDS[0])
        named = states.record_fields()['upstream']
    config = config_to_dict(config)
    del config['data']['dir']  # prediction needs no data, and others need not know where they lay
    weights = serialize_arrays(
        required_arrays(trainer.step.predict, arrays, task.utterances.bands, trainer.frozen)
    )
    facts = {
        'format': MODEL_FORMAT,
        'sha256': hashlib.sha256(weights).hexdigest(),
        'config': config,
        'classes': results['classes'],
        'sizes': sizes._asdict(),
        'normalisation': config['data']['normalise'],
        'log_mel': log_mel.FORMAT_VERSION,
        **(
            {'upstream': {k: named[k] for k in ('name', 'format', 'sha256', 'folder')}}
            if named
            else {}
        ),
        'runs': [m.run for m in found],
        'calibration': fit_temperature(
            np.concatenate([m.p_NxC for m in found]), np.concatenate([m.truth_N for m in found])
        ),
        'row': {k: v for k, v in row.items() if k not in summary.RESULT_KEYS or k in ROW_KEYS},
        'protocol': results['protocol'],
        'corpora': results['corpora'],
        'data': describe_data(task),
        'labels': results['labels'],
        'synthetic': results['synthetic'],
        'split_sha256': results['split_sha256'],
        'versions': {p: package_version(p) for p in PACKAGES},
    }
    place.save_model(weights, facts)
    return folder


def copy_encoder(folder, encoder: PretrainedEncoder | None) -> None:
    """Puts a pretrained encoder beside the model in `folder`, whole or not at all, unless it is that which is there."""
    if not encoder:
        raise UserError(
            f'The model of {folder} hears log-mel features: there is no upstream to carry.'
        )
    if '://' in str(folder):
        raise UserError(
            f'{folder} is no folder of this machine: copy the model here to put its upstream beside it.'
        )
    to = Path(folder) / ENCODER_FOLDER
    if distributed.is_main_process() and encoder.folder.resolve() != to.resolve():
        part = to.with_name(f'.{to.name}.part')
        shutil.rmtree(part, ignore_errors=True)
        try:
            write_encoder(encoder, part)
            shutil.rmtree(to, ignore_errors=True)
            part.replace(to)
        finally:
            shutil.rmtree(part, ignore_errors=True)
