"""Tests of the three cards: the status and the sentence of every case."""

import json
from pathlib import Path

import pytest
from helpers import finished_sweeps
from helpers.finished_sweeps import CLEAN_AUDIT, LEAKY_AUDIT, write_sweep

from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.reporting import benefit_card, card_facts, cards, forgetting_card, split_card

LOWER, HIGHER, UNCLEAR = (-0.3, -0.1), (0.1, 0.3), (-0.1, 0.1)


def answer(recall: float, delta_ci95=(), **keys) -> dict:
    """Returns the leakage of a question: without a difference if `delta_ci95` is ()."""
    figures = {'rbf': recall, 'chance': 0.2, 'withheld': True, 'probed_speakers': 8}
    if delta_ci95 != ():
        figures |= {'delta': 0.0, 'delta_ci95': delta_ci95}
    return figures | keys


def make_row(speaker: dict | None, unseen: dict | None, verdicts: dict | None, **keys) -> dict:
    """Returns a row of the summary."""
    probe = {}
    if speaker:
        probe['speaker'] = speaker
    if unseen:
        probe['unseen_speaker'] = unseen
    row = {
        'probe': probe or None,
        'adversary': verdicts,
        'uar': 0.7,
        'dev_uar': 0.7,
        'tested_speakers': 8,
        'delta_uar': 0.1,
        'delta_ci95': (0.05, 0.15),
        'p': 0.001,
        'p_holm': 0.001,
    }
    return row | keys


PLAIN = make_row(answer(0.9), answer(0.8), None, uar=0.6, dev_uar=0.6, delta_uar=None)


def make_facts(best: dict | None, **keys) -> card_facts.Facts:
    """Returns facts of a clean split."""
    facts = {
        'best': best,
        'plain': PLAIN,
        'title': 'dann, lam = 1',
        'domain': 'speaker',
        'is_all_plain': False,
        'compared': 3,
        'chance': 0.25,
        'audit': CLEAN_AUDIT,
        'hint': 'try another lam',
        'path': 'runs/w',
    }
    return card_facts.Facts(**facts | keys)


BALANCED, INERT, WINNING = {'balanced': 4}, {'inert': 4}, {'winning': 4}


@pytest.mark.parametrize(
    ('best', 'keys', 'status', 'short', 'sentence'),
    [
        (None, {}, 'red', 'No result', 'no setting has figures'),
        (make_row(None, None, None), {}, 'amber', 'Not measured', 'jaxser.probe --workdir runs/w'),
        (
            make_row(answer(0.9), answer(0.8), None),
            {'is_all_plain': True, 'plain': None},
            'amber',
            'Not tried',
            'plain training, which forgets nothing',
        ),
        (
            make_row(answer(0.9), None, None),
            {'plain': None},
            'amber',
            'Nothing to compare with',
            'names the right speaker with recall 90 % (by guessing: 20 %)',
        ),
        (
            make_row(answer(0.2, LOWER), None, {'collapsed': 3, 'balanced': 1}),
            {},
            'red',
            'Collapsed',
            '3 of 4 runs collapsed',
        ),
        (
            make_row(answer(0.2, LOWER), None, {'collapsed': 1, 'balanced': 3}),
            {},
            'amber',
            'Unstable',
            'Next: train for more epochs, or lower lam.',
        ),
        (
            make_row(answer(0.2, LOWER, withheld=False), None, BALANCED),
            {},
            'amber',
            'Undecided',
            'biased low',
        ),
        (
            make_row(answer(0.2, LOWER, centred=True), None, BALANCED),
            {},
            'amber',
            'Undecided',
            'makes leakage too low',
        ),
        (
            make_row(answer(0.1, LOWER, below_chance=True), answer(0.2, LOWER), WINNING),
            {},
            'amber',
            'No',
            'who is always wrong knows the speaker',
        ),
        (make_row(answer(0.5), None, INERT), {}, 'amber', 'No', 'Next: try another lam'),
        (make_row(answer(0.5), None, BALANCED), {}, 'amber', 'Perhaps in part', 'no interval'),
        (make_row(answer(0.5), None, WINNING), {}, 'amber', 'Perhaps', 'no interval'),
        (make_row(answer(0.5), None, {'undecided': 4}), {}, 'amber', 'Undecided', 'no interval'),
        (
            make_row(answer(0.5, None, probed_speakers=4), None, BALANCED),
            {},
            'amber',
            'Too few speakers to say',
            'Only 4 speakers: an interval needs 6 or more.',
        ),
        (
            make_row(answer(0.95, HIGHER), answer(0.8, UNCLEAR), INERT),
            {},
            'amber',
            'No, it leaks more',
            '4 of 4 runs are inert (nearly all leakage is left). Next: try another lam.',
        ),
        (
            make_row(answer(0.85, LOWER), answer(0.8, LOWER), INERT),
            {},
            'amber',
            'Hardly',
            '4 of 4 runs are inert (nearly all leakage is left).',
        ),
        (
            make_row(answer(0.9, UNCLEAR), answer(0.8, UNCLEAR), INERT),
            {},
            'amber',
            'No',
            'Next: try another lam.',
        ),
        (
            make_row(answer(0.85, UNCLEAR), answer(0.8, UNCLEAR), BALANCED),
            {},
            'amber',
            'Not shown',
            'Neither is shown to differ from plain training (both 95 % intervals include 0).',
        ),
        (
            make_row(answer(0.85, UNCLEAR), answer(0.5, LOWER), BALANCED),
            {},
            'amber',
            'Not shown',
            'Training speakers are not shown to differ from plain training',
        ),
        (
            make_row(answer(0.4, LOWER), answer(0.8, UNCLEAR), BALANCED),
            {},
            'amber',
            'Only for training speakers',
            'Unseen speakers are not shown to differ from plain training',
        ),
        (
            make_row(answer(0.4, LOWER), answer(0.95, HIGHER), BALANCED),
            {},
            'amber',
            'Only for training speakers',
            'Unseen speakers leak more than after plain training.',
        ),
        (
            make_row(answer(0.4, LOWER), None, BALANCED),
            {},
            'amber',
            'Only for training speakers',
            'Leakage of unseen speakers was not measured.',
        ),
        (
            make_row(answer(0.4, LOWER), answer(0.505, LOWER), BALANCED),
            {},
            'amber',
            'In part',
            'recordings of them): recall 50.5 % (after plain training: 80 %; by guessing: 20 %).',
        ),
        (
            make_row(answer(0.21, LOWER), answer(0.21, LOWER), WINNING),
            {},
            'green',
            'Yes, nearly all of it',
            'Information that these attackers do not find may still be there.',
        ),
    ],
)
def test_did_it_forget(best, keys, status, short, sentence):
    found = forgetting_card.forgetting_answer(make_facts(best, **keys))
    assert (found.status, found.answer) == (status, short)
    assert sentence in ' '.join(found.sentences)


def test_chance_of_unseen_speakers_has_its_reason_where_it_differs():
    for chance, reason in (
        (0.5, 'by guessing: 50 %, because each fold has 2 unseen speakers)'),
        (0.4, 'by guessing: 40 %, because each fold has about 2 unseen speakers)'),
        (0.2, 'by guessing: 20 %)'),
    ):
        best = make_row(answer(0.4, LOWER), answer(0.505, LOWER, chance=chance), BALANCED)
        found = forgetting_card.forgetting_answer(make_facts(best))
        assert reason in ' '.join(found.sentences)


def test_rough_leakage_and_short_training_are_on_the_cards(tmp_path, monkeypatch):
    """From 26 withheld utterances; plain training whose last epoch is the best in all runs."""
    monkeypatch.setitem(finished_sweeps.CORRECT_SHARE, 0.0, 0.4)
    write_sweep(tmp_path / 'w', config={'train': {'epochs': 2}}, steps=8)
    file = tmp_path / 'w' / 'results.json'
    results = json.loads(file.read_text())
    results['runs'][0]['probe']['speaker']['n'] = 26
    file.write_text(json.dumps(results))
    forgetting, benefit, _ = read_cards(tmp_path / 'w')
    rough = 'one run was probed on only 26 withheld utterances of 5 speakers.'
    assert rough in ' '.join(forgetting.answer.sentences)
    short = 'Training was short (8 steps), and dev UAR was still rising'
    assert short in ' '.join(benefit.answer.sentences)
    write_sweep(tmp_path / 'longer', config={'train': {'epochs': 3}}, steps=12)
    forgetting, benefit, _ = read_cards(tmp_path / 'longer')
    assert 'Training was short' not in ' '.join(benefit.answer.sentences)
    assert 'rough' not in ' '.join(forgetting.answer.sentences)
    monkeypatch.setitem(finished_sweeps.CORRECT_SHARE, 0.0, 0.6)
    write_sweep(tmp_path / 'good', config={'train': {'epochs': 2}}, steps=8)
    _, benefit, _ = read_cards(tmp_path / 'good')
    assert 'Training was short' in ' '.join(benefit.answer.sentences)


def read_cards(path: Path) -> list[card_facts.Card]:
    return cards.make_cards(SweepAnalysis(read_finished_sweep(path)))


@pytest.mark.parametrize(
    ('hint', 'sentences'),
    [
        ('try a lower lam', ['weight of forgetting in training', 'A lower one may forget more']),
        ('try a larger lam', ['weight of forgetting in training']),
        ('try another method', []),
    ],
)
def test_a_hint_to_change_lam_says_what_it_is(hint, sentences):
    best = make_row(answer(0.9, UNCLEAR), answer(0.8, UNCLEAR), INERT)
    found = ' '.join(forgetting_card.forgetting_answer(make_facts(best, hint=hint)).sentences)
    assert f'Next: {hint}.' in found
    for sentence in ('weight of forgetting in training', 'A lower one may forget more'):
        assert (sentence in found) == (sentence in sentences)


def test_after_short_training_more_epochs_come_before_another_lam():
    best = make_row(answer(0.9, UNCLEAR), answer(0.8, UNCLEAR), INERT)
    facts = make_facts(best, hint='try a lower lam', short_training='Training was short.')
    sentences = forgetting_card.forgetting_answer(facts).sentences
    assert 'Next: train for more epochs. After that: try a lower lam.' in sentences[-1]
    assert sentences[-2].startswith('lam is the weight of forgetting')


@pytest.mark.parametrize(
    ('keys', 'symbol'),
    [
        ({}, '✓'),
        ({'p_holm': 0.2}, '!'),
        ({'delta_ci95': UNCLEAR}, '='),
        ({'delta_ci95': LOWER}, '▼'),
        ({'adversary': {'collapsed': 4}}, '✕'),
    ],
)
def test_an_answer_is_known_by_its_symbol_too(keys, symbol):
    """Worse and no difference are both amber."""
    best = make_row(answer(0.4, LOWER), answer(0.5, LOWER), BALANCED, **keys)
    assert benefit_card.benefit_answer(make_facts(best)).symbol == symbol


@pytest.mark.parametrize(
    ('keys', 'status', 'short', 'sentence'),
    [
        ({}, 'green', 'Yes, better', '[+0.050, +0.150] over 8 tested speakers, excludes 0'),
        ({'p_holm': 0.2}, 'amber', 'Perhaps better', '3 settings were compared'),
        ({'delta_ci95': LOWER}, 'amber', 'No, worse', 'excludes 0'),
        ({'delta_ci95': LOWER, 'p_holm': 0.2}, 'amber', 'Perhaps worse', 'not significant'),
        ({'delta_ci95': UNCLEAR}, 'amber', 'No difference shown', 'includes 0'),
        (
            {'delta_ci95': None, 'p': None, 'p_holm': None, 'tested_speakers': 4},
            'amber',
            'Too few speakers to say',
            'Only 4 speakers',
        ),
        ({'dev_uar': 0.5}, 'green', 'Yes, better', 'The dev speakers prefer plain training'),
        ({'delta_uar': None}, 'amber', 'Nothing to compare with', 'UAR is 0.700 (chance: 0.250)'),
        ({'adversary': {'collapsed': 4}}, 'red', 'No, it collapsed', 'after plain training 0.600'),
    ],
)
def test_did_it_help(keys, status, short, sentence):
    best = make_row(answer(0.4, LOWER), answer(0.5, LOWER), BALANCED, **keys)
    found = benefit_card.benefit_answer(make_facts(best))
    assert (found.status, found.answer) == (status, short)
    assert sentence in ' '.join(found.sentences)


STRONG = {'bits': 1.5, 'chance': 0.1, 'of': 2.0, 'share': 0.7, 'word': 'strong'}
LENGTH = {'feature': 'length', 'bits': 0.9, 'uar': 0.748, 'chance': 0.25}


@pytest.mark.parametrize(
    ('found', 'status', 'sentence'),
    [
        ({}, 'green', 'No speaker or recording is in two parts of a fold.'),
        ({}, 'green', 'No tested sentence is in training.'),
        ({}, 'green', 'Length and level alone do not reveal the emotion. Codec was not checked.'),
        (
            {'leaks': ['speaker'], 'speaker': {'count': 3}},
            'red',
            '3 speakers are in both training and test (the configuration allowed this), so results',
        ),
        ({'leaks': ['speaker'], 'speaker': {'count': 1}}, 'red', '1 speaker is in both'),
        (
            {'leaks': ['audio']},
            'red',
            'The same or nearly the same recordings are in training and test',
        ),
        ({'leaks': ['copy']}, 'red', 'Copies of tested recordings are in the training part'),
        ({'shares_speakers': True}, 'amber', 'the figures say nothing about new speakers'),
        ({'shares_speakers': True}, 'amber', 'No recording is in two parts of a fold.'),
        ({'leaks': ['sentence']}, 'red', 'Training and test share a sentence'),
        ({'speaker': {'unknown': 7}}, 'amber', '7 utterances of unknown speakers'),
        (
            {'same_persons': [{'speakers': ['a', 'b'], 'identical': 2}]},
            'amber',
            'a and b may be one person: 2 identical recordings.',
        ),
        (
            {'sentence': {'known': 10, 'heard': 5, 'sentences': 4, 'sentences_heard': 2}},
            'green',
            '50 % of the tested utterances have a sentence that is in training too (2 of 4',
        ),
        ({'transductive': True}, 'green', 'training uses the audio of the test part'),
        ({'withheld': {'near': 1}}, 'amber', '1 pair of a withheld recording'),
        ({'tells': {'speaker': STRONG}}, 'amber', 'The speaker tells much about the emotion'),
        ({'tells': {'speaker': STRONG | {'word': 'weak'}}}, 'green', 'tells a little'),
        (
            {'shortcuts': [LENGTH | {'status': 'clear'}]},
            'amber',
            'The length of a recording alone gives the emotion away: UAR 0.748 (chance: 0.250).',
        ),
        ({'shortcuts': [LENGTH | {'status': 'weak'}]}, 'green', 'alone says a little'),
        ({'shortcuts': [LENGTH | {'status': 'none'}]}, 'green', 'Length alone does not reveal'),
        ({'shortcuts': [], 'unmeasured': {'codec': ''}}, 'amber', 'Codec was not checked.'),
    ],
)
def test_is_the_split_clean(found, status, sentence):
    answer = split_card.split_answer(CLEAN_AUDIT | found)
    assert answer.status == status
    assert sentence in ' '.join(answer.sentences)


@pytest.mark.parametrize('audit', [{}, {'folds': 5, 'leaks': []}])
def test_what_earlier_versions_did_not_check_is_not_called_clean(audit):
    assert split_card.split_answer(audit).status == 'amber'


def test_the_worst_finding_comes_first():
    audit = CLEAN_AUDIT | {'shares_speakers': True, 'leaks': ['audio'], 'tells': {}}
    sentences = split_card.split_answer(audit).sentences
    assert sentences[0].startswith('The same or nearly the same recordings')
    assert sentences[1].startswith('By design of the protocol')


def test_a_leak_makes_every_answer_invalid():
    """However good the figures are."""
    best = make_row(answer(0.4, LOWER), answer(0.5, LOWER), BALANCED)
    made = cards.cards_from_facts(make_facts(best, audit=CLEAN_AUDIT | {'leaks': ['audio']}))
    assert [card.answer.status for card in made] == ['red'] * 3
    short = ['Not valid', 'Not valid', 'No, training and test overlap']
    assert [card.answer.answer for card in made] == short
    assert 'The split leaks: training and test overlap' in made[0].answer.sentences[0]
    assert not made[0].is_valid


@pytest.mark.parametrize('domain', ['language', 'corpus'])
def test_other_domains_have_questions_of_their_own(domain):
    row = make_row(None, None, BALANCED)
    plain = make_row(None, None, None)
    for made, recall in ((row, 0.4), (plain, 0.9)):
        made['probe'] = {domain: answer(recall)}
    card = cards.cards_from_facts(make_facts(row, plain=plain, domain=domain))[0]
    assert card.question == f'Did it forget the {domain}?'
    assert (card.answer.status, card.answer.answer) == ('amber', 'Perhaps in part')
    assert f'names the right {domain} with recall 40 %' in card.answer.sentences[0]


def test_points_are_placed_in_percent_of_the_scale():
    """A difference of 0.01 is near the middle of a scale that reaches from -0.2 to 0.2."""
    best = make_row(answer(0.4, LOWER), None, BALANCED, delta_uar=0.01, delta_ci95=(0.0, 0.02))
    (scale,) = benefit_card.benefit_scales(make_facts(best))
    assert scale.ends == ('-0.2', '+0.2')
    assert [scale.position(value) for value in (-0.2, 0.0, 0.01, 5.0)] == [0.0, 50.0, 52.5, 100.0]
    wide = make_row(None, None, None, delta_uar=-0.3, delta_ci95=(-0.4, -0.2))
    (wide_scale,) = benefit_card.benefit_scales(make_facts(wide))
    assert wide_scale.ends == ('-0.44', '+0.44'), 'wider only where it must be'
    (scale,) = forgetting_card.leakage_scales(make_facts(best))
    assert (scale.value, dict(scale.marks)) == (0.4, {'chance': 0.2, 'plain training': 0.9})


# Five sweeps, and what a reader must see at the top of their pages.
CLEAN = {'audit': CLEAN_AUDIT}
FIVE_PAGES = {
    'helped': (0.6, 0.4, CLEAN, {'forgetting': 'In part', 'benefit': 'Yes, better'}),
    'no_difference': (0.5, 0.4, CLEAN, {'benefit': 'No difference shown'}),
    'worse': (0.4, 0.4, CLEAN, {'benefit': 'No, worse'}),
    'inert': (0.5, 0.8, CLEAN, {'forgetting': 'No', 'benefit': 'No difference shown'}),
    'leaked': (
        0.6,
        0.4,
        {'audit': LEAKY_AUDIT},
        {
            'forgetting': 'Not valid',
            'benefit': 'Not valid',
            'split': 'No, training and test overlap',
        },
    ),
}


@pytest.mark.parametrize('name', FIVE_PAGES)
def test_five_sweeps_have_five_answers(tmp_path, monkeypatch, name):
    """From the workdir of a sweep, as training leaves it."""
    share, recall, facts, answers = FIVE_PAGES[name]
    monkeypatch.setitem(finished_sweeps.CORRECT_SHARE, 1.0, share)
    monkeypatch.setitem(finished_sweeps.SPEAKER_RECALL, 1.0, recall)
    shares = [share + 0.1 * (-1) ** n for n in range(8)] if share == 0.5 else None
    write_sweep(tmp_path / 'w', lams=(0.0, 1.0), share_by_speaker=shares, **facts)
    made = cards.make_cards(SweepAnalysis(read_finished_sweep(tmp_path / 'w')))
    found = {card.name: card.answer.answer for card in made}
    assert found == found | answers
