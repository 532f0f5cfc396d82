"""The three questions of the report page, answered from results.json: a card for each.

Did it forget the speaker? Did it help? Is the split clean? A card has a status, a short answer and
sentences:

red    the figures are not valid: the split leaks, the emotion was forgotten too, or no run finished
amber  not shown, only in part, or worse; an inert method, too few speakers, a reason for care
green  shown: better, nearly all forgotten, or no check found anything
"""

from data_pipelines.wording import pluralize
from jaxser.analysis.adversary import inert_hint
from jaxser.analysis.finished import SweepAnalysis
from jaxser.reporting.benefit_card import benefit_answer, benefit_scales
from jaxser.reporting.card_facts import RED, Answer, Card, Facts
from jaxser.reporting.forgetting_card import forgetting_answer, leakage_scales
from jaxser.reporting.formats import rough_leakage_note
from jaxser.reporting.split_card import split_answer
from jaxser.reporting.target import find_target

INVALID_SENTENCE = 'The split leaks: training and test overlap, so this figure is not valid.'
# A share of the way from chance to a UAR or CCC of 1. Below it, plain training has learned little,
# and it is enough that most runs were still rising; above it, all of several runs must be.
NEAR_CHANCE = 0.2
MIN_RISING_RUNS = 2
# Above every section with results, if the split leaks.
INVALID_SECTION = 'Not valid: the split leaks.'


def make_cards(analysis: SweepAnalysis) -> list[Card]:
    """Returns the three cards of a finished sweep."""
    return cards_from_facts(collect_facts(analysis))


def cards_from_facts(facts: Facts) -> list[Card]:
    """Returns the three cards; a split that leaks makes the others invalid."""
    split = split_answer(facts.audit, facts.target)
    questions = {
        'forgetting': (f'Did it forget the {facts.domain}?', forgetting_answer, leakage_scales),
        'benefit': ('Did it help?', benefit_answer, benefit_scales),
    }
    cards = []
    for name, (question, find_answer, find_scales) in questions.items():
        answer = find_answer(facts)
        if split.status == RED:
            answer = Answer(RED, 'Not valid', [INVALID_SENTENCE, *answer.sentences])
        cards.append(Card(name, question, answer, find_scales(facts), split.status != RED))
    cards.append(Card('split', 'Is the split clean?', split, []))
    return cards


def collect_facts(analysis: SweepAnalysis) -> Facts:
    """Returns the facts of a finished sweep."""
    best = analysis.best_row
    domain, hint, title = 'speaker', '', ''
    if best:
        domain, _ = probed_domain(analysis, best)
        hint = _inert_hint(analysis, best)
        title = analysis.setting_title(best | {'enrol': None})
    return Facts(
        best=best,
        plain=analysis.plain_row,
        title=title,
        domain=domain,
        is_all_plain=analysis.is_all_plain,
        compared=len(analysis.compared_rows),
        chance=analysis.chance,
        audit=analysis.results.get('audit', {}),
        hint=hint,
        path=str(analysis.path),
        rough=rough_leakage_note(analysis.runs),
        short_training=short_training_note(analysis),
        target=find_target(analysis.results),
    )


def short_training_note(analysis: SweepAnalysis) -> str:
    """Returns a warning if plain training ended too early: it was still rising on dev; '' if not.

    A run was rising if its last epoch had the best dev UAR (or CCC). Near chance, most runs must
    have been rising; above it, all runs, because the last epoch may be the best by chance.
    """
    row = analysis.best_row if analysis.is_all_plain else analysis.plain_row
    epochs = analysis.config.get('train', {}).get('epochs')
    measure = analysis.measure
    if not row or not epochs or analysis.results['selection'] != f'best dev {measure.title}':
        return ''
    runs = analysis.complete_runs(row)
    rising = sum(run['epoch'] == epochs for run in runs)
    is_near_chance = row[measure.key] - analysis.chance < NEAR_CHANCE * (1 - analysis.chance)
    if is_near_chance and 2 * rising <= len(runs):
        return ''
    if not is_near_chance and (rising < len(runs) or rising < MIN_RISING_RUNS):
        return ''
    steps = analysis.results.get('steps')  # results of earlier versions lack it
    length = pluralize(steps, 'step') if steps else pluralize(epochs, 'epoch')
    return (
        f'Training was short ({length}), and dev {measure.title} was still rising: train for more '
        'epochs before you judge.'
    )


def probed_domain(analysis: SweepAnalysis, row: dict) -> tuple[str, dict | None]:
    """Returns the domain that a setting should forget, and the result of its probe or None.

    Of several domains it is the first that was probed; if none was, it is the speaker if probed.
    """
    forgotten = (row.get('domain') or analysis.config.get('domain', 'speaker')).split('+')
    answers = row['probe'] or {}
    for domain in (*forgotten, 'speaker'):
        if domain in answers:
            return domain, answers[domain]
    return forgotten[0], None


def _inert_hint(analysis: SweepAnalysis, row: dict) -> str:
    """Returns what to try if the runs of a setting are inert."""
    for run in analysis.complete_runs(row):
        hint = (run.get('adversary') or {}).get('next')
        if hint:
            return hint
    method = row.get('method') or analysis.config['method']  # of an earlier version
    return inert_hint(row, method)
