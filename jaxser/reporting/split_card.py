"""The third card: is the split clean? What its audit found, as sentences.

The findings are those of data_pipelines/protocols/audit.py; those of earlier versions lack some.
"""

from typing import NamedTuple

from data_pipelines.wording import pluralize
from jaxser.reporting.card_facts import AMBER, GREEN, RED, SEVERITY, Answer
from jaxser.reporting.target import EMOTION, Target

# What a shortcut is called in a sentence.
SHORTCUT_TITLES = {
    'sentence': 'The sentence',
    'length': 'The length of a recording',
    'level': 'The level (loudness) of a recording',
    'leading silence': 'The silence at the start of a recording',
    'sampling rate': 'The sampling rate of the source file',
    'codec': 'The codec of the source file',
}

LEAK_SENTENCES = {
    'speaker': (
        '{count} in both training and test (the configuration allowed this), so results on unseen '
        'speakers do not count.'
    ),
    'audio': (
        'The same or nearly the same recordings are in training and test (the configuration '
        'allowed this), so results do not count.'
    ),
    'copy': 'Copies of tested recordings are in the training part, so results do not count.',
}


class Finding(NamedTuple):
    """A sentence, and how serious it is: green, amber or red."""

    status: str
    sentence: str


def split_answer(audit: dict, target: Target = EMOTION) -> Answer:
    """Returns whether the audit found anything that makes results look better than they are.

    `target` is what the models predict.
    """
    findings = split_findings(audit, target)
    worst = max((finding.status for finding in findings), key=SEVERITY.index, default=GREEN)
    answers = {
        RED: 'No, training and test overlap',
        AMBER: 'No overlap, but be careful',
        GREEN: 'Yes',
    }
    # The worst first: sorted() keeps the order of equal ones.
    findings.sort(key=_severity, reverse=True)
    return Answer(worst, answers[worst], [finding.sentence for finding in findings])


def _severity(finding: Finding) -> int:
    return SEVERITY.index(finding.status)


def split_findings(audit: dict, target: Target = EMOTION) -> list[Finding]:
    """Returns the findings in the order of their topics."""
    if not audit:
        return [Finding(AMBER, 'The split was not audited (results of an earlier version).')]
    return [
        *_leaks(audit),
        *_speakers(audit),
        *_people(audit),
        *_tested_data(audit, target),
        *_domains(audit, target),
        *_shortcuts(audit, target),
    ]


def _leaks(audit: dict) -> list[Finding]:
    findings = []
    for kind in audit.get('leaks', []):
        shared = audit.get(kind, {}).get('count', 0)
        count = f'{pluralize(shared, kind)} {"is" if shared == 1 else "are"}'
        usual = f'Training and test share a {kind}, so results do not count.'
        sentence = LEAK_SENTENCES.get(kind, usual).format(count=count)
        findings.append(Finding(RED, sentence))
    if not findings:
        separate = 'recording' if audit.get('shares_speakers') else 'speaker or recording'
        findings.append(Finding(GREEN, f'No {separate} is in two parts of a fold.'))
    return findings


def _speakers(audit: dict) -> list[Finding]:
    findings = []
    if audit.get('shares_speakers'):
        findings = [
            Finding(
                AMBER,
                'By design of the protocol, tested speakers are in training too: the figures say '
                'nothing about new speakers.',
            )
        ]
    unknown = audit.get('speaker', {}).get('unknown', 0)
    if unknown:
        utterances = pluralize(unknown, 'utterance')
        sentence = f'{utterances} of unknown speakers: whether they are shared cannot be checked.'
        findings.append(Finding(AMBER, sentence))
    return findings


def _people(audit: dict) -> list[Finding]:
    findings = []
    for person in audit.get('same_persons', []):
        names = ' and '.join(person['speakers'])
        recordings = pluralize(person['identical'], 'identical recording')
        findings.append(Finding(AMBER, f'{names} may be one person: {recordings}.'))
    return findings


def _tested_data(audit: dict, target: Target) -> list[Finding]:
    """Returns the overlap of sentences, and what training knows of the test part by design."""
    findings = []
    sentence = audit.get('sentence', {})
    if sentence.get('known'):
        findings.append(Finding(GREEN, _sentence_overlap(sentence)))
    if audit.get('transductive'):
        text = f'By design, training uses the audio of the test part, without its {target.plural}.'
        findings.append(Finding(GREEN, text))
    near = audit.get('withheld', {}).get('near', 0)
    if near:
        pairs = pluralize(near, 'pair')
        text = f'{pairs} of a withheld recording and a nearly identical one in training.'
        findings.append(Finding(AMBER, text))
    return findings


def _sentence_overlap(sentence: dict) -> str:
    if not sentence['heard']:
        return 'No tested sentence is in training.'
    percent = 100 * sentence['heard'] / sentence['known']
    sentences = pluralize(sentence['sentences'], 'sentence')
    return (
        f'{percent:.0f} % of the tested utterances have a sentence that is in training too '
        f'({sentence["sentences_heard"]} of {sentences}): other texts may be harder.'
    )


def _domains(audit: dict, target: Target) -> list[Finding]:
    """Returns which domains alone predict the emotion, or the first rating."""
    findings = []
    for name, information in audit.get('tells', {}).items():
        if information['word'] == 'none':
            continue
        status = AMBER if information['word'] == 'strong' else GREEN
        amount = 'much' if status == AMBER else 'a little'
        findings.append(
            Finding(
                status,
                f'The {name} tells {amount} about {target.stratum}: {information["bits"]:.2f} of '
                f'{information["of"]:.2f} bits (chance: {information["chance"]:.2f}).',
            )
        )
    return findings


def _shortcuts(audit: dict, target: Target) -> list[Finding]:
    """Returns which properties of a recording give the emotion, or the first rating, away."""
    if 'shortcuts' not in audit:
        text = (
            'Not checked (results of an earlier version): whether e.g. the length of a recording '
            f'gives {target.stratum} away.'
        )
        return [Finding(AMBER, text)]
    findings = []
    harmless = []
    for shortcut in audit['shortcuts']:
        if shortcut['status'] == 'none':
            harmless.append(shortcut['feature'])
        else:
            findings.append(_shortcut_finding(shortcut, target))
    if harmless:
        names = _join_names(harmless)
        verb = 'does' if len(harmless) == 1 else 'do'
        text = f'{names[0].upper()}{names[1:]} alone {verb} not reveal {target.stratum}.'
        findings.append(Finding(GREEN, text))
    unmeasured = list(audit.get('unmeasured', {}))
    if unmeasured:
        names = _join_names(unmeasured)
        verb = 'was' if len(unmeasured) == 1 else 'were'
        text = f'{names[0].upper()}{names[1:]} {verb} not checked.'
        findings.append(Finding(GREEN if audit['shortcuts'] else AMBER, text))
    return findings


def _join_names(names: list[str]) -> str:
    """Returns e.g. 'a, b and c'."""
    *others, last = names
    return f'{", ".join(others)} and {last}' if others else last


def _shortcut_finding(shortcut: dict, target: Target) -> Finding:
    name = SHORTCUT_TITLES.get(shortcut['feature'], shortcut['feature'])
    kind = 'UAR of low, middle and high' if target.is_in_thirds else 'UAR'
    figures = f'{kind} {shortcut["uar"]:.3f} (chance: {shortcut["chance"]:.3f})'
    if shortcut['status'] == 'clear':
        return Finding(AMBER, f'{name} alone gives {target.stratum} away: {figures}.')
    return Finding(GREEN, f'{name} alone says a little about {target.stratum}: {figures}.')
