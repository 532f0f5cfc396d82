"""Attackers: classifiers that try to recognise a domain from a frozen representation.

Each attacker is a pure function of a standardised job in a module of its own; `fit_attackers` fits
all of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxser.probing.attackers.job import JobData, Scores, calibrate, standardise, weigh
from jaxser.probing.attackers.knn import fit_knn
from jaxser.probing.attackers.linear import fit_linear
from jaxser.probing.attackers.mlp import fit_mlp
from jaxser.probing.attackers.rbf import fit_rbf

ATTACKERS = ('linear', 'mlp', 'rbf', 'knn')


class Attack(NamedTuple):
    """The results of the A attackers of a job, in the order of ATTACKERS."""

    log_p_AxTxK: jax.Array  # calibrated log-posteriors of the tested examples
    validation_loss_A: jax.Array  # calibrated cross-entropy on the validation part, in nats


class Outcome(NamedTuple):
    """What the answer to a question needs of an Attack, without K numbers for each example."""

    predicted_AxT: jax.Array  # the most probable class of the tested examples
    true_log_p_AxT: jax.Array  # calibrated log-posterior of their true class
    validation_loss_A: jax.Array  # as in Attack


def attack_outcome(attack: Attack, true_T: jax.Array) -> Outcome:
    """Returns the outcome of an attack; `true_T` are the classes of the tested examples."""
    true_log_p_AxT = jnp.take_along_axis(attack.log_p_AxTxK, true_T[None, :, None], axis=2)
    return Outcome(attack.log_p_AxTxK.argmax(2), true_log_p_AxT[..., 0], attack.validation_loss_A)


def fit_attackers(data: JobData, classes: int) -> Attack:
    """Fits all attackers of a job and calibrates them on the validation part."""
    data = standardise(data)
    weights = weigh(data, classes)
    linear = fit_linear(data, weights, classes)
    fits = (
        linear,
        fit_mlp(data, weights, linear),
        fit_rbf(data, weights, classes),
        fit_knn(data, weights, classes),
    )
    return jax.lax.map(
        lambda scores: _calibrated(scores, data, weights), _stack([fit.scores for fit in fits])
    )


def _stack(scores: list[Scores]) -> Scores:
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *scores)


def _calibrated(scores: Scores, data: JobData, weights) -> Attack:
    """Returns the log-posteriors and the validation loss of one attacker."""
    sharpness, loss = calibrate(scores.validation_VxK, data.validation.y_N, weights.validation_V)
    return Attack(jax.nn.log_softmax(sharpness * scores.test_TxK), loss)
