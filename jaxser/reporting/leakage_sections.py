"""The sections of a sweep's page about the representation: leakage, and its map."""

import io

import numpy as np
from markupsafe import Markup

from data_pipelines.wording import pluralize
from jaxser.analysis.finished import SweepAnalysis
from jaxser.reporting.figures import (
    MAX_NAMED_SPEAKERS,
    RepresentationMap,
    draw_representation_maps,
    draw_tradeoff,
    pareto_front,
)
from jaxser.reporting.formats import format_interval, format_number
from jaxser.reporting.html import (
    Section,
    cells_table,
    html_code,
    html_details,
    html_figure,
    html_paragraph,
)
from jaxser.runs import run_label

MAX_MAP_UTTERANCES = 500  # on a map; t-SNE takes two seconds for so many
MIN_MAP_UTTERANCES = 3  # t-SNE cannot place fewer


def leakage_section(analysis: SweepAnalysis) -> Section:
    """Returns how much the representation leaks, and the UAR beside it."""
    probed = [row for row in analysis.rows if row['probe'] and 'speaker' in row['probe']]
    if not probed:
        text = 'Leakage was not measured. This command measures it:'
        return Section('leakage', 'Leakage', _probe_hint(text, analysis))
    body = _tradeoff_figure(analysis, probed)
    domains = {}
    for row in probed:
        domains |= row['probe']
    body += _leakage_table(analysis, probed, domains)
    body += html_paragraph(
        'Newly trained classifiers on the frozen representation, linear (with a hidden layer):',
        'mean recall on utterances that they were not trained on; chance is the recall of guessing',
        'the most frequent value. Means of folds and seeds.',
        'Verification: equal error rate of pairs of test utterances, 0.5 without any leakage.',
        *_seen_notes(domains),
        'What a classifier does not find may still be there.',
    )
    body += _verdicts_table(analysis)
    return Section('leakage', 'Leakage', body)


def _probe_hint(sentence: str, analysis: SweepAnalysis) -> Markup:
    """Returns a sentence and the command of the probe."""
    command = f'python -m jaxser.probe --workdir {analysis.path}'
    return html_paragraph(sentence) + html_code(command)


def _tradeoff_figure(analysis: SweepAnalysis, probed: list[dict]) -> Markup:
    """Returns the figure of UAR against leakage, and which settings are on the Pareto front."""
    titles = [analysis.setting_title(row) for row in probed]
    uar_N = np.array([row['uar'] for row in probed])
    leakage_N = np.array([row['probe']['speaker']['linear'] for row in probed])
    plain_N = np.array([title in analysis.plain_titles for title in titles])
    first = probed[0]['probe']['speaker']
    figure = html_figure(
        'UAR against leakage of speakers, a point per setting',
        'UAR (folds pooled) against leakage (mean of folds). Left and up is better; no other '
        'setting is better in both than one on the Pareto front. Black: plain training.',
        draw_tradeoff,
        titles,
        plain_N,
        uar_N,
        leakage_N,
        first['chance'],
        first['input']['linear'],
    )
    front = [titles[n] for n in np.flatnonzero(pareto_front(uar_N, leakage_N))]
    return figure + html_paragraph(f'On the Pareto front: {"; ".join(front)}.')


def _leakage_table(analysis: SweepAnalysis, probed: list[dict], domains: dict[str, dict]) -> Markup:
    """Returns the table of leakage: a row per setting, a column per domain.

    `domains` has an answer of the probe for each, from which chance and the level of the input are
    taken.
    """
    chance_cells = [('setting', 'chance')]
    input_cells = [('setting', 'the input alone')]
    for domain, answer in domains.items():
        chance_cells.append((domain, format_number(answer.get('chance', 0.5))))
        input_cells.append((domain, _format_answer(answer['input'])))
    difference_heading = 'speaker - plain'
    chance_cells.append((difference_heading, ''))
    input_cells.append((difference_heading, ''))
    cells_by_row = [chance_cells, input_cells]
    for row in probed:
        cells = [('setting', analysis.setting_title(row))]
        for domain in domains:
            cells.append((domain, _format_answer(row['probe'].get(domain, {}))))
        speaker = row['probe']['speaker']
        difference = format_number(speaker.get('delta'), '+z.3f')
        interval = format_interval(speaker.get('delta_ci95'), '+.3f')
        cells.append((difference_heading, f'{difference} {interval}'))
        cells_by_row.append(cells)
    return cells_table(cells_by_row)


def _format_answer(answer: dict) -> str:
    """Returns the recall of both classifiers, or else the equal error rate."""
    if 'linear' in answer:
        return f'{answer["linear"]:.3f} ({answer["mlp"]:.3f})'
    return format_number(answer.get('eer'))


def _seen_notes(domains: dict[str, dict]) -> list[str]:
    """Returns whether the probed utterances are in the training data of the model."""
    seen, unseen = [], []
    for domain, answer in domains.items():
        if 'strangers' in answer:
            (unseen if answer['strangers'] else seen).append(domain)
    notes = []
    if seen:
        notes.append(f'Probed on utterances seen in training: {", ".join(seen)}.')
    if unseen:
        notes.append(f'Probed on utterances unseen in training: {", ".join(unseen)}.')
    return notes


def _verdicts_table(analysis: SweepAnalysis) -> Markup:
    """Returns the verdict on the adversary of every run; empty without verdicts."""
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
                    ('adversary', verdict['verdict']),
                    ('why', verdict['why']),
                ]
            )
    if not cells_by_row:
        return Markup('')
    title = f'Verdicts on {pluralize(len(cells_by_row), "run")}'
    return html_details(title, cells_table(cells_by_row))


def representation_section(analysis: SweepAnalysis) -> Section:
    """Returns maps of the representation of the best setting and of plain training."""
    name, title = 'map', 'The representation'
    file = analysis.path / 'representations.npz'
    if not file.exists():
        text = 'There is no representations.npz. The probe writes it:'
        return Section(name, title, _probe_hint(text, analysis))
    with file.open('rb') as stream:
        arrays = dict(np.load(io.BytesIO(stream.read()), allow_pickle=False))
    maps = {}
    for setting_title, row in analysis.compared_pair.items():
        setting_map = _make_map(arrays, run_label(row, analysis.setting_keys))
        if setting_map:
            maps[setting_title] = setting_map
    if not maps:
        text = 'The representation of these settings was not kept.'
        return Section(name, title, html_paragraph(text))
    utterances = max(len(setting_map.emotion_N) for setting_map in maps.values())
    body = html_figure(
        'Two-dimensional maps of the representation, coloured by emotion and by speaker',
        'z of the first fold and seed by t-SNE (distances between groups mean little), '
        f'{pluralize(utterances, "utterance")} (at most {MAX_MAP_UTTERANCES}); crosses are tested. '
        f'More than {MAX_NAMED_SPEAKERS} speakers are not named.',
        draw_representation_maps,
        maps,
    )
    return Section(name, title, body)


def _make_map(arrays: dict[str, np.ndarray], label: str) -> RepresentationMap | None:
    """Returns the map of a setting from representations.npz; None where it is not in it."""
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
        emotion_N=arrays['emotion'][rows[chosen]],
        speaker_N=arrays['speaker'][rows[chosen]],
        tested_N=arrays[f'part_{n}'][chosen] == 'test',
    )


def tsne_coordinates(z_NxD: np.ndarray) -> np.ndarray:
    """Returns position_Nx2 by t-SNE, always the same for the same z."""
    import threadpoolctl
    from sklearn.manifold import TSNE  # takes a second to import

    perplexity = min(30.0, (len(z_NxD) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init='pca', random_state=0)
    # With several threads, these wait for each other: for minutes on a busy machine.
    with threadpoolctl.threadpool_limits(1):
        return tsne.fit_transform(z_NxD.astype(np.float32))
