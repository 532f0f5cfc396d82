"""Formats numbers and intervals; a value that was not measured becomes an empty text."""

import math

from data_pipelines.wording import pluralize
from jaxser.analysis.bootstrap import Estimate
from jaxser.analysis.leakage import ATTACKERS, is_biased_low, strongest_attacker

SAMPLED_NOTE = (
    'Sampled: attackers are fitted and tested on a random sample, because there are very many '
    'speakers or utterances. All runs of a fold have the same sample.'
)
CENTRED_NOTE = (
    'Centred: features are normalised by statistics of a speaker that include the tested '
    'utterances. This moves them away from the other utterances of the speaker, so that leakage is '
    'too low, and may be below chance even if nothing was forgotten.'
)

# What became of runs; {lost} is that the emotion, for example, was forgotten too.
VERDICTS_NOTE = (
    'inert (leakage of training speakers nearly as high as with plain training, or higher), '
    'balanced (lower, but not winning), winning (hardly any leakage, neither of training speakers '
    'nor of unseen speakers), collapsed ({lost}, or the run diverged), '
    'undecided (plain training does not leak, so that there is nothing to compare with).'
)
SEEN_NOTE = (
    "'seen': the attacker was tested on utterances that training used. This is biased low: the "
    'encoder may hide the speaker better there than in new utterances.'
)
# Figures of a row of the summary besides the main measure, and their headings.
OTHER_FIGURES = {
    'wa': 'WA',
    'f1': 'F1',
    'pearson': 'Pearson',
    'rmse': 'RMSE',
    'vote_kl': 'KL(votes ‖ posterior)',
}
PEARSON_RMSE_NOTE = (
    "Pearson: Pearson's correlation. RMSE: root of the mean squared error, on the scale from -1 to "
    '1.'
)
VOTE_KL_NOTE = (
    "KL(votes ‖ posterior): the Kullback-Leibler divergence from the raters' votes to the "
    'posterior, in nats, mean over utterances with votes; 0 is perfect.'
)
# With fewer tested utterances, leakage is only a rough estimate: at a recall of 0.5 its standard
# error is above 0.09.
MIN_TESTED = 30
# The verdicts in the words of the cards of the page.
VERDICT_WORDS = {
    'inert': 'no or hardly',
    'balanced': 'in part',
    'winning': 'nearly all',
    'collapsed': 'collapsed',
    'undecided': 'undecided',
}
FORGOTTEN_NOTE = (
    'Forgotten, by run: no or hardly (leakage of training speakers nearly as high as with plain '
    'training, or higher; the verdict inert), in part (lower; balanced), nearly all (hardly '
    'any leakage, neither of training speakers nor of unseen ones; winning), collapsed ({lost}, or '
    'the run diverged), undecided (plain training does not leak, so that there is nothing to '
    'compare with).'
)

SMALLEST_P = 0.001  # a bootstrap of some thousand draws shows no smaller ones
MOST_LISTED_FOLDS = 9  # of more folds, only the number is written


def rough_leakage_note(runs: list[dict]) -> str:
    """Returns a warning if leakage was measured on few utterances; '' otherwise."""
    fewest = None
    for run in runs:
        answer = (run.get('probe') or {}).get('speaker')
        if answer and 'n' in answer and (fewest is None or answer['n'] < fewest['n']):
            fewest = answer
    if fewest is None or fewest['n'] >= MIN_TESTED:
        return ''
    kind = 'withheld' if fewest.get('withheld') else 'tested'
    return (
        f'All leakage of this sweep is rough: one run was probed on only {fewest["n"]} {kind} '
        f'utterances of {fewest["classes"]} speakers.'
    )


def format_enrolled(enrol: int | str | None) -> str:
    """Returns the number of enrolled utterances in a table, e.g. '8 (transductive)'.

    It is '' where no speakers are enrolled (None).
    """
    if enrol is None:
        return ''
    return '0' if enrol == 0 else f'{enrol} (transductive)'


def format_number(value: float | None, number_format: str = 'z.3f') -> str:
    """Returns a number as text; '' for None. The z of the format turns -0 into 0."""
    return '' if value is None else f'{value:{number_format}}'


def format_p(p: float | None) -> str:
    """Returns a p-value as text with three decimals, '< 0.001' below; '' for None."""
    if p is None:
        return ''
    return '< 0.001' if p < SMALLEST_P else f'{p:.3f}'


def format_percent(share: float) -> str:
    """Returns a share in percent with the digits of its three decimals: 0.505 is '50.5 %'."""
    return f'{100 * share:.1f}'.removesuffix('.0') + ' %'


def format_interval(ci95: tuple[float, float] | None, number_format: str = '.3f') -> str:
    """Returns an interval as text, e.g. '[0.511, 0.711]'; '' for None."""
    if not ci95:
        return ''
    low, high = ci95
    return f'[{low:{number_format}}, {high:{number_format}}]'


def format_bits_interval(answer: dict) -> str:
    """Returns the 95 % interval of the bits of an answer; '' for none.

    It is 'not estimable' if the interval is wider than log2 of the number of classes, the largest
    possible information. This happens where few utterances are tested.
    """
    interval = answer.get('bits_ci95')
    classes = answer.get('classes')
    if interval and classes and interval[1] - interval[0] > math.log2(classes):
        return 'not estimable'
    return format_interval(interval, '.2f')


def format_estimate(estimate: Estimate | None, number_format: str = 'z.3f') -> tuple[str, str]:
    """Returns an estimate as two texts: its value and its interval; '' if there is none."""
    if estimate is None:
        return '', ''
    interval_format = number_format.replace('z', '')
    return (
        format_number(estimate.value, number_format),
        format_interval(estimate.ci95, interval_format),
    )


def format_leakage(answer: dict | None) -> str:
    """Returns the strongest attacker's recall with its name, e.g. '0.580 (RBF)'.

    '0.580 (RBF, seen)': tested on utterances that the encoder was trained on, so biased low.
    '0.580 (RBF, centred)': see CENTRED_NOTE.
    `answer` is the average of the probe for a question.
    """
    strongest = strongest_attacker(answer or {})
    if not strongest:
        return ''
    attacker, recall = strongest
    notes = [ATTACKERS[attacker]]
    if is_biased_low(answer):
        notes.append('seen')
    if answer.get('centred'):
        notes.append('centred')
    if answer.get('below_chance'):
        notes.append('below chance')
    return f'{recall:.3f} ({", ".join(notes)})'


def format_attack(figures: dict | None) -> str:
    """Returns the strongest recall of attackers on the input or the scores, e.g. '0.580 (RBF)'."""
    strongest = strongest_attacker(figures or {})
    if not strongest:
        return ''
    attacker, recall = strongest
    return f'{recall:.3f} ({ATTACKERS[attacker]})'


def format_shared(texts: list[str]) -> str:
    """Returns the text that all settings have in common, 'varies' if they differ; '' without any.

    Chance, for example, varies with the number of training speakers.
    """
    if not texts:
        return ''
    return texts[0] if len(set(texts)) == 1 else 'varies'


def split_cells(cells_by_row: list[list[tuple[str, object]]]) -> tuple[list[str], list[list]]:
    """Returns the headings and the rows of a table.

    A row of `cells_by_row` is a (heading, text) for every column; all rows have the same headings.
    """
    headings, _ = zip(*cells_by_row[0])
    rows = []
    for cells in cells_by_row:
        _, texts = zip(*cells)
        rows.append(list(texts))
    return list(headings), rows


def format_verdicts(counts: dict[str, int] | None) -> str:
    """Returns the number of runs by their verdict, e.g. 'inert 3, balanced 1'."""
    if not counts:
        return ''
    return ', '.join(f'{verdict} {count}' for verdict, count in counts.items())


def describe_verdicts(counts: dict[str, int] | None) -> str:
    """Returns what the runs of a setting forgot in the words of the cards.

    For example 'in part (3 of 4 runs), collapsed (1 of 4 runs)'.
    """
    if not counts:
        return ''
    runs = pluralize(sum(counts.values()), 'run')
    parts = []
    for verdict, count in counts.items():
        parts.append(f'{VERDICT_WORDS.get(verdict, verdict)} ({count} of {runs})')
    return ', '.join(parts)


def format_folds(numbers: list[int], protocol_folds: int | None) -> str:
    """Returns which folds were run: '5 folds' for all of them, or e.g. 'folds 0, 1 of 5'.

    `protocol_folds` is the number of folds of the protocol; if it is None, which is not known, the
    text is e.g. '2 folds run'.
    """
    if protocol_folds is None:
        return f'{pluralize(len(numbers), "fold")} run'
    if len(numbers) >= protocol_folds:
        return pluralize(protocol_folds, 'fold')
    if len(numbers) > MOST_LISTED_FOLDS:
        return f'{len(numbers)} of {protocol_folds} folds'
    noun = 'fold' if len(numbers) == 1 else 'folds'
    return f'{noun} {", ".join(map(str, numbers))} of {protocol_folds}'


def folds_of_sweep(results: dict) -> str:
    """Returns which folds a sweep ran, as `format_folds` writes them; `results` is results.json."""
    numbers = {run['hyper']['fold'] for run in results.get('runs', ())}
    if not numbers:
        return f'{pluralize(len(results["folds"]), "fold")} run'
    return format_folds(sorted(numbers), results.get('audit', {}).get('folds'))
