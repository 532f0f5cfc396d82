"""Chooses the runs of a sweep that become its model, and the arrays that prediction needs."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from data_pipelines.errors import UserError
from jaxser.analysis import summary
from jaxser.analysis.finished import choose_model_row, finished_runs, with_most_enrolled
from jaxser.analysis.measure import results_measure
from jaxser.nn.encoder import make_dummy_batch
from jaxser.nn.output_head import split_outputs
from jaxser.runs import setting_title, with_run_values
from jaxser.training import restore


class ChosenSetting(NamedTuple):
    """The row of a setting in the summary, and the hyper-parameters of its runs."""

    row: dict
    runs: list[dict]


class EnsembleMember(NamedTuple):
    """A run of the model, with its posteriors on its own dev part; C = 0 for ratings alone."""

    run: dict
    arrays: dict
    p_NxC: np.ndarray
    emotion_N: np.ndarray


def choose_setting(results: dict) -> ChosenSetting:
    """Returns the setting that is best on dev, and its runs that did not diverge.

    It has the highest mean of the main measure: dev UAR, or dev CCC for ratings.
    """
    row = choose_model_row(results['summary'], results['runs'], results_measure(results))
    return ChosenSetting(row, finished_runs(results['runs'], row))


def find_setting(results: dict, config: dict, wanted: str) -> ChosenSetting:
    """Returns the setting with the title `wanted`, e.g. 'dann, lam = 0.3'; spaces do not matter.

    UserError if the sweep has no such setting, or if all runs of it diverged.
    """
    config = with_run_values(config, summary.collect(results['runs'], 'hyper'))
    settings = {}
    for row in with_most_enrolled(results['summary']):
        runs = finished_runs(results['runs'], row)
        keys = [key for key in summary.swept_keys(row) if key != 'enrol']
        if runs:
            settings[setting_title(config | row, ['method', *keys])] = ChosenSetting(row, runs)
    for title, setting in settings.items():
        if title.replace(' ', '') == wanted.replace(' ', ''):
            return setting
    titles = ', '.join(f'"{title}"' for title in settings)
    raise UserError(
        f'--setting "{wanted}" is no setting of this sweep with a finished run. There are: '
        f'{titles}.'
    )


def ensemble_members(
    trainer, group, selected: tuple, chosen_runs: list[dict]
) -> Iterator[EnsembleMember]:
    """Yields the chosen runs of a group; `selected` is its (parameters, BatchNorm statistics)."""
    _, outputs = restore.predict_part(trainer, group, selected, 'dev')
    table = trainer.task.table
    params_N, batch_stats_N = jax.tree.map(group.layout.collect, selected)
    for n, run in enumerate(group.runs):
        if run not in chosen_runs:
            continue
        arrays = {
            'params': _select_run(params_N, n),
            'batch_stats': _select_run(batch_stats_N, n),
        }
        arrays |= _normalisation_arrays(table, group.subset_fold_N[n])
        rows, output_NxO = outputs.get_run(n)
        p_NxC, _ = split_outputs(output_NxO, len(trainer.task.classes))
        yield EnsembleMember(run, arrays, p_NxC, table.emotion_N[rows])


def _normalisation_arrays(table, subset_fold: int) -> dict:
    """Returns what normalisation needs of the training part of a run's fold."""
    if table.normalisation not in ('global', 'speaker_enrolled'):
        return {}
    mean_M, scale_M = table.global_moments(subset_fold)
    arrays = {'mean': mean_M, 'scale': scale_M}
    if table.normalisation == 'speaker_enrolled':
        arrays['prior'] = table.priors[subset_fold]._asdict()
    return arrays


def _select_run(tree, n: int):
    return jax.tree.map(lambda x_N: x_N[n], tree)


def required_arrays(predict: Callable, arrays: dict, bands: int, frozen=None) -> dict:
    """Returns the arrays on which the outputs of `predict` (jaxser/training/step.py) depend.

    The heads of domains, which contain information about the speakers, are left out. The prior, by
    which speakers are enrolled, is kept.

    Args:
      predict: (params, batch_stats, batch) -> (z_BxD, outputs_BxO).
      arrays: those of the model; they lead with the axis of the runs.
      bands: the number of columns of a frame.
      frozen: the weights of a pretrained encoder, if `predict` reads them from the batch.
    """
    without_prior = {name: value for name, value in arrays.items() if name != 'prior'}
    flat = traverse_util.flatten_dict(without_prior, sep='/')

    def outputs(flat: dict) -> jax.Array:
        first_run = jax.tree.map(lambda x_R: x_R[0], flat)
        run = {'batch_stats': {}} | traverse_util.unflatten_dict(first_run, sep='/')
        batch = make_dummy_batch(bands, frozen)
        batch['mean_BxM'] = run.get('mean', jnp.ones(bands))[None]
        batch['scale_BxM'] = run.get('scale', jnp.ones(bands))[None]
        return predict(run['params'], run['batch_stats'], batch)[1]

    # JAX sorts the arguments by name, and drops those that do not matter from the program.
    names = sorted(flat)
    required = {}
    for n in jax.export.export(jax.jit(outputs))(flat).module_kept_var_idx:
        required[names[n]] = flat[names[n]]
    prior = {'prior': arrays['prior']} if 'prior' in arrays else {}
    return traverse_util.unflatten_dict(required, sep='/') | prior
