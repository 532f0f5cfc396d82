"""The model that a finished sweep leaves for prediction: WORKDIR/model, which needs neither the corpus nor the checkpoints.

  python -m jaxser.bundle --workdir runs/dann_demo [--data data] [--upstream FOLDER] [--carry_upstream]

Training makes it at its end; the command does for a sweep that has none. Of the settings (all that was swept but seed and fold)
it takes the one of the best mean dev UAR, and of that one every run that did not diverge: their posteriors are averaged. Each
run was trained without some of the speakers, so the average has no dev part of its own: what is known of it, its measures and
its temperature, is known of its runs one by one.

model.safetensors   params/..., batch_stats/... and, under `global` normalisation, mean and scale, all leading with R, the run;
                    only what prediction reads: the heads of the domains, which know the speakers, stay behind
model.json          what else it takes to predict by them, and where they come from
upstream/           of a model over a pretrained encoder, with --carry_upstream, that encoder (config.json, model.safetensors);
                    without, model.json names it by the sha256 of its weights and says where it was: its licence may forbid
                    that it is copied. Of one that is fine-tuned model.safetensors holds the changes, and here is what they change
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from etils import epath
from flax import traverse_util

from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.features import log_mel
from data_pipelines.features.upstream import FORMAT_VERSION, STATE_KINDS, EncoderStates
from data_pipelines.storage import dataset
from jaxser import distributed, plugins, train
from jaxser.analysis import summary
from jaxser.analysis.calibration import fit_temperature
from jaxser.cli import make_workdir_parser
from jaxser.configuration.serialization import config_to_dict
from jaxser.pretrained.checkpoint import CONFIG_FILE, PREPROCESSOR_FILE
from jaxser.pretrained.encoder import PretrainedEncoder, cached_encoder, write_encoder
from jaxser.provenance import PACKAGES, package_version
from jaxser.workdir import Workdir

MODEL_FILES = ('model.json', 'model.safetensors')

ENCODER_FOLDER = 'upstream'  # the folder of an encoder beside them

MODEL_FORMAT = 1  # raise it whenever what is written means something else

ROW_KEYS = ('seeds', 'tested_speakers', 'dev_uar', 'uar', 'uar_ci95', 'uar_folds', 'wa', 'f1')  # of the summary

REQUIRED_KEYS = ('config', 'classes', 'sizes', 'normalisation', 'calibration', 'synthetic', 'versions')  # by prediction

class Model(NamedTuple):
    """What is read back: model.json, and nested arrays."""

    metadata: dict
    arrays: dict  # params, batch_stats (unless the network has none), and perhaps mean, scale

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
        return [r['hyper'] for r in results['runs'] if r['status'] == 'ok' and all(r['hyper'].get(k) == row[k] for k in swept)]

    best = max(results['summary'], key=lambda row: (row['dev_uar'] or 0.0, len(runs(row))))
    return best, runs(best)

def ensemble_members(trainer, group, selected: tuple, wanted_runs: list[dict]) -> list[EnsembleMember]:
    """The wanted runs of a group."""
    _, scores = train.predict_part(trainer, group, selected, 'dev')
    table, layout = trainer.task.table, group.layout
    params_N, batch_stats_N = jax.tree.map(layout.collect, selected)
    made = []
    for n, run in enumerate(group.runs):
        if run not in wanted_runs:
            continue
        rows, p_NxC = scores.get_run(n)
        arrays = jax.tree.map(lambda x, n=n: x[n], {'params': params_N, 'batch_stats': batch_stats_N})
        if table.normalisation == 'global':
            at = table.moments_index_FxN[group.fold_N[n], 0]
            arrays |= {'mean': table.mean[at], 'scale': table.scale[at]}
        made.append(EnsembleMember(run, arrays, p_NxC, table.emotion_N[rows]))
    return made

def required_arrays(predict: Callable, arrays: dict, bands: int, frozen=None) -> dict:
    """Those of the model's arrays on which the scores of `predict` (jaxser/step.py) depend; an Encoder's `frozen` stay behind."""
    flat = traverse_util.flatten_dict(arrays, sep='/')

    def scores(flat: dict) -> jax.Array:
        run = {'batch_stats': {}} | traverse_util.unflatten_dict({k: x[0] for k, x in flat.items()}, sep='/')
        batch = {'mel_BxTxM': jnp.zeros((1, 16, bands)), 'frames_B': jnp.full((1,), 16), 'target_B': jnp.ones((1,))}
        if frozen is not None:
            batch['frozen'] = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), frozen)
        batch |= {f'{k}_BxM': run.get(k, jnp.ones(bands))[None] for k in ('mean', 'scale')}
        return predict(run['params'], run['batch_stats'], batch)[1]

    read = jax.export.export(jax.jit(scores))(flat).module_kept_var_idx  # what does not matter is no argument of the program
    return traverse_util.unflatten_dict({k: x for n, (k, x) in enumerate(sorted(flat.items())) if n in read}, sep='/')

def describe_data(task) -> dict[str, dict]:
    """Of every corpus that has a part in some fold: how much of it, how much training hears with its emotions, and who speaks."""
    part = lambda *names: np.unique(np.concatenate([getattr(f, n) for f in task.folds for n in names]))  # noqa: E731
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

def serialize_arrays(arrays: dict) -> bytes:
    """Nested arrays as safetensors, by names such as params/emotion/layers_0/kernel."""
    return safetensors.numpy.save(traverse_util.flatten_dict(arrays, sep='/'))

def deserialize_arrays(weights: bytes) -> dict:
    """What was packed; dictionaries without any array are gone."""
    return traverse_util.unflatten_dict(safetensors.numpy.load(weights), sep='/')

def bundle_model(path, data: str | None = None, carry_upstream: bool = False, upstream=None):
    """Makes the model of the finished sweep in `path`, unless it is there; returns its folder.

    `data` is where the shards are now, if they are elsewhere than in training, `upstream` where the pretrained encoder. With
    `carry_upstream` that one is put beside the model.
    """
    folder = build_model(path, data, upstream)
    if upstream and not carry_upstream and not is_fine_tuned(read_model(folder).metadata):
        raise UserError(f'The sweep in {path} trains no pretrained encoder: leave --upstream {upstream} out, or carry it.')
    if carry_upstream:
        copy_encoder(folder, find_encoder(folder, read_model(folder).metadata, upstream))
    return folder

def build_model(path, data: str | None = None, upstream: str | None = None):
    """The folder of the model, made unless it is there."""
    place = Workdir.open(path, data, upstream)
    if upstream and place.config.model.name == 'fine_tuned':
        train.validate(place.config)  # refuses other weights
    results, folder = place.load_results(), place.path / 'model'
    if results is None:
        raise UserError(f'{path} holds no finished sweep (no results.json). The command that began it goes on with it.')
    if (folder / 'model.json').exists():
        return folder
    row, wanted = choose_setting(results)
    found: list[EnsembleMember] = []
    with plugins.matmul_precision_context(place.config):
        for trainer, group, best in train.restored_groups(place, lambda run: run in wanted):
            found += ensemble_members(trainer, group, best, wanted)
            config, task = trainer.config, trainer.task
            sizes = task.make_sizes(config)
    arrays = jax.tree.map(lambda *x: np.stack(x), *(m.arrays for m in found))
    named = dataset.read_encoder_record(config.data) if config.data.upstream and config.model.name != 'fine_tuned' else None
    if config.model.name == 'fine_tuned':
        named = EncoderStates.from_folder(config.model.upstream, STATE_KINDS[0]).record_fields()['upstream']
    config = config_to_dict(config)
    del config['data']['dir']  # prediction needs no data, and others need not know where they lay
    weights = serialize_arrays(required_arrays(trainer.step.predict, arrays, task.utterances.bands, trainer.frozen))
    facts = {
        'format': MODEL_FORMAT,
        'sha256': hashlib.sha256(weights).hexdigest(),
        'config': config,
        'classes': results['classes'],
        'sizes': sizes._asdict(),
        'normalisation': config['data']['normalise'],
        'log_mel': log_mel.FORMAT_VERSION,
        **({'upstream': {k: named[k] for k in ('name', 'format', 'sha256', 'folder')}} if named else {}),
        'runs': [m.run for m in found],
        'calibration': fit_temperature(np.concatenate([m.p_NxC for m in found]), np.concatenate([m.truth_N for m in found])),
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

def model_folder(folder):
    """The folder that holds the files of a model: of a workdir, or the folder itself."""
    folder = epath.Path(folder)
    return folder if (folder / 'model.json').exists() else folder / 'model'

def is_fine_tuned(metadata: dict) -> bool:
    """Whether the model changes the weights of its pretrained encoder, and so is nothing without them."""
    return metadata['config']['model']['name'] == 'fine_tuned'

def find_encoder(folder, metadata: dict, encoder_folder=None) -> PretrainedEncoder | None:
    """The pretrained encoder by which the model of `folder` hears; None for a model of log-mel.

    It is in the folder `encoder_folder`, else beside the model, else where it was in preparing, or in training. Refuses none, and another.
    """
    named, place = metadata.get('upstream'), model_folder(folder)
    if not named:
        if encoder_folder:
            raise UserError(f'The model of {place} hears log-mel features, and no upstream: leave {encoder_folder} out.')
        return None
    beside, kind = Path(place) / ENCODER_FOLDER, EncoderStates.from_name(named['name']).model
    were = [p for p in (beside, Path(named.get('folder') or beside)) if (p / CONFIG_FILE).exists()]
    if not encoder_folder and not were:
        was = f', nor any longer in {named["folder"]}' * bool(named.get('folder'))
        raise UserError(
            f'The model of {place} hears by a {kind} whose weights have the sha256 {named["sha256"]} ({named["name"]}), and '
            f'that is not in {beside}{was}: name its Hugging Face folder with --upstream FOLDER.'
        )
    found = cached_encoder(encoder_folder or were[0])
    name = EncoderStates.from_encoder(found, EncoderStates.from_name(named['name']).kept).name
    if (name, found.sha256) != (named['name'], named['sha256']):
        other = f'the sha256 {found.sha256}'
        if found.sha256 == named['sha256']:
            other = f'these, but another {CONFIG_FILE} or {PREPROCESSOR_FILE}'
        raise UserError(
            f'The model of {place} hears by {named["name"]}, weights of the sha256 {named["sha256"]}; {found.folder} holds '
            f'{name}, {other}. Name the folder of the first with --upstream FOLDER.'
        )
    return found

def copy_encoder(folder, encoder: PretrainedEncoder | None) -> None:
    """Puts a pretrained encoder beside the model in `folder`, whole or not at all, unless it is that which is there."""
    if not encoder:
        raise UserError(f'The model of {folder} hears log-mel features: there is no upstream to carry.')
    if '://' in str(folder):
        raise UserError(f'{folder} is no folder of this machine: copy the model here to put its upstream beside it.')
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

def read_model(folder) -> Model:
    """The model of a workdir, or of a folder that holds model.json; refuses what is not there, damaged or of another version."""
    folder, place = epath.Path(folder), model_folder(folder)
    facts_file, weights_file = (place / name for name in MODEL_FILES)
    if not facts_file.exists():
        if (folder / 'config.json').exists():
            raise UserError(f'{folder} has no model yet ({facts_file}). Make it: python -m jaxser.bundle --workdir {folder}')
        raise UserError(f'{folder} holds no model (no {facts_file}); expected a workdir of jaxser.main, e.g. runs/dann_demo.')
    anew = f'Copy {place} anew; or, beside its sweep, remove it and run python -m jaxser.bundle --workdir WORKDIR'
    try:
        facts = json.loads(facts_file.read_text())
        of, sha256 = facts['format'], facts['sha256']
    except (ValueError, KeyError, TypeError) as e:
        raise UserError(f'{facts_file} is damaged ({type(e).__name__}: {e}). {anew}') from None
    if (of, facts.get('log_mel')) != (MODEL_FORMAT, log_mel.FORMAT_VERSION):
        raise UserError(
            f'{place} is of format {of} with features of format {facts.get("log_mel")}; this jaxser reads {MODEL_FORMAT} and makes '
            f'{log_mel.FORMAT_VERSION}. Use the jaxser that trained it, {(facts.get("versions") or {}).get("jaxser")}, or train anew.'
        )
    named = facts.get('upstream')
    if named and named['format'] != FORMAT_VERSION:
        raise UserError(
            f'{place} hears by states of an upstream of format {named["format"]}; this jaxser makes {FORMAT_VERSION}. Use the '
            f'jaxser that trained it, {(facts.get("versions") or {}).get("jaxser")}, or train anew.'
        )
    over = (facts.get('config') or {}).get('data', {}).get('upstream')
    if lacks := [k for k in (*REQUIRED_KEYS, *['upstream'] * bool(over)) if k not in facts]:
        raise UserError(f'{facts_file} is damaged: it lacks {lacks[0]}. {anew}')
    if not weights_file.exists():
        raise UserError(f'{weights_file} is missing. {anew}')
    weights = weights_file.read_bytes()
    if hashlib.sha256(weights).hexdigest() != sha256:
        raise UserError(f'{weights_file} is damaged, or of another model: its checksum is not the one in model.json. {anew}')
    return Model(facts, deserialize_arrays(weights))

def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    parser = make_workdir_parser('jaxser.bundle', __doc__)
    parser.add_argument('--carry_upstream', action='store_true', help='put the pretrained encoder beside the model')
    asked = parser.parse_args()
    distributed.configure_jax()
    with exit_on_user_error():
        folder = bundle_model(asked.workdir, asked.data, asked.carry_upstream, asked.upstream)
        print(f'{folder}: {", ".join(sorted(p.name for p in folder.iterdir()))}')

if __name__ == '__main__':
    main()
