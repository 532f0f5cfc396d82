"""The second card: did the method help to recognise emotions, or to predict ratings?"""

from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.analysis.measure import UAR
from jaxser.reporting.card_facts import (
    AMBER,
    GREEN,
    RED,
    SAME_SYMBOL,
    WORSE_SYMBOL,
    Answer,
    Facts,
    Scale,
    few_speakers_sentence,
    first_answer,
    no_figures,
    verdict_count,
)
from jaxser.reporting.formats import format_interval, format_number, format_p

# The ends of the scale of differences: the same for all pages whose intervals are within it.
MIN_DIFFERENCE_SCALE = 0.2


def benefit_answer(facts: Facts) -> Answer:
    """Returns whether the setting predicts better than plain training."""
    rules = (no_figures, _has_nothing_to_compare, _has_collapsed, _differs_from_plain)
    answer = first_answer(rules, facts)
    if facts.short_training:
        answer = answer._replace(sentences=[*answer.sentences, facts.short_training])
    return answer


def _has_nothing_to_compare(facts: Facts) -> Answer | None:
    if facts.best_figure('delta_') is not None:
        return None
    title = facts.target.measure.title
    figure = f'{title} is {facts.best_figure():.3f} (chance: {facts.chance:.3f}).'
    if facts.is_all_plain:
        reason = 'This is plain training: add a method to the sweep to compare with it.'
    else:
        reason = 'The sweep has no plain training (erm, or lam = 0) to compare with.'
    return Answer(AMBER, 'Nothing to compare with', [figure, reason])


def _has_collapsed(facts: Facts) -> Answer | None:
    collapsed, runs = verdict_count(facts.best, 'collapsed')
    if not collapsed or 2 * collapsed < runs:
        return None
    return Answer(RED, 'No, it collapsed', [_figures_sentence(facts)])


def _differs_from_plain(facts: Facts) -> Answer:
    """Judges by the interval of the difference."""
    row = facts.best
    sentences = [_figures_sentence(facts)]
    if not row['delta_ci95']:
        sentences.append(few_speakers_sentence(row['tested_speakers']))
        return Answer(AMBER, 'Too few speakers to say', sentences)
    low, high = row['delta_ci95']
    speakers = f'over {pluralize(row["tested_speakers"], "tested speaker")}'
    interval = f'{format_interval(row["delta_ci95"], "+z.3f")} {speakers}'
    if low <= 0 <= high:
        sentences.append(
            f'The 95 % interval of the difference, {interval}, includes 0: it may be chance.'
        )
        sentences += _choice_notes(facts)
        return Answer(AMBER, 'No difference shown', sentences, SAME_SYMBOL)
    sentences.append(f'The 95 % interval of the difference, {interval}, excludes 0.')
    direction = 'better' if low > 0 else 'worse'
    if row['p_holm'] > 1 - bootstrap.CONFIDENCE_LEVEL:
        sentences.append(
            f'But {pluralize(facts.compared, "setting")} were compared: corrected for their '
            f'number, p is {format_p(row["p_holm"])}, which is not significant.'
        )
        return Answer(AMBER, f'Perhaps {direction}', sentences + _choice_notes(facts))
    sentences += _choice_notes(facts)
    if direction == 'better':
        return Answer(GREEN, 'Yes, better', sentences)
    return Answer(AMBER, 'No, worse', sentences, WORSE_SYMBOL)


def _figures_sentence(facts: Facts) -> str:
    measure = facts.target.measure
    definition = 'mean recall over emotions' if measure == UAR else measure.definition
    difference = format_number(facts.best_figure('delta_'), '+z.3f')
    return (
        f'{measure.title} ({definition}) is {facts.best_figure():.3f} '
        f'(chance: {facts.chance:.3f}), after plain training {facts.plain_figure():.3f}: '
        f'a difference of {difference}.'
    )


def _choice_notes(facts: Facts) -> list[str]:
    """Returns that the dev speakers prefer plain training, if they do."""
    dev, plain_dev = facts.best_figure('dev_'), facts.plain_figure('dev_')
    if plain_dev <= dev:
        return []
    return [
        f'The dev speakers prefer plain training (dev {facts.target.measure.title} '
        f'{plain_dev:.3f}, of this setting {dev:.3f}).'
    ]


def benefit_scales(facts: Facts) -> list[Scale]:
    """Returns the difference in the main measure on a scale around 0."""
    if facts.best is None or facts.best_figure('delta_') is None:
        return []
    row = facts.best
    difference = facts.best_figure('delta_')
    ends = row['delta_ci95'] or (difference, difference)
    largest = max(map(abs, ends))
    limit = MIN_DIFFERENCE_SCALE
    if largest > limit:
        limit = 1.1 * largest
    p_value = 'too few speakers for an interval'
    if row['p'] is not None:
        p_value = f'p: {format_p(row["p"])}, corrected by Holm: {format_p(row["p_holm"])}'
    return [
        Scale(
            label=f'difference to plain training in {facts.target.measure.title}, folds pooled',
            text=format_number(difference, '+z.3f'),
            note=', '.join(filter(None, (format_interval(row['delta_ci95'], '+z.3f'), p_value))),
            low=-limit,
            high=limit,
            value=difference,
            ci95=row['delta_ci95'],
            marks=[('no difference', 0.0)],
        )
    ]
