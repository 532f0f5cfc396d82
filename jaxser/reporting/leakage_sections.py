"""The sections of the report page on the representation: its leakage, and its map."""

import io

import numpy as np
from markupsafe import Markup

from data_pipelines.wording import pluralize
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.summary import collect
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
    """Returns the section with the leakage of every setting, and UAR against leakage."""
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
        'Mean recall of two new classifiers of the frozen representation: a linear one and, in',
        'parentheses, one with a hidden layer. They are tested on utterances that they were not',
        'trained on. Chance: the mean recall of guessing. Means over folds and seeds.',
        'Verification: equal error rate of pairs of test utterances, 0.5 without any leakage.',
        *_seen_notes(domains),
        'Information that these classifiers do not find may still be in the representation.',
    )
    body += _verdicts_table(analysis)
    return Section('leakage', 'Leakage', body)


def _probe_hint(sentence: str, analysis: SweepAnalysis) -> Markup:
    """Returns a sentence and the command of the probe."""
    command = f'python -m jaxser.probe --workdir {analysis.path}'
    return html_paragraph(sentence) + html_code(command)


def _tradeoff_figure(analysis: SweepAnalysis, probed: list[dict]) -> Markup:
    """Returns the figure of UAR against leakage, and the settings on the Pareto front."""
    titles = list(map(analysis.setting_title, probed))
    uar_N = np.array(collect(probed, 'uar'))
    leakage_N = np.array(collect(probed, 'probe', 'speaker', 'linear'))
    plain_N = np.array([title in analysis.plain_titles for title in titles])
    first = probed[0]['probe']['speaker']
    figure = html_figure(
        'UAR against leakage of speakers, a point per setting',
        'UAR (folds pooled) against leakage (mean of folds). High UAR and low leakage, towards the '
        'upper left, are better. A setting is on the Pareto front if no other setting is at least '
        'as good in both and better in one. Black: plain training.',
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

    `domains` has a result of the probe for each domain, with chance and the leakage of the input.
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
        cells.append((difference_heading, f'{difference} {interval}'.strip()))
        cells_by_row.append(cells)
    return cells_table(cells_by_row)


def _format_answer(answer: dict) -> str:
    """Returns the recall of both classifiers, or else the equal error rate."""
    if 'linear' in answer:
        return f'{answer["linear"]:.3f} ({answer["mlp"]:.3f})'
    return format_number(answer.get('eer'))


def _seen_notes(domains: dict[str, dict]) -> list[str]:
    """Returns sentences on whether the model has seen the probed utterances in training."""
    seen, unseen = [], []
    for domain, answer in domains.items():
        if 'strangers' in answer:
            if answer['strangers']:
                unseen.append(domain)
            else:
                seen.append(domain)
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
        text = 'representations.npz does not contain these settings.'
        return Section(name, title, html_paragraph(text))
    utterances = max(len(setting_map.emotion_N) for setting_map in maps.values())
    body = html_figure(
        'Two-dimensional maps of the representation, coloured by emotion and by speaker',
        'The representation z of the first fold and seed, in two dimensions by t-SNE, in which '
        f'distances between groups mean little. {pluralize(utterances, "utterance")} (at most '
        f'{MAX_MAP_UTTERANCES} are shown); crosses: test utterances. Speakers are named only if '
        f'there are {MAX_NAMED_SPEAKERS} or fewer.',
        draw_representation_maps,
        maps,
    )
    return Section(name, title, body)


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
    # Several threads would wait for each other, for minutes on a busy machine.
    with threadpoolctl.threadpool_limits(1):
        return tsne.fit_transform(z_NxD.astype(np.float32))
