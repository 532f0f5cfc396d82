"""Compares sweeps that enrol speakers with plain training without enrolment, paired.

The reference is plain training of a sweep with data.normalise=global and protocol.enrol=0. It sets
the same utterances aside, so that both are scored on the same ones, if they have the same split.
"""

from typing import NamedTuple

from jaxser.analysis import bootstrap, leakage, summary
from jaxser.analysis.comparison import ComparisonRow
from jaxser.analysis.finished import FinishedSweep
from jaxser.analysis.measure import main_measure


class ReferenceGain(NamedTuple):
    """A row and its difference to the reference."""

    row: ComparisonRow
    reference: ComparisonRow
    gain: bootstrap.Estimate  # in the main measure
    p_holm: float | None  # corrected for the rows of the sweep
    # The keys delta and delta_ci95 of leakage.leakage_difference; None if not measured in both.
    unseen_leakage: dict | None


class ReferenceComparison(NamedTuple):
    """The rows of a sweep that enrols speakers, compared with one reference sweep."""

    sweep: FinishedSweep
    reference: FinishedSweep
    gains: list[ReferenceGain]


def compare_with_references(
    tables: list[tuple[FinishedSweep, list[ComparisonRow]]],
) -> list[ReferenceComparison]:
    """Returns every pair of a sweep that enrols speakers and a reference of the same split."""
    comparisons = []
    for sweep, rows in tables:
        if _normalisation(sweep) != 'speaker_enrolled':
            continue
        for reference, reference_rows in tables:
            if _is_reference(reference) and _condition(sweep) == _condition(reference):
                gains = _compare_rows(rows, reference_rows)
                if gains:
                    comparisons.append(ReferenceComparison(sweep, reference, gains))
    return comparisons


def _normalisation(sweep: FinishedSweep) -> str | None:
    return sweep.metadata['config'].get('data', {}).get('normalise')


def _is_reference(sweep: FinishedSweep) -> bool:
    """Whether utterances are set aside and none is enrolled."""
    config = sweep.metadata['config']
    enrol = config.get('protocol', {}).get('enrol')
    numbers = [run['hyper'].get('enrol', enrol) for run in sweep.results['runs']]
    return _normalisation(sweep) == 'global' and set(numbers) == {0}


def _condition(sweep: FinishedSweep) -> tuple:
    """Returns what must be equal in two sweeps: scored utterances, targets, input and network."""
    config, results = sweep.metadata['config'], sweep.results
    return (
        results['split_sha256'],
        results['classes'],
        results.get('ratings') or [],
        main_measure(config),
        {run['hyper']['fold'] for run in results['runs']},
        config['data'].get('upstream'),
        config.get('model', {}).get('name'),
    )


def _compare_rows(
    rows: list[ComparisonRow], reference_rows: list[ComparisonRow]
) -> list[ReferenceGain]:
    """Returns the differences of those rows that have figures and a reference."""
    gains = []
    for row in rows:
        reference = _find_reference(row, reference_rows)
        if row.statistics is None or reference is None:
            continue
        gain = bootstrap.difference_estimate(row.statistics, reference.statistics)
        gains.append(ReferenceGain(row, reference, gain, None, _leakage_gain(row, reference)))
    p_values = [gain.gain.p for gain in gains]
    if None in p_values:  # too few speakers
        return gains
    corrected = bootstrap.holm_correction(p_values)
    return [gain._replace(p_holm=p_holm) for gain, p_holm in zip(gains, corrected)]


def _find_reference(
    row: ComparisonRow, reference_rows: list[ComparisonRow]
) -> ComparisonRow | None:
    """Returns the plain training with the same values of the setting; the best on dev of several.

    Of several methods it is the first of PLAIN_METHODS.
    """
    candidates = []
    for n, reference in enumerate(reference_rows):
        is_plain = reference.method in summary.PLAIN_METHODS
        if is_plain and reference.statistics is not None and _have_same_setting(row, reference):
            order = summary.PLAIN_METHODS.index(reference.method)
            candidates.append((order, -reference.dev_main, n))
    return reference_rows[min(candidates)[-1]] if candidates else None


def _have_same_setting(row: ComparisonRow, reference: ComparisonRow) -> bool:
    """Whether two rows agree in the keys that both have, whatever is enrolled."""
    shared = (row.setting.keys() & reference.setting.keys()) - {'enrol', 'domain'}
    return all(row.setting[key] == reference.setting[key] for key in shared)


def _leakage_gain(row: ComparisonRow, reference: ComparisonRow) -> dict | None:
    """Returns the leakage of unseen speakers minus that of the reference."""
    recalls = (row.recalls or {}).get('unseen_speaker', {})
    reference_recalls = (reference.recalls or {}).get('unseen_speaker', {})
    if not recalls or recalls.keys() != reference_recalls.keys():
        return None
    return leakage.leakage_difference(recalls, reference_recalls)
