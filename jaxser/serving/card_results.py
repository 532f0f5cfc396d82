"""Sections of the model card on results: UAR or CCC, groups, leakage and calibration."""

from typing import NamedTuple

from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.leakage import (
    ATTACKERS,
    is_biased_low,
    question_title,
    unseen_question,
)
from jaxser.analysis.measure import CCC, UAR, Measure, main_measure
from jaxser.anonymity import anonymize_command
from jaxser.reporting.cards import probed_domain
from jaxser.reporting.formats import (
    CENTRED_NOTE,
    format_attack,
    format_interval,
    format_leakage,
    format_number,
)
from jaxser.serving.card_enrolment import (
    describe_enrolled,
    enrolled_in_results,
    row_without_enrolment,
)
from jaxser.serving.markdown import escape_text, render

# Protocols whose tested speakers are in no fold's training part.
UNSEEN_SPEAKER_PROTOCOLS = ('official', 'source_target')

# What the main measures are a mean of, and what is given besides them.
MEANS = {'uar': 'mean recall over classes', 'ccc': 'mean over ratings'}
FURTHER_MEASURES = {
    'uar': {'wa': 'accuracy', 'f1': 'macro-F1'},
    'ccc': {'pearson': "Pearson's correlation", 'rmse': 'RMSE (ratings from -1 to 1)'},
}

GROUP_KINDS = ('corpus', 'language', 'sex', 'speaker')


class Figure(NamedTuple):
    """A row of the table of results."""

    name: str
    value: str
    interval: str = ''


class RatingRow(NamedTuple):
    """A row of the table of results by rating; texts."""

    name: str
    ccc: str
    interval: str
    pearson: str
    rmse: str


class Group(NamedTuple):
    """A row of the table of groups."""

    kind: str
    name: str
    is_lowest: bool
    speakers: int
    value: str
    interval: str


class Leakage(NamedTuple):
    """A row of the table of leakage; texts."""

    name: str
    recall: str
    interval: str
    chance: str
    plain_recall: str
    input_recall: str
    scores_recall: str


def results_section(metadata: dict, analysis: SweepAnalysis | None, row: dict | None) -> str:
    """Returns the results in `row`, a row of the sweep's summary; without it, in model.json."""
    results = row or metadata['row']
    main = main_measure(metadata['config'])
    if results[main.key] is None:
        return 'There are no results: in every seed a run diverged.'
    tested_speakers = results.get('tested_speakers')
    command = anonymize_command(analysis.metadata['command']) if row else ''
    has_classes = bool(row and metadata['classes'])
    return render(
        'results',
        measures=_figures(metadata, results, row),
        ratings=_rating_rows(results.get('ratings') or {}),
        enrolled=describe_enrolled(metadata),
        tested_speakers=pluralize(tested_speakers, 'tested speaker') if tested_speakers else '',
        seeds=pluralize(results['seeds'], 'seed'),
        chance=format_number(analysis.chance) if analysis else '',
        has_intervals=bool(results[f'{main.key}_ci95']),
        min_speakers=bootstrap.MIN_SPEAKERS,
        run_count=len(metadata['runs']),
        seen_speakers=_seen_speakers(metadata),
        recalls=_recalls(analysis.classes, row['confusion']) if has_classes else [],
        command=command,
    )


def _figures(metadata: dict, results: dict, row: dict | None) -> list[Figure]:
    """Returns the rows of the table of results, those of the main measure first."""
    main = main_measure(metadata['config'])
    figures = [*_main_figures(metadata, results, row, main), *_further_figures(results, main)]
    other = CCC if main == UAR else UAR
    if results.get(other.key) is not None:  # emotions and ratings are both predicted
        figures += [_pooled(other, results), *_further_figures(results, other)]
    return figures


def _main_figures(metadata: dict, results: dict, row: dict | None, main: Measure) -> list[Figure]:
    """Returns the rows on the measure by which settings are compared."""
    enrolled = describe_enrolled(metadata)
    figures = [_pooled(main, results, enrolled)]
    none = row_without_enrolment(metadata)
    if none and enrolled_in_results(metadata) != '0':
        interval = format_interval(none[f'{main.key}_ci95'])
        name = f'{main.title} with no enrolled utterance, folds pooled, mean over draws'
        figures.append(Figure(name, format_number(none[main.key]), interval))
    if row and row[f'delta_{main.key}'] is not None:
        difference = format_number(row[f'delta_{main.key}'], '+z.3f')
        interval = format_interval(row['delta_ci95'], '+z.3f')
        name = f'{main.title}, difference to plain training, folds pooled'
        figures.append(Figure(name, difference, interval))
    return figures


def _pooled(measure: Measure, results: dict, enrolled: str = '') -> Figure:
    """Returns the row of a measure of the pooled folds."""
    name = f'{measure.title} {enrolled}' if enrolled else f'{measure.title} ({MEANS[measure.key]})'
    interval = format_interval(results[f'{measure.key}_ci95'])
    return Figure(f'{name}, folds pooled', format_number(results[measure.key]), interval)


def _further_figures(results: dict, measure: Measure) -> list[Figure]:
    """Returns the rows of what is measured besides UAR, or besides CCC."""
    key, title = measure.key, measure.title
    figures = [Figure(f'{title}, mean over folds', format_number(results[f'{key}_folds']))]
    for name, label in FURTHER_MEASURES[key].items():
        figures.append(Figure(f'{label}, folds pooled', format_number(results[name])))
    dev = format_number(results[f'dev_{key}'])
    return [*figures, Figure(f'{title} on dev, mean over folds', dev)]


def _rating_rows(ratings: dict[str, dict]) -> list[RatingRow]:
    """Returns the results of each rating."""
    rows = []
    for name, figures in ratings.items():
        rows.append(
            RatingRow(
                name,
                format_number(figures['ccc']),
                format_interval(figures.get('ccc_ci95')),
                format_number(figures['pearson']),
                format_number(figures['rmse']),
            )
        )
    return rows


def _seen_speakers(metadata: dict) -> str:
    """Returns which speakers some of the networks were trained on, e.g. '6 of 8 speakers were'.

    Returns '' if the tested speakers are in no fold's training part, or if there is only one fold.
    """
    folds = {run['fold'] for run in metadata['runs']}
    if len(folds) < 2 or metadata['config']['protocol']['name'] in UNSEEN_SPEAKER_PROTOCOLS:
        return ''
    counts = metadata.get('training_speakers')
    if not counts or not counts['all']:  # a model of an earlier version, or no known speaker
        return 'speakers of these corpora were'
    if counts['trained'] == counts['all']:
        return 'every speaker was'
    return f'{counts["trained"]} of {counts["all"]} speakers were'


def _recalls(classes: list[str], confusion: list[list[int]]) -> list[tuple[str, int, str]]:
    """Returns (class, number of test utterances, recall) of every class that was tested."""
    recalls = []
    for n, counts in enumerate(confusion):
        total = sum(counts)
        if total:
            recalls.append((classes[n], total, format_number(counts[n] / total)))
    return recalls


def groups_section(analysis: SweepAnalysis | None, row: dict | None, enrolled: str = '') -> str:
    """Returns the main measure of every corpus, language and sex, and the lowest of each kind.

    Speakers have no rows and no names: only the lowest value of a speaker is given. `enrolled`
    says how many utterances of the tested speakers are enrolled.
    """
    if not analysis or row[analysis.measure.key] is None:
        return ''
    statistics = analysis.statistics(row)
    groups, lowest, lowest_speaker = [], [], ''
    for kind in GROUP_KINDS:
        speaker_masks = analysis.speaker_groups(kind)
        if len(speaker_masks) < 2:
            continue
        estimates = {}
        for name, mask_S in speaker_masks.items():
            estimates[name] = bootstrap.measure_estimate(statistics.select_speakers(mask_S))
        lowest_name = min(estimates, key=lambda name: estimates[name].value)
        lowest_value = format_number(estimates[lowest_name].value)
        if kind == 'speaker':  # a person, who is not named
            lowest_speaker = lowest_value
            continue
        lowest.append(f'{kind} {escape_text(lowest_name)} ({lowest_value})')
        for name, estimate in estimates.items():
            speakers = int(speaker_masks[name].sum())
            value = format_number(estimate.value)
            interval = format_interval(estimate.ci95)
            groups.append(Group(kind, name, name == lowest_name, speakers, value, interval))
    if not lowest and not lowest_speaker:
        return 'There is only one group.'
    return render(
        'groups',
        groups=groups,
        lowest=lowest,
        lowest_speaker=lowest_speaker,
        enrolled=enrolled,
        measure=analysis.measure.title,
    )


def leakage_section(analysis: SweepAnalysis | None, row: dict | None, enrolled: str = '') -> str:
    """Returns how well the strongest attacker recognises the domain from the representation.

    `enrolled` says how many utterances of the speakers are enrolled.
    """
    if not analysis:
        return ''
    domain, _ = probed_domain(analysis, row)
    probe = row['probe'] or {}
    plain_probe = {}
    if analysis.plain_row and analysis.plain_row is not row:
        plain_probe = analysis.plain_row['probe'] or {}
    questions = [name for name in (domain, unseen_question(domain)) if name in probe]
    answers = [probe[name] for name in questions]
    leakages = []
    for name in questions:
        leakages.append(_leakage(name, probe[name], plain_probe.get(name)))
    return render(
        'leakage',
        leakages=leakages,
        outputs=_describe_outputs(analysis),
        enrolled=enrolled,
        attackers=', '.join(_attackers(answers)),
        is_biased_low=any(map(is_biased_low, answers)),
        is_centred=any(answer.get('centred') for answer in answers),
        centred_note=CENTRED_NOTE,
        is_below_chance=any(answer.get('below_chance') for answer in answers),
        has_unseen=domain != 'speaker' or unseen_question(domain) in questions,
    )


def _describe_outputs(analysis: SweepAnalysis) -> str:
    """Returns what the attackers of the outputs have, in words."""
    if not analysis.results.get('ratings'):
        return 'emotion scores'
    return 'outputs' if analysis.classes else 'predicted ratings'


def _leakage(question: str, answer: dict, plain_answer: dict | None) -> Leakage:
    return Leakage(
        name=question_title(question),
        recall=format_leakage(answer),
        interval=format_interval(answer.get('ci95')),
        chance=format_number(answer['chance']),
        plain_recall=format_leakage(plain_answer),
        input_recall=format_attack(answer.get('input')),
        scores_recall=format_attack(answer.get('scores')),
    )


def _attackers(answers: list[dict]) -> list[str]:
    """Returns the names of the attackers that some answer has."""
    names = []
    for attacker, name in ATTACKERS.items():
        if any(attacker in answer for answer in answers):
            names.append(name)
    return names


def calibration_section(metadata: dict) -> str:
    """Returns the temperature, and its effect on the dev parts; '' for a model of ratings."""
    if not metadata['classes']:
        return ''
    calibration = metadata['calibration']
    predictions = pluralize(calibration['utterances'], 'prediction')
    enrolled = describe_enrolled(metadata, 'each dev speaker')
    return render(
        'calibration', calibration=calibration, predictions=predictions, enrolled=enrolled
    )
