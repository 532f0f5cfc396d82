"""The three questions of the report page, answered from results.json: a card for each.

Did it forget the speaker? Did it help? Is the split clean? A card has a status, a short answer and
sentences:

red    the figures are not valid: the split leaks, the emotion was forgotten too, or no run finished
amber  not shown: no difference, an inert method, too few speakers, or something to be careful about
green  shown: the interval excludes 0, or no check found anything

The rules of a question are functions of `Facts`. The first that returns an answer decides.
"""

from typing import NamedTuple

from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.analysis.adversary import inert_hint
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.leakage import is_biased_low, strongest_recall, unseen_question
from jaxser.reporting.formats import (
    format_interval,
    format_leakage,
    format_number,
)
from jaxser.reporting.split_findings import Finding, split_findings

RED, AMBER, GREEN = 'red', 'amber', 'green'
SEVERITY = (GREEN, AMBER, RED)

# The difference may be up to this far from 0 at the ends of its scale.
MIN_DIFFERENCE_SCALE = 0.1

PLURALS = {'speaker': 'speakers', 'language': 'languages', 'corpus': 'corpora'}

NO_FIGURES = 'In every seed, a fold diverged: no setting has figures.'
SEEN_SENTENCE = (
    'The tested utterances were used to train the encoder: such leakage is biased low. With '
    'config.protocol.withhold = 0.2, attackers are tested on withheld utterances.'
)
CENTRED_SENTENCE = (
    'Features are normalised by statistics of a speaker that include the tested utterances, which '
    'makes leakage too low.'
)
BELOW_CHANCE_SENTENCE = (
    'An attacker is wrong more often than by guessing. That is a leak too: who is always wrong '
    'knows the {domain}.'
)
LIMITS_SENTENCE = 'Information that these attackers do not find may still be there.'
INVALID_SENTENCE = 'The split leaks (third card), so this figure is not valid.'


class Facts(NamedTuple):
    """What the cards need to know of a sweep."""

    best: dict | None  # the row of the setting that the report is about
    plain: dict | None  # the row of plain training that it is compared with
    title: str  # of the best setting
    domain: str  # to be forgotten
    is_all_plain: bool
    compared: int  # number of settings that are compared with plain training
    chance: float  # the UAR of guessing
    audit: dict
    hint: str  # what to try if the method is inert
    path: str = ''  # of the workdir


class Answer(NamedTuple):
    """The answer to a question."""

    status: str
    answer: str
    sentences: list[str]


class Scale(NamedTuple):
    """A figure of a card, drawn as a point on a scale from `low` to `high`."""

    label: str
    text: str
    note: str
    low: float
    high: float
    value: float
    ci95: tuple[float, float] | None
    marks: list[tuple[str, float]]  # what it is compared with, by name

    def position(self, value: float) -> float:
        """Returns where a value is on the scale, in percent of its length."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 1)

    @property
    def ends(self) -> tuple[str, str]:
        """The ends of the scale as text; a scale of differences has signs."""
        number_format = '+.2g' if self.low < 0 else '.2g'
        return f'{self.low:{number_format}}', f'{self.high:{number_format}}'


class Card(NamedTuple):
    """A question with its answer and its figures."""

    name: str
    question: str
    status: str
    answer: str
    sentences: list[str]
    scales: list[Scale]

    @property
    def mark_names(self) -> list[str]:
        """What the figures are compared with, without repetition."""
        names = {}
        for scale in self.scales:
            names |= dict(scale.marks)
        return list(names)


def make_cards(analysis: SweepAnalysis) -> list[Card]:
    """Returns the three cards of a finished sweep."""
    return cards_from_facts(collect_facts(analysis))


def cards_from_facts(facts: Facts) -> list[Card]:
    """Returns the three cards; a split that leaks makes the others invalid."""
    split = split_answer(facts.audit)
    questions = {
        'forgetting': (f'Did it forget the {facts.domain}?', forgetting_answer, leakage_scales),
        'benefit': ('Did it help?', benefit_answer, benefit_scales),
    }
    cards = []
    for name, (question, find_answer, find_scales) in questions.items():
        answer = find_answer(facts)
        if split.status == RED:
            answer = Answer(RED, 'Not valid', [INVALID_SENTENCE, *answer.sentences])
        cards.append(Card(name, question, *answer, find_scales(facts)))
    cards.append(Card('split', 'Is the split clean?', *split, []))
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


# Did it forget?


def forgetting_answer(facts: Facts) -> Answer:
    """Returns whether the setting has forgotten its domain."""
    rules = (
        _no_figures,
        _not_measured,
        _forgets_nothing,
        _has_no_reference,
        _has_collapsed,
        _is_measured_too_low,
        _is_below_chance,
        _forgot_in_runs,
        _forgot_by_intervals,
    )
    return _first_answer(rules, facts)


def _first_answer(rules: tuple, facts: Facts) -> Answer:
    for rule in rules:
        answer = rule(facts)
        if answer:
            return answer
    raise AssertionError('the last rule always answers')


def _no_figures(facts: Facts) -> Answer | None:
    if facts.best is None:
        return Answer(RED, 'No result', [NO_FIGURES])
    return None


def _not_measured(facts: Facts) -> Answer | None:
    if _leakage(facts.best, facts.domain):
        return None
    command = f'python -m jaxser.probe --workdir {facts.path}'
    return Answer(AMBER, 'Not measured', [f'Leakage was not measured. {command} measures it.'])


def _forgets_nothing(facts: Facts) -> Answer | None:
    if not facts.is_all_plain:
        return None
    tried = 'This is plain training, which forgets nothing.'
    return Answer(AMBER, 'Not tried', [tried, *_recognition_sentences(facts)])


def _has_no_reference(facts: Facts) -> Answer | None:
    if facts.plain and _leakage(facts.plain, facts.domain):
        return None
    missing = 'The sweep has no plain training (erm, or lam = 0) to compare with.'
    return Answer(AMBER, 'Nothing to compare with', [missing, *_recognition_sentences(facts)])


def _has_collapsed(facts: Facts) -> Answer | None:
    collapsed, runs = _verdict_count(facts.best, 'collapsed')
    if not collapsed:
        return None
    found = f'{collapsed} of {pluralize(runs, "run")} collapsed'
    sentences = [f'{found}: the emotion was forgotten too, or the run diverged.']
    if 2 * collapsed >= runs:
        return Answer(RED, 'Collapsed', sentences)
    return Answer(AMBER, 'Unstable', sentences + _recognition_sentences(facts))


def _is_measured_too_low(facts: Facts) -> Answer | None:
    """Whether attackers had utterances that make leakage too low."""
    reasons = []
    for answer in _headline_answers(facts).values():
        if is_biased_low(answer):
            reasons.append(SEEN_SENTENCE)
        if answer.get('centred'):
            reasons.append(CENTRED_SENTENCE)
    if not reasons:
        return None
    sentences = list(dict.fromkeys(reasons))
    return Answer(AMBER, 'Undecided', _recognition_sentences(facts) + sentences)


def _is_below_chance(facts: Facts) -> Answer | None:
    if not any(answer.get('below_chance') for answer in _headline_answers(facts).values()):
        return None
    sentence = BELOW_CHANCE_SENTENCE.format(domain=facts.domain)
    return Answer(AMBER, 'No', [sentence, *_recognition_sentences(facts)])


# Of domains that have no intervals, the answers by the verdict on most runs.
ANSWERS_BY_VERDICT = {
    'inert': 'No',
    'balanced': 'Perhaps in part',
    'winning': 'Perhaps',
    'undecided': 'Undecided',
}


def _forgot_in_runs(facts: Facts) -> Answer | None:
    """Judges by the verdicts on runs where leakage has no difference to plain training."""
    answers = _headline_answers(facts)
    if 'delta' in answers[facts.domain]:
        return None
    verdict = _most_frequent_verdict(facts.best)
    if verdict is None:
        return Answer(AMBER, 'Undecided', _recognition_sentences(facts))
    sentences = _recognition_sentences(facts)
    sentences.append(f'There is no interval for the {facts.domain}, so nothing is shown.')
    sentences += _next_step(facts, verdict)
    return Answer(AMBER, ANSWERS_BY_VERDICT[verdict], sentences)


def _forgot_by_intervals(facts: Facts) -> Answer:
    """Judges by the differences to plain training, of training speakers and of unseen ones."""
    answer = _headline_answers(facts)[facts.domain]
    domains = PLURALS.get(facts.domain, facts.domain)
    change = _change(answer)
    verdict = _most_frequent_verdict(facts.best)
    sentences = _recognition_sentences(facts)
    if change == 'few':
        sentences.append(_few_speakers_sentence(answer.get('probed_speakers')))
        return Answer(AMBER, f'Too few {domains} to say', sentences)
    if change == 'more':
        sentences.append(f'The interval shows more leakage of training {domains}.')
        return Answer(AMBER, 'No, it leaks more', sentences + _next_step(facts, 'inert'))
    if change == 'unclear':
        sentences.append(
            f'For training {domains}, the interval of the difference to plain training includes 0.'
        )
    if verdict == 'inert':
        short = 'No' if change == 'unclear' else 'Hardly'
        return Answer(AMBER, short, sentences + _next_step(facts, verdict))
    if change == 'unclear':
        return Answer(AMBER, 'Not shown', sentences)
    return _forgot_training_speakers(facts, verdict, sentences)


def _forgot_training_speakers(facts: Facts, verdict: str | None, sentences: list[str]) -> Answer:
    """Judges by unseen speakers where less leakage of training speakers is shown."""
    unseen = _change(_headline_answers(facts).get(unseen_question(facts.domain), {}))
    if verdict == 'winning' and unseen in ('less', 'unclear'):
        return Answer(GREEN, 'Yes, nearly all of it', [*sentences, LIMITS_SENTENCE])
    if unseen == 'less':
        sentences.append('Both are lower than after plain training, and not at chance.')
        return Answer(GREEN, 'In part', sentences)
    domains = PLURALS.get(facts.domain, facts.domain)
    sentences.append(UNSEEN_SENTENCES[unseen].format(domains=domains))
    return Answer(AMBER, f'Only for training {domains}', sentences)


UNSEEN_SENTENCES = {
    'more': 'Unseen {domains} leak more than after plain training.',
    'unclear': 'For unseen {domains}, the interval of the difference includes 0.',
    'few': 'There are too few unseen {domains} for an interval.',
    'unmeasured': 'Leakage of unseen {domains} was not measured.',
}


def _change(answer: dict) -> str:
    """Returns how leakage differs from plain training: less, more, unclear, few or unmeasured.

    few: there are too few speakers for an interval.
    """
    if 'delta' not in answer:
        return 'unmeasured'
    if not answer.get('delta_ci95'):
        return 'few'
    low, high = answer['delta_ci95']
    if high < 0:
        return 'less'
    return 'more' if low > 0 else 'unclear'


def _few_speakers_sentence(speakers: int | None) -> str:
    count = 'Few speakers'
    if speakers is not None:
        count = f'Only {pluralize(speakers, "speaker")}'
    return (
        f'{count}: an interval needs {bootstrap.MIN_SPEAKERS} or more. A difference between so few '
        'may be chance.'
    )


def _next_step(facts: Facts, verdict: str | None) -> list[str]:
    """Returns what to try after an inert setting."""
    if verdict != 'inert':
        return []
    count, runs = _verdict_count(facts.best, 'inert')
    inert = ''
    if count:
        inert = f'{count} of {pluralize(runs, "run")} are inert (nearly all leakage is left). '
    return [f'{inert}Next: {facts.hint}.']


def _verdict_count(row: dict, verdict: str) -> tuple[int, int]:
    """Returns how many runs of a row have a verdict, and how many have any."""
    counts = row['adversary'] or {}
    return counts.get(verdict, 0), sum(counts.values())


def _most_frequent_verdict(row: dict) -> str | None:
    counts = row['adversary']
    return max(counts, key=counts.get) if counts else None


def _leakage(row: dict, question: str) -> dict | None:
    """Returns the average of the probe for a question, or None."""
    return (row['probe'] or {}).get(question)


def _headline_answers(facts: Facts) -> dict[str, dict]:
    """Returns the averages about values of the domain that training has seen, and about others."""
    answers = {}
    for question in (facts.domain, unseen_question(facts.domain)):
        answer = _leakage(facts.best, question)
        if answer:
            answers[question] = answer
    return answers


def _title(question: str) -> str:
    """Returns e.g. 'training speakers' or 'unseen speakers'."""
    domain = question.removeprefix('unseen_')
    values = PLURALS.get(domain, domain)
    return f'unseen {values}' if question != domain else f'training {values}'


def _recognition_sentences(facts: Facts) -> list[str]:
    """Returns how often the strongest attacker is right, beside plain training and chance."""
    sentences = []
    for question, answer in _headline_answers(facts).items():
        levels = [f'by guessing: {_percent(answer["chance"])}']
        plain = _leakage(facts.plain, question) if facts.plain else None
        if plain:
            levels.insert(0, f'after plain training: {_percent(strongest_recall(plain))}')
        title = _title(question)
        recall = f'{_percent(strongest_recall(answer))} of cases ({"; ".join(levels)}).'
        sentence = f'{title[0].upper()}{title[1:]}: {recall}'
        if not sentences:
            sentence = (
                f'{title[0].upper()}{title[1:]}: an attacker who has only the representation '
                f'names the right {facts.domain} in {recall}'
            )
        sentences.append(sentence)
    return sentences


def _percent(share: float) -> str:
    return f'{100 * share:.0f} %'


def leakage_scales(facts: Facts) -> list[Scale]:
    """Returns the recall of the strongest attacker, beside plain training and chance."""
    scales = []
    if facts.best is None:
        return scales
    for question, answer in _headline_answers(facts).items():
        marks = [('chance', answer['chance'])]
        plain = _leakage(facts.plain, question) if facts.plain else None
        levels = [format_interval(answer.get('ci95'))]
        if plain:
            marks.append(('plain training', strongest_recall(plain)))
            levels.append(f'plain training: {format_leakage(plain)}')
        levels.append(f'chance: {answer["chance"]:.3f}')
        scales.append(
            Scale(
                label=f'leakage of {_title(question)}, strongest attacker',
                text=format_leakage(answer),
                note=', '.join(filter(None, levels)),
                low=0.0,
                high=1.0,
                value=strongest_recall(answer),
                ci95=answer.get('ci95'),
                marks=marks,
            )
        )
    return scales


# Did it help?


def benefit_answer(facts: Facts) -> Answer:
    """Returns whether the setting recognises emotions better than plain training."""
    rules = (_no_figures, _has_nothing_to_compare, _lost_the_emotion, _differs_from_plain)
    return _first_answer(rules, facts)


def _has_nothing_to_compare(facts: Facts) -> Answer | None:
    if facts.best['delta_uar'] is not None:
        return None
    uar = f'UAR is {facts.best["uar"]:.3f} (chance: {facts.chance:.3f}).'
    if facts.is_all_plain:
        reason = 'This is plain training: add a method to the sweep to compare with it.'
    else:
        reason = 'The sweep has no plain training (erm, or lam = 0) to compare with.'
    return Answer(AMBER, 'Nothing to compare with', [uar, reason])


def _lost_the_emotion(facts: Facts) -> Answer | None:
    collapsed, runs = _verdict_count(facts.best, 'collapsed')
    if not collapsed or 2 * collapsed < runs:
        return None
    return Answer(RED, 'No, it collapsed', [_uar_sentence(facts)])


def _differs_from_plain(facts: Facts) -> Answer:
    """Judges by the interval of the difference."""
    row = facts.best
    sentences = [_uar_sentence(facts)]
    if not row['delta_ci95']:
        sentences.append(_few_speakers_sentence(row['tested_speakers']))
        return Answer(AMBER, 'Too few speakers to say', sentences)
    low, high = row['delta_ci95']
    speakers = f'over {pluralize(row["tested_speakers"], "tested speaker")}'
    interval = f'{format_interval(row["delta_ci95"], "+.3f")} {speakers}'
    if low <= 0 <= high:
        sentences.append(f'The 95 % interval of the difference, {interval}, includes 0.')
        return Answer(AMBER, 'No difference shown', sentences + _choice_notes(facts))
    sentences.append(f'The 95 % interval of the difference, {interval}, excludes 0.')
    direction = 'better' if low > 0 else 'worse'
    if row['p_holm'] > 1 - bootstrap.CONFIDENCE_LEVEL:
        sentences.append(
            f'But {pluralize(facts.compared, "setting")} were compared: corrected for their '
            f'number, p is {row["p_holm"]:.2g}, which is not significant.'
        )
        return Answer(AMBER, f'Perhaps {direction}', sentences + _choice_notes(facts))
    sentences += _choice_notes(facts)
    if direction == 'better':
        return Answer(GREEN, 'Yes, better', sentences)
    return Answer(AMBER, 'No, worse', sentences)


def _uar_sentence(facts: Facts) -> str:
    difference = format_number(facts.best['delta_uar'], '+z.3f')
    return (
        f'UAR (mean recall over emotions) is {facts.best["uar"]:.3f}, after plain training '
        f'{facts.plain["uar"]:.3f}: a difference of {difference} (chance: {facts.chance:.3f}).'
    )


def _choice_notes(facts: Facts) -> list[str]:
    """Returns that the dev speakers prefer plain training, if they do."""
    dev_uar, plain_dev_uar = facts.best['dev_uar'], facts.plain['dev_uar']
    if plain_dev_uar <= dev_uar:
        return []
    return [
        f'The dev speakers prefer plain training (dev UAR {plain_dev_uar:.3f}, of this setting '
        f'{dev_uar:.3f}).'
    ]


def benefit_scales(facts: Facts) -> list[Scale]:
    """Returns the difference in UAR on a scale around 0."""
    if facts.best is None or facts.best['delta_uar'] is None:
        return []
    row = facts.best
    ends = row['delta_ci95'] or (row['delta_uar'], row['delta_uar'])
    limit = max(MIN_DIFFERENCE_SCALE, *map(abs, ends))
    p_value = 'too few speakers for an interval'
    if row['p'] is not None:
        p_value = f'p = {row["p"]:.3g} (Holm-corrected: {row["p_holm"]:.3g})'
    return [
        Scale(
            label='difference to plain training in UAR, folds pooled',
            text=format_number(row['delta_uar'], '+z.3f'),
            note=f'{format_interval(row["delta_ci95"], "+.3f")} {p_value}'.strip(),
            low=-limit,
            high=limit,
            value=row['delta_uar'],
            ci95=row['delta_ci95'],
            marks=[('no difference', 0.0)],
        )
    ]


# Is the split clean?


def split_answer(audit: dict) -> Answer:
    """Returns whether the audit found anything that makes results look better than they are."""
    findings = split_findings(audit)
    worst = max((finding.status for finding in findings), key=SEVERITY.index, default=GREEN)
    answers = {RED: 'No, it leaks', AMBER: 'No leak, but be careful', GREEN: 'Yes'}
    # The worst first: sorted() keeps the order of equal ones.
    findings.sort(key=_severity, reverse=True)
    return Answer(worst, answers[worst], [finding.sentence for finding in findings])


def _severity(finding: Finding) -> int:
    return SEVERITY.index(finding.status)
