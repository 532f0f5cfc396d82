"""Sections of the model card on results: UAR, groups, leakage and calibration."""

import re
import shlex
from pathlib import PureWindowsPath
from typing import NamedTuple

from data_pipelines.terminal import escape_control_characters
from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.leakage import (
    ATTACKERS,
    is_biased_low,
    question_title,
    unseen_question,
)
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

# Flags whose value is private, whatever it is.
PRIVATE_FLAGS = ('--config.model.upstream',)
ABSOLUTE_PATH = re.compile(r'/|~|[a-z]+://|file:|[A-Za-z]:[\\/]|\\\\')

GROUP_KINDS = ('corpus', 'language', 'sex', 'speaker')


class Measure(NamedTuple):
    """A row of the table of results."""

    name: str
    value: str
    interval: str = ''


class Group(NamedTuple):
    """A row of the table of groups."""

    kind: str
    name: str
    is_lowest: bool
    speakers: int
    uar: str
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
    if results['uar'] is None:
        return 'There are no results: in every seed a run diverged.'
    tested_speakers = results.get('tested_speakers')
    command = anonymize_command(analysis.metadata['command']) if row else ''
    return render(
        'results',
        measures=_measures(metadata, results, row),
        enrolled=describe_enrolled(metadata),
        tested_speakers=pluralize(tested_speakers, 'tested speaker') if tested_speakers else '',
        seeds=pluralize(results['seeds'], 'seed'),
        chance=format_number(analysis.chance) if analysis else '',
        has_intervals=bool(results['uar_ci95']),
        min_speakers=bootstrap.MIN_SPEAKERS,
        run_count=len(metadata['runs']),
        seen_speakers=_seen_speakers(metadata),
        recalls=_recalls(analysis.classes, row['confusion']) if row else [],
        command=command,
    )


def _measures(metadata: dict, results: dict, row: dict | None) -> list[Measure]:
    enrolled = describe_enrolled(metadata)
    name = f'UAR {enrolled}' if enrolled else 'UAR (mean recall over classes)'
    interval = format_interval(results['uar_ci95'])
    measures = [Measure(f'{name}, folds pooled', format_number(results['uar']), interval)]
    none = row_without_enrolment(metadata)
    if none and enrolled_in_results(metadata) != '0':
        interval = format_interval(none['uar_ci95'])
        name = 'UAR with no enrolled utterance, folds pooled, mean over draws'
        measures.append(Measure(name, format_number(none['uar']), interval))
    if row and row['delta_uar'] is not None:
        difference = format_number(row['delta_uar'], '+z.3f')
        interval = format_interval(row['delta_ci95'], '+.3f')
        measures.append(
            Measure('UAR, difference to plain training, folds pooled', difference, interval)
        )
    measures.append(Measure('UAR, mean over folds', format_number(results['uar_folds'])))
    measures.append(Measure('accuracy, folds pooled', format_number(results['wa'])))
    measures.append(Measure('macro-F1, folds pooled', format_number(results['f1'])))
    measures.append(Measure('UAR on dev, mean over folds', format_number(results['dev_uar'])))
    return measures


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


def anonymize_command(command: str) -> str:
    """Returns a command without the folders of a person: they are FOLDER.

    These are absolute paths, and that of a checkpoint. A choice of speakers is SPEAKERS.
    """
    words = []
    hides_next = False
    for word in shlex.split(command):
        flag, equals, value = word.partition('=')
        if names_speakers(word):  # the value of the word before
            flag, equals, value = '', '', word
        hides_value = flag in PRIVATE_FLAGS
        if not equals:
            flag, value = '', word
            hides_value, hides_next = hides_next, hides_value
        words.append(f'{flag}{equals}{_anonymize_value(value, hides_value)}')
    line = escape_control_characters(shlex.join(words))
    return '' if '```' in line else line


def _anonymize_value(value: str, is_private: bool) -> str:
    if is_private:
        return 'FOLDER'
    if names_speakers(value):
        return 'SPEAKERS'
    is_path = ABSOLUTE_PATH.match(value) is not None
    return f'FOLDER/{PureWindowsPath(value).name}' if is_path else value


def names_speakers(value: str) -> bool:
    """Returns whether a value of config.data.only may choose speakers by name."""
    return re.match(r'\s*(speaker|path|utterance)\s*=', value) is not None


def groups_section(analysis: SweepAnalysis | None, row: dict | None, enrolled: str = '') -> str:
    """Returns the UAR of every corpus, language and sex, and the lowest of each kind.

    Speakers have no rows and no names: only the lowest UAR of a speaker is given. `enrolled`
    says how many utterances of the tested speakers are enrolled.
    """
    if not analysis or row['uar'] is None:
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
        lowest_uar = format_number(estimates[lowest_name].value)
        if kind == 'speaker':  # a person, who is not named
            lowest_speaker = lowest_uar
            continue
        lowest.append(f'{kind} {escape_text(lowest_name)} ({lowest_uar})')
        for name, estimate in estimates.items():
            speakers = int(speaker_masks[name].sum())
            uar = format_number(estimate.value)
            interval = format_interval(estimate.ci95)
            groups.append(Group(kind, name, name == lowest_name, speakers, uar, interval))
    if not lowest and not lowest_speaker:
        return 'There is only one group.'
    return render(
        'groups', groups=groups, lowest=lowest, lowest_speaker=lowest_speaker, enrolled=enrolled
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
        enrolled=enrolled,
        attackers=', '.join(_attackers(answers)),
        is_biased_low=any(map(is_biased_low, answers)),
        is_centred=any(answer.get('centred') for answer in answers),
        centred_note=CENTRED_NOTE,
        is_below_chance=any(answer.get('below_chance') for answer in answers),
        has_unseen=domain != 'speaker' or unseen_question(domain) in questions,
    )


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
    """Returns the temperature, and its effect on the dev parts."""
    calibration = metadata['calibration']
    predictions = pluralize(calibration['utterances'], 'prediction')
    enrolled = describe_enrolled(metadata, 'each dev speaker')
    return render(
        'calibration', calibration=calibration, predictions=predictions, enrolled=enrolled
    )
