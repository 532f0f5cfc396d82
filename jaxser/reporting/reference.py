"""The table of sweeps that enrol speakers against plain training without enrolment."""

from jaxser.analysis.reference import ReferenceComparison, ReferenceGain
from jaxser.reporting.formats import format_estimate, format_interval, format_number, format_p
from jaxser.reporting.verdict import format_setting_values

TITLE = 'Against plain training without enrolment'


def reference_note(comparison: ReferenceComparison) -> str:
    """Returns sentences on what is compared."""
    measure = comparison.gains[0].row.measure
    return (
        f'Reference: plain training of {comparison.reference.path} (data.normalise=global, '
        'protocol.enrol=0). Both sweeps have the same split, in which the same utterances are set '
        'aside: they are scored on the same utterances, and the differences are paired. '
        f'Differences are those of the pooled {measure.title}, with 95 % intervals over speakers. '
        'p Holm: corrected for the rows of this table. Leakage: mean recall of the strongest '
        'attacker of unseen speakers, minus that of the reference.'
    )


def reference_cells(comparison: ReferenceComparison) -> list[list[tuple[str, str]]]:
    """Returns the table: for each row (heading, text) of every column."""
    enrol = comparison.sweep.metadata['config']['protocol']['enrol']
    return [_gain_cells(gain, enrol) for gain in comparison.gains]


def _gain_cells(gain: ReferenceGain, enrol: int | str) -> list[tuple[str, str]]:
    """Returns a row; `enrol` is the number of enrolled utterances if it was not swept."""
    row = gain.row
    setting = dict(row.setting)
    enrolled = setting.pop('enrol', enrol)
    difference, interval = format_estimate(gain.gain, '+z.3f')
    leakage = ''
    if gain.unseen_leakage:
        leakage = format_number(gain.unseen_leakage['delta'], '+z.3f')
        leakage += ' ' + format_interval(gain.unseen_leakage['delta_ci95'], '+z.3f')
    return [
        ('setting', format_setting_values(setting)),
        ('method', row.method),
        ('chosen', ', '.join(dict.fromkeys(row.coefficients))),
        ('enrolled', str(enrolled)),
        (f'{row.measure.title} (pooled)', format_number(row.main.value)),
        ('reference', format_number(gain.reference.main.value)),
        ('difference', difference),
        ('95 %', interval),
        ('p', format_p(gain.gain.p)),
        ('p Holm', format_p(gain.p_holm)),
        ('leakage of unseen speakers, difference', leakage.strip()),
    ]
