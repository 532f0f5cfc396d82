"""The sections of the report page on the representation: its leakage, and its map."""

from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from data_pipelines.wording import pluralize
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.leakage import (
    ATTACKERS,
    HEADLINE_QUESTIONS,
    QUESTION_TITLES,
    is_biased_low,
    question_title,
)
from jaxser.analysis.summary import collect, probed_answers
from jaxser.reporting import plotting
from jaxser.reporting.figures import (
    MAX_NAMED_SPEAKERS,
    TRADEOFF_PANEL_WIDTH,
    Measured,
    RepresentationMap,
    TradeoffPanel,
    draw_representation_map,
    draw_tradeoff,
    measured_column,
    pareto_front,
)
from jaxser.reporting.formats import (
    CENTRED_NOTE,
    FORGOTTEN_NOTE,
    SAMPLED_NOTE,
    VERDICT_WORDS,
    describe_verdicts,
    format_attack,
    format_bits_interval,
    format_interval,
    format_leakage,
    format_number,
    format_shared,
)
from jaxser.reporting.html import (
    Picture,
    Section,
    cells_table,
    html_code,
    html_details,
    html_figures,
    html_paragraph,
)
from jaxser.reporting.target import find_target
from jaxser.runs import run_label
from jaxser.workdir_files import WorkdirFiles, damaged

MAX_MAP_UTTERANCES = 500  # on a map; t-SNE takes a second for so many
TSNE_STEPS = 500  # half of the library's; its objective ends 1 % higher on real speech
MIN_MAP_UTTERANCES = 3  # t-SNE cannot place fewer

ATTACKERS_NOTE = (
    'An attacker is a new classifier of the frozen representation: linear (logistic regression), '
    'MLP (one hidden layer), RBF (a kernel machine) and kNN (nearest neighbour). It is tested on '
    'utterances on which it was not fitted. Leakage is the recall of the strongest attacker, which '
    'is named: of the means over folds and seeds, the largest.'
)
SEEN_NOTE = (
    'Seen: these utterances were used to train the encoder, so that their leakage is biased low. '
    'With config.protocol.withhold = 0.2, attackers are tested on withheld utterances.'
)
BELOW_CHANCE_NOTE = (
    'Below chance: an attacker is wrong more often than by guessing, significantly (p < 0.01). '
    'That is a leak too: who is always wrong knows the speaker.'
)


def leakage_section(analysis: SweepAnalysis) -> Section:
    """Returns the section with the leakage of every setting, and UAR or CCC against leakage."""
    probed = _probed_rows(analysis)
    if not probed:
        text = 'Leakage was not measured. This command measures it:'
        return Section('leakage', 'Leakage', _probe_hint(text, analysis))
    body = _leakage_table(analysis, probed)
    body += html_paragraph(*_leakage_notes(analysis, probed))
    body += _tradeoff_figure(analysis, probed)
    body += _attackers_table(analysis, probed)
    body += _scores_table(analysis, probed)
    body += _other_domains_table(analysis, probed)
    body += _verification_table(analysis, probed)
    body += _verdicts_table(analysis)
    return Section('leakage', 'Leakage', body)


def _probed_rows(analysis: SweepAnalysis) -> list[dict]:
    return [row for row in analysis.rows if row['probe'] and 'speaker' in row['probe']]


def _probe_hint(sentence: str, analysis: SweepAnalysis) -> Markup:
    """Returns a sentence and the command of the probe."""
    command = f'python -m jaxser.probe --workdir {analysis.path}'
    return html_paragraph(sentence) + html_code(command)


def _leakage_table(analysis: SweepAnalysis, probed: list[dict]) -> Markup:
    """Returns the table of leakage: a row per setting, training speakers and unseen speakers."""
    measure = analysis.measure
    chance_cells = [('setting', 'chance'), (measure.title, format_number(analysis.chance))]
    input_cells = [('setting', 'the input alone'), (measure.title, '')]
    for question in HEADLINE_QUESTIONS:
        answers = probed_answers(probed, question)
        chances = [format_number(answer['chance']) for answer in answers]
        inputs = [format_attack(answer.get('input')) for answer in answers]
        chance_cells += _question_cells(question, format_shared(chances), '', '')
        input_cells += _question_cells(question, format_shared(inputs), '', '')
    cells_by_row = [chance_cells, input_cells]
    for row in probed:
        figure = format_number(row[measure.key])
        cells = [('setting', analysis.setting_title(row)), (measure.title, figure)]
        for question in HEADLINE_QUESTIONS:
            answer = row['probe'].get(question, {})
            difference = format_number(answer.get('delta'), '+z.3f')
            interval = format_interval(answer.get('delta_ci95'), '+z.3f')
            cells += _question_cells(
                question,
                format_leakage(answer),
                format_interval(answer.get('ci95')),
                f'{difference} {interval}'.strip(),
            )
        cells_by_row.append([*cells, ('forgotten', describe_verdicts(row['adversary']))])
    for cells in (chance_cells, input_cells):
        cells.append(('forgotten', ''))
    return cells_table('Leakage of speakers', cells_by_row)


def _question_cells(
    question: str, recall: str, interval: str, difference: str
) -> list[tuple[str, str]]:
    """Returns (heading, text) of the columns of one question."""
    return [
        (f'leakage of {question_title(question)}', recall),
        ('95 %', interval),
        ('vs plain', difference),
    ]


def _leakage_notes(analysis: SweepAnalysis, probed: list[dict]) -> list[str]:
    """Returns the sentences below the table of leakage."""
    notes = [ATTACKERS_NOTE]
    if probed_answers(probed, 'unseen_speaker'):
        notes.append(
            'Unseen speakers: those of dev and test. Attackers are fitted and tested on them.'
        )
    else:
        notes.append('Leakage of unseen speakers was not measured.')
    answers = []
    for row in probed:
        answers += _speaker_answers(row).values()
    if any(is_biased_low(answer) for answer in answers):
        notes.append(SEEN_NOTE)
    if any(answer.get('centred') for answer in answers):
        notes.append(CENTRED_NOTE)
    if any(answer.get('below_chance') for answer in answers):
        notes.append(BELOW_CHANCE_NOTE)
    if any(answer.get('sampled_from') for answer in answers):
        notes.append(SAMPLED_NOTE)
    if any(row['adversary'] for row in probed):
        notes.append(_forgotten_note(analysis))
    notes.append('vs plain: minus the leakage of plain training. 95 %: speakers are resampled.')
    notes.append('Information that these attackers do not find may still be there.')
    return notes


def _forgotten_note(analysis: SweepAnalysis) -> str:
    return FORGOTTEN_NOTE.format(lost=find_target(analysis.results).lost)


def _speaker_answers(row: dict) -> dict[str, dict]:
    """Returns the averages of the questions about speakers, by question."""
    answers = {}
    for question in QUESTION_TITLES:
        if question in row['probe']:
            answers[question] = row['probe'][question]
    return answers


def tradeoff_png(analysis: SweepAnalysis) -> bytes | None:
    """Returns the figure of UAR or CCC against leakage as a PNG file; None without leakage."""
    probed = _probed_rows(analysis)
    if not probed:
        return None
    tradeoff = _make_tradeoff(analysis, probed)
    arguments = (*tradeoff, TRADEOFF_PANEL_WIDTH, analysis.measure)
    return plotting.render_png(draw_tradeoff, *arguments)


class Tradeoff(NamedTuple):
    """The arguments of `draw_tradeoff`."""

    titles: list[str]
    plain_N: np.ndarray
    measured: Measured  # the main measure
    panels: list[TradeoffPanel]


def _make_tradeoff(analysis: SweepAnalysis, probed: list[dict]) -> Tradeoff:
    """Returns measure and leakage of all settings; a panel for each question all of them answer."""
    titles = list(map(analysis.setting_title, probed))
    panels = []
    for question in HEADLINE_QUESTIONS:
        answers = [row['probe'].get(question) for row in probed]
        if all(answers):
            panels.append(_tradeoff_panel(question, answers))
    return Tradeoff(
        titles,
        np.array([title in analysis.plain_titles for title in titles]),
        measured_column(probed, analysis.measure),
        panels,
    )


def _tradeoff_figure(analysis: SweepAnalysis, probed: list[dict]) -> Markup:
    """Returns the figure of UAR or CCC against leakage, and the settings on the Pareto front."""
    title = analysis.measure.title
    tradeoff = _make_tradeoff(analysis, probed)
    pictures = []
    for panel in tradeoff.panels:
        shown = tradeoff._replace(panels=[panel])
        alt = f'{title} against the leakage of {panel.title}, a point per setting'
        arguments = (*shown, plotting.PANEL_WIDTH, analysis.measure)
        pictures.append(Picture(alt, draw_tradeoff, arguments))
    figure = html_figures(
        f'{title} (folds pooled) against leakage (the strongest attacker, mean of folds), with '
        f'95 % intervals. High {title} and low leakage, towards the upper left, are better. A '
        'setting is on the Pareto front if no other setting is at least as good in both and better '
        'in one. Black: plain training.',
        pictures,
    )
    sentences = []
    for panel in tradeoff.panels:
        front_N = pareto_front(tradeoff.measured.value_N, panel.leakage.value_N)
        front = '; '.join(tradeoff.titles[n] for n in np.flatnonzero(front_N))
        sentences.append(f'On the Pareto front of {panel.title}: {front}.')
    return figure + html_paragraph(*sentences)


def _tradeoff_panel(question: str, answers: list[dict]) -> TradeoffPanel:
    """Returns a panel of the figure from the averages of all settings for one question.

    It has no level of chance and of the input if these vary with the setting.
    """
    chances = collect(answers, 'chance')
    is_shared = np.ptp(chances) < 1e-9
    return TradeoffPanel(
        title=question_title(question),
        leakage=Measured.of(collect(answers, 'strongest'), [a.get('ci95') for a in answers]),
        chance=chances[0] if is_shared else None,
        input_leakage=answers[0].get('input', {}).get('strongest') if is_shared else None,
    )


def _attackers_table(analysis: SweepAnalysis, probed: list[dict]) -> Markup:
    """Returns the recall of every attacker and the information, by setting and question."""
    cells_by_row = []
    for row in probed:
        for question, answer in _speaker_answers(row).items():
            cells = _answer_heading(analysis, row, question)
            for attacker, name in ATTACKERS.items():
                cells.append((name, format_number(answer.get(attacker))))
            cells += [
                ('strongest', format_leakage(answer)),
                ('95 %', format_interval(answer.get('ci95'))),
                ('chance', format_number(answer.get('chance'))),
                ('the input alone', format_attack(answer.get('input'))),
                ('speakers', answer.get('probed_speakers', '')),
                ('bits', format_number(answer.get('bits'), 'z.2f')),
                ('95 %', format_bits_interval(answer)),
            ]
            cells_by_row.append(cells)
    note = html_paragraph(
        'Recall of each attacker.',
        'Bits: information on the speaker that the best attacker proves, the entropy of the',
        'speakers minus its cross-entropy on the tested utterances. It is a lower bound, and may',
        'be negative. Its interval is not estimable where too few utterances are tested.',
        'Other sentences: no tested sentence was used to fit an attacker.',
    )
    return html_details('Every attacker', cells_table('Every attacker', cells_by_row) + note)


def _answer_heading(analysis: SweepAnalysis, row: dict, question: str) -> list[tuple[str, object]]:
    return [('setting', analysis.setting_title(row)), ('leakage of', question_title(question))]


def _scores_table(analysis: SweepAnalysis, probed: list[dict]) -> Markup:
    """Returns the leakage of what the model predicts; empty where it was not measured."""
    cells_by_row = []
    for row in probed:
        for question, answer in _speaker_answers(row).items():
            scores = answer.get('scores')
            if not scores:
                continue
            cells = _answer_heading(analysis, row, question)
            cells += [
                ('scores alone', format_attack(scores)),
                ('bits', format_number(scores.get('bits'), 'z.2f')),
                ('representation', format_leakage(answer)),
                ('chance', format_number(answer.get('chance'))),
            ]
            cells_by_row.append(cells)
    if not cells_by_row:
        return Markup('')
    title, given = 'Leakage of the emotion scores alone', 'log-posteriors of the emotions'
    if not analysis.classes:
        title, given = 'Leakage of the predicted ratings alone', 'predicted ratings'
    elif analysis.ratings:
        title = 'Leakage of the predictions alone'
        given = 'log-posteriors of the emotions and the predicted ratings'
    note = html_paragraph(
        f'The same attackers, given only the {given}: what a service would release.',
    )
    return html_details(title, cells_table(title, cells_by_row) + note)


def _other_domains_table(analysis: SweepAnalysis, probed: list[dict]) -> Markup:
    """Returns what attackers recognise besides speakers: sex, language, corpus and emotion."""
    answers: dict[str, dict] = {}
    for row in probed:
        answers |= row['probe']
    others = {}
    for name, answer in answers.items():
        if name not in QUESTION_TITLES and 'strongest' in answer:
            others[name] = answer
    if not others:
        return Markup('')
    chance_cells = [('setting', 'chance')]
    input_cells = [('setting', 'the input alone')]
    for name, answer in others.items():
        chance_cells.append((name, format_number(answer.get('chance'))))
        input_cells.append((name, format_attack(answer.get('input'))))
    cells_by_row = [chance_cells, input_cells]
    for row in probed:
        cells = [('setting', analysis.setting_title(row))]
        for name in others:
            cells.append((name, format_leakage(row['probe'].get(name))))
        cells_by_row.append(cells)
    title = 'Other domains, and the emotion' if 'emotion' in others else 'Other domains'
    return html_details(title, cells_table('Other domains', cells_by_row))


def _verification_table(analysis: SweepAnalysis, probed: list[dict]) -> Markup:
    """Returns the equal error rates of speaker verification; empty where not measured."""
    answers = [row['probe'].get('verification', {}) for row in probed]
    if not any(answers):
        return Markup('')
    first = next(filter(None, answers))
    cells_by_row = [_verification_cells('the input alone', first.get('input', {}))]
    for row, answer in zip(probed, answers):
        cells_by_row.append(_verification_cells(analysis.setting_title(row), answer))
    note = html_paragraph(
        'Equal error rate for pairs of utterances of unseen speakers: are they of one speaker?',
        '0.5 without any leakage, 0 if every pair is recognised.',
        'LDA: a back end that is fitted on the training speakers. Cosine: without a back end,',
        'which misses what a trained back end finds.',
    )
    return html_details(
        'Speaker verification', cells_table('Speaker verification', cells_by_row) + note
    )


def _verification_cells(setting: str, answer: dict) -> list[tuple[str, object]]:
    return [
        ('setting', setting),
        ('equal error rate, LDA', format_number(answer.get('lda_eer'))),
        ('equal error rate, cosine', format_number(answer.get('eer'))),
        ('speakers', format_number(answer.get('speakers'), '.0f')),
    ]


def _verdicts_table(analysis: SweepAnalysis) -> Markup:
    """Returns the verdict on every run that forgets; empty without verdicts."""
    cells_by_row = []
    for run in analysis.runs:
        verdict = run.get('adversary')
        if verdict:
            hyper = run['hyper']
            cells_by_row.append(
                [
                    ('setting', analysis.setting_title(hyper)),
                    ('seed', hyper['seed']),
                    ('fold', hyper['fold']),
                    ('forgotten', VERDICT_WORDS.get(verdict['verdict'], verdict['verdict'])),
                    ('why', verdict['why']),
                    ('next', verdict.get('next', '')),
                ]
            )
    if not cells_by_row:
        return Markup('')
    title = f'What each of {pluralize(len(cells_by_row), "run")} forgot, and why'
    note = html_paragraph(_forgotten_note(analysis))
    return html_details(title, cells_table(title, cells_by_row) + note)


def representation_section(analysis: SweepAnalysis) -> Section:
    """Returns maps of the representation of the best setting and of plain training."""
    name, title = 'map', 'The representation'
    if not WorkdirFiles(analysis.path).exists('representations.npz'):
        text = 'There is no representations.npz. The probe writes it:'
        return Section(name, title, _probe_hint(text, analysis))
    arrays = _read_representations(analysis)
    maps = {}
    for setting_title, row in analysis.compared_pair.items():
        setting_map = _make_map(arrays, run_label(row, analysis.setting_keys))
        if setting_map:
            maps[setting_title] = setting_map
    if not maps:
        text = 'representations.npz does not contain these settings.'
        return Section(name, title, html_paragraph(text))
    utterances = max(len(setting_map.target_N) for setting_map in maps.values())
    target = find_target(analysis.results)
    target_name = f'{target.stratum} in thirds' if target.is_in_thirds else 'emotion'
    pictures = []
    for by in (target_name, 'speaker'):
        for setting_title, setting_map in maps.items():
            alt = f'Map of the representation of {setting_title}, coloured by {by}'
            arguments = (setting_map, setting_title, by, target_name)
            pictures.append(Picture(alt, draw_representation_map, arguments))
    body = html_figures(
        'The representation z of the first fold and seed, in two dimensions by t-SNE, in which '
        f'distances between groups mean little. {pluralize(utterances, "utterance")} (at most '
        f'{MAX_MAP_UTTERANCES} are shown); crosses: test utterances. Speakers are named only if '
        f'there are {MAX_NAMED_SPEAKERS} or fewer.',
        pictures,
    )
    return Section(name, title, body)


def _read_representations(analysis: SweepAnalysis) -> dict[str, np.ndarray]:
    """Returns the arrays of representations.npz; UserError if they do not fit each other."""
    file = analysis.path / 'representations.npz'
    remedy = f'Remove it and run python -m jaxser.probe --workdir {analysis.path}, which writes it.'
    arrays = WorkdirFiles(analysis.path).read_arrays(file.name, remedy)
    try:
        utterances = len(arrays['emotion'])
        fits = len(arrays['speaker']) == utterances and arrays['setting'].ndim == 1
        for n in range(len(arrays['setting'])):
            row_N, z_NxD, part_N = arrays[f'row_{n}'], arrays[f'z_{n}'], arrays[f'part_{n}']
            fits &= row_N.ndim == part_N.ndim == 1 and row_N.dtype.kind in 'iu'
            fits &= z_NxD.ndim == 2 and z_NxD.dtype.kind == 'f'
            fits &= len(row_N) == len(z_NxD) == len(part_N)
            fits &= bool(np.all((row_N >= 0) & (row_N < utterances)))
    except (KeyError, TypeError) as error:
        raise damaged(file, f'{type(error).__name__}: {error}', remedy) from None
    if not fits:
        raise damaged(file, 'its arrays do not fit each other', remedy)
    return arrays


def _make_map(arrays: dict[str, np.ndarray], label: str) -> RepresentationMap | None:
    """Returns the map of a setting from the arrays of representations.npz; None without one."""
    labels = arrays['setting'].tolist()
    if label not in labels:
        return None
    n = labels.index(label)
    rows = arrays[f'row_{n}']
    if len(rows) < MIN_MAP_UTTERANCES:
        return None
    chosen = np.random.default_rng(0).permutation(len(rows))[:MAX_MAP_UTTERANCES]
    return RepresentationMap(
        position_Nx2=tsne_coordinates(arrays[f'z_{n}'][chosen]),
        target_N=arrays['emotion'][rows[chosen]],
        speaker_N=arrays['speaker'][rows[chosen]],
        tested_N=arrays[f'part_{n}'][chosen] == 'test',
    )


def tsne_coordinates(z_NxD: np.ndarray) -> np.ndarray:
    """Returns position_Nx2 by t-SNE, always the same for the same z."""
    import threadpoolctl
    from sklearn.manifold import TSNE  # takes a second to import

    perplexity = min(30.0, (len(z_NxD) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init='pca', random_state=0, max_iter=TSNE_STEPS)
    # Several threads would wait for each other, for minutes on a busy machine.
    with threadpoolctl.threadpool_limits(1):
        return tsne.fit_transform(z_NxD.astype(np.float32))
