"""The evidence on the page of a sweep, a section a function; each says what is missing where it can show nothing."""

import io
import json

import numpy as np

from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap, calibration, predictions
from jaxser.analysis.finished import SweepAnalysis
from jaxser.reporting.figures import (
    MAX_COLOURS,
    MAX_NAMED_SPEAKERS,
    curve_key,
    draw_confusion_difference,
    draw_confusion_matrices,
    draw_curve,
    draw_forest_plot,
    draw_heatmap,
    draw_reliability_diagram,
    draw_representation_maps,
    draw_tradeoff,
    draw_training_curves,
    pareto_front,
)
from jaxser.reporting.html import (
    Section,
    escape_text,
    facts_table,
    format_interval,
    format_number,
    html_details,
    html_figure,
    html_paragraph,
    html_table,
)
from jaxser.runs import flatten, run_label

MAX_MAP_UTTERANCES = 500  # utterances on a map, at most: t-SNE takes two seconds for so many


def probe_hint(sentence: str, analysis: SweepAnalysis) -> str:
    """A sentence, and the command of the probe."""
    return (
        html_paragraph(sentence)
        + f'<pre>{escape_text(f"python -m jaxser.probe --workdir {analysis.path}")}</pre>'
    )


def settings_section(analysis: SweepAnalysis) -> Section:
    """Every row of the summary, as results.json and summary.csv have it."""
    head = [
        'setting',
        'dev UAR (mean of folds)',
        'UAR (pooled)',
        '95 %',
        '± seeds',
        'UAR (mean of folds)',
    ]
    head += ['WA (pooled)', 'F1 (pooled)', '- plain (pooled)', '95 %', 'p', 'p Holm']
    head += ['leakage', 'chance', 'adversary', 'seeds']
    lines = []
    for r in analysis.rows:
        told = (r['probe'] or {}).get('speaker', {})
        figures = [
            format_number(r['dev_uar']),
            format_number(r['uar']),
            format_interval(r['uar_ci95']),
        ]
        figures += [format_number(r[k]) for k in ('uar_sd_seeds', 'uar_folds', 'wa', 'f1')]
        figures += [
            format_number(r['delta_uar'], '+z.3f'),
            format_interval(r['delta_ci95'], '+.3f'),
            format_number(r['p'], '.3g'),
            format_number(r['p_holm'], '.3g'),
        ]
        figures += [format_number(told.get('linear')), format_number(told.get('chance'))]
        verdicts = ', '.join(f'{word} {n}' for word, n in (r['adversary'] or {}).items())
        lines.append([analysis.setting_title(r), *figures, verdicts, r['seeds']])
    body = html_table(
        head, lines, [n for n, r in enumerate(analysis.rows) if r is analysis.best_row]
    )
    body += html_paragraph(
        'UAR: mean recall over classes. Pooled: over the test parts of all folds together, mean over seeds. Mean of folds: each',
        'fold by itself, mean over folds and seeds; so is leakage. 95 %: intervals of the pooled figures that resample speakers.',
        'Marked: what this page speaks of, the best by dev of those compared with plain training.',
        'p Holm: corrected for the number of rows that are compared.',
    )
    if name := curve_key(analysis.results):
        drawn = draw_curve, analysis.results, name
        caption = f'UAR (folds pooled), and leakage (mean of folds) where it was measured, against {name}.'
        body += html_figure(f'UAR and leakage against {name}', caption, *drawn)
    return Section('settings', 'All settings', body)


def leakage_section(analysis: SweepAnalysis) -> Section:
    """What the representation still tells, and at what price."""
    probed = [r for r in analysis.rows if r['probe'] and 'speaker' in r['probe']]
    if not probed:
        return Section(
            'leakage',
            'Leakage',
            probe_hint(
                'Nobody has asked the representation what it still tells. This does:', analysis
            ),
        )
    names, first = [analysis.setting_title(r) for r in probed], probed[0]['probe']['speaker']
    uar_N = np.array([r['uar'] for r in probed])
    plain_N = np.array([name in analysis.plain_titles for name in names])
    told_N = np.array([r['probe']['speaker']['linear'] for r in probed])
    body = html_figure(
        'UAR against leakage of speakers, a point a setting',
        'UAR (folds pooled) against leakage (mean of folds). Left and up is better; on the front are settings that no other '
        'surpasses in both. Black: plain training.',
        *(draw_tradeoff, names, plain_N, uar_N, told_N, first['chance'], first['input']['linear']),
    )
    body += html_paragraph(
        f'On the front: {"; ".join(n for n, b in zip(names, pareto_front(uar_N, told_N)) if b)}.'
    )
    asked = {name: of for r in probed for name, of in r['probe'].items()}
    told = lambda of: (
        f'{of["linear"]:.3f} ({of["mlp"]:.3f})' if 'linear' in of else format_number(of.get('eer'))
    )  # noqa: E731
    lines = [
        ['chance', *(format_number(of.get('chance', 0.5)) for of in asked.values()), ''],
        ['the input (raw)', *(told(of['input']) for of in asked.values()), ''],
    ]
    for r in probed:
        less = r['probe']['speaker'].get('delta')
        sure = format_interval(r['probe']['speaker'].get('delta_ci95'), '+.3f')
        lines.append(
            [
                analysis.setting_title(r),
                *(told(r['probe'].get(name, {})) for name in asked),
                f'{format_number(less, "+z.3f")} {sure}',
            ]
        )
    body += html_table(['setting', *asked, 'speaker - plain'], lines)
    body += html_paragraph(
        'Fresh classifiers on the frozen representation, linear (with a hidden layer): mean recall of utterances that they',
        'have not heard, by which guessing the majority is chance; means of folds and seeds.',
        'Verification: equal error rate of pairs of test utterances, 0.5 where nothing is told.',
        *seen_notes(asked),
        'What a classifier does not find may still be there.',
    )
    judged = [(r['hyper'], r['adversary']) for r in analysis.runs if r.get('adversary')]
    if judged:
        why = [
            [analysis.setting_title(h), h['seed'], h['fold'], a['verdict'], a['why']]
            for h, a in judged
        ]
        body += html_details(
            f'Verdicts on {pluralize(len(why), "run")}',
            html_table(['setting', 'seed', 'fold', 'adversary', 'why'], why),
        )
    return Section('leakage', 'Leakage', body)


def seen_notes(probe_answers: dict[str, dict]) -> list[str]:
    """Whether the encoder, too, had not heard the utterances by which the classifiers are judged."""
    unheard = {name: of['strangers'] for name, of in probe_answers.items() if 'strangers' in of}
    known, unknown = ([name for name, s in unheard.items() if s == is_] for is_ in (False, True))
    said_of = (
        [f'The encoder had heard those for {", ".join(known)} in its training.'] if known else []
    )
    return said_of + (
        [f'Those for {", ".join(unknown)} the encoder has not heard either.'] if unknown else []
    )


def speakers_section(analysis: SweepAnalysis) -> Section:
    """The difference to plain training, speaker by speaker."""
    if not analysis.plain_row:
        return Section(
            'speakers',
            'Speaker by speaker',
            html_paragraph('Here is no plain training (lam = 0, erm) to compare with.'),
        )
    best, plain = (
        analysis.confusion_counts(analysis.best_row),
        analysis.confusion_counts(analysis.plain_row),
    )
    difference_ZxS = bootstrap.uar_from_counts(best) - bootstrap.uar_from_counts(plain).mean(0)
    whole = bootstrap.difference_estimate(best, plain)
    up, down = int((difference_ZxS.mean(0) > 0).sum()), int((difference_ZxS.mean(0) < 0).sum())
    body = html_figure(
        f'UAR of every speaker minus that of plain training; all: {whole.value:+.3f}',
        f'{analysis.setting_title(analysis.best_row)} minus {analysis.setting_title(analysis.plain_row)}, speaker by speaker, folds pooled: {up} gain, {down} lose.',
        *(draw_forest_plot, analysis.tested_speakers, difference_ZxS, whole),
    )
    return Section('speakers', 'Speaker by speaker', body)


def training_section(analysis: SweepAnalysis) -> Section:
    """What training looked like, mean over folds and seeds of a setting, from metrics.jsonl."""
    found: dict[str, dict[str, dict[int, list]]] = {}
    titles = {analysis.setting_label(r): analysis.setting_title(r) for r in analysis.rows}
    wanted = ('emotion_loss', 'speaker_loss', 'language_loss', 'corpus_loss', 'dev_uar')
    file = analysis.path / 'metrics.jsonl'
    lines = file.read_text().split('\n') if file.exists() else ()
    for line in map(json.loads, filter(None, lines)):
        for key in wanted:
            if line.get(key) is not None:
                found.setdefault(titles[analysis.setting_label(line)], {}).setdefault(
                    key, {}
                ).setdefault(line['epoch'], []).append(line[key])
    if not found:
        return Section(
            'training', 'Training', html_paragraph('There is no metrics.jsonl beside results.json.')
        )
    last = max(e for metrics in found.values() for epochs in metrics.values() for e in epochs)
    mean = lambda epochs: [
        float(np.mean(epochs[e])) if e in epochs else None for e in range(1, last + 1)
    ]  # noqa: E731
    curves = {
        name: {k: mean(metrics[k]) for k in wanted if k in metrics}
        for name, metrics in found.items()
    }
    nats: dict[str, list] = {}
    for domain, value in (item for r in analysis.runs for item in r.get('entropy', {}).items()):
        nats.setdefault(domain, []).append(value)
    entropy = {domain: float(np.mean(values)) for domain, values in nats.items()}
    told = [analysis.setting_title(r) for r in analysis.rows if analysis.setting_title(r) in curves]
    if len(told) > MAX_COLOURS:
        told = list(
            dict.fromkeys(
                analysis.setting_title(r) for r in (analysis.plain_row, analysis.best_row) if r
            )
        )
    body = html_figure(
        'Emotion loss, domain loss and dev UAR against the epoch',
        'Means over folds and seeds. A domain loss at its entropy is that of a head that only guesses; whether the domain is '
        'forgotten the probe says, not this head.',
        *(draw_training_curves, curves, entropy, told, analysis.plain_titles),
    )
    return Section('training', 'Training', body)


def confusions_section(analysis: SweepAnalysis) -> Section:
    """Who is taken for whom."""
    if not analysis.best_row:
        return Section('confusions', 'Confusions', html_paragraph('No setting is whole.'))
    if analysis.plain_row:
        names = (
            analysis.setting_title(analysis.best_row),
            analysis.setting_title(analysis.plain_row),
        )
        drawn = (
            draw_confusion_difference,
            analysis.best_row['confusion'],
            analysis.plain_row['confusion'],
            names,
            analysis.classes,
        )
        caption = f'Percent of the truth: {names[0]}, {names[1]}, and the difference in points, rounded by itself.'
    else:
        drawn = draw_confusion_matrices, analysis.results | {'summary': [analysis.best_row]}
        caption = f'Percent of the truth: {analysis.setting_title(analysis.best_row)}.'
    body = html_figure(
        'Confusion matrices in percent of the truth',
        f'{caption} Test parts of all folds and seeds.',
        *drawn,
    )
    if absent := [
        c for c, row in zip(analysis.classes, analysis.best_row['confusion']) if not sum(row)
    ]:
        body += html_paragraph(f'No tested utterance is {", ".join(absent)}: left out of UAR.')
    return Section('confusions', 'Confusions', body)


def tsne_coordinates(z_NxD: np.ndarray) -> np.ndarray:
    """place_Nx2 by t-SNE; the same for the same z."""
    import threadpoolctl
    from sklearn.manifold import TSNE  # takes a second

    perplexity = min(30.0, (len(z_NxD) - 1) / 3)
    with threadpoolctl.threadpool_limits(
        1
    ):  # its threads wait for each other, on a busy machine for minutes
        return TSNE(perplexity=perplexity, init='pca', random_state=0).fit_transform(
            z_NxD.astype(np.float32)
        )


def representation_section(analysis: SweepAnalysis) -> Section:
    """A map of the representation of one run, plain training beside the best."""
    file, title = analysis.path / 'representations.npz', 'The representation'
    if not file.exists():
        return Section(
            'map',
            title,
            probe_hint('Here is no representations.npz. The probe writes it:', analysis),
        )
    with file.open('rb') as opened:
        arrays = dict(np.load(io.BytesIO(opened.read()), allow_pickle=False))
    at, maps = {name: n for n, name in enumerate(arrays['setting'].tolist())}, {}
    for name, row in analysis.compared_pair.items():
        n = at.get(run_label(row, analysis.setting_keys))
        if n is None or len(arrays[f'row_{n}']) < 3:
            continue
        some = np.random.default_rng(0).permutation(len(arrays[f'row_{n}']))[:MAX_MAP_UTTERANCES]
        rows = arrays[f'row_{n}'][some]
        place = tsne_coordinates(arrays[f'z_{n}'][some])
        maps[name] = (
            place,
            arrays['emotion'][rows],
            arrays['speaker'][rows],
            arrays[f'part_{n}'][some] == 'test',
        )
    if not maps:
        return Section(
            'map', title, html_paragraph('Of these settings no representation was kept.')
        )
    body = html_figure(
        'Two-dimensional maps of the representation, coloured by emotion and by speaker',
        f'z of the first fold and seed by t-SNE (distances between groups mean little), {pluralize(len(rows), "utterance")} '
        f'(at most {MAX_MAP_UTTERANCES}); crosses are tested. More than {MAX_NAMED_SPEAKERS} speakers are not named.',
        *(draw_representation_maps, maps),
    )
    return Section('map', title, body)


def groups_section(analysis: SweepAnalysis) -> Section:
    """UAR by sex, language, corpus and speaker, and who is served worst."""
    if not analysis.best_row:
        return Section('groups', 'By group', html_paragraph('No setting is whole.'))
    best, plain = (
        analysis.confusion_counts(analysis.best_row),
        analysis.confusion_counts(analysis.plain_row) if analysis.plain_row else None,
    )
    people, body, worst = analysis.results.get('speakers', {}), '', []
    head = [
        'speakers',
        'utterances',
        *['UAR plain'] * bool(analysis.plain_row),
        'UAR',
        '95 %',
        *['- plain', '95 %'] * bool(analysis.plain_row),
    ]
    for kind in ('corpus', 'language', 'sex', 'speaker'):
        found, lines = analysis.speaker_groups(kind), []
        if len(found) < 2:
            continue
        for group, there_S in found.items():
            some = best[:, there_S]
            uar = bootstrap.uar_estimate(some)
            cells = [group, some.shape[1], int(some[0].sum())]
            if analysis.plain_row:
                reference = plain[:, there_S]
                less = bootstrap.difference_estimate(some, reference)
                cells += [
                    format_number(bootstrap.uar_estimate(reference).value),
                    format_number(uar.value),
                    format_interval(uar.ci95),
                ]
                cells += [format_number(less.value, '+z.3f'), format_interval(less.ci95, '+.3f')]
            else:
                cells += [format_number(uar.value), format_interval(uar.ci95)]
            lines.append((uar.value, cells))
        low = min(range(len(lines)), key=lambda n: lines[n][0])
        worst.append(f'{kind} {lines[low][1][0]} ({lines[low][0]:.3f})')
        grid = html_table([kind, *head], [cells for _, cells in lines], [low])
        body += html_details(pluralize(len(found), 'speaker'), grid) if kind == 'speaker' else grid
    told = (
        f'The worst group of each kind: {"; ".join(worst)}.'
        if worst
        else 'One speaker: there are no groups.'
    )
    known = '' if people else 'results.json does not say sex, language and corpus of the speakers.'
    pooled = 'UAR: folds pooled, mean over seeds. A group that lacks classes is measured by those that it has.'
    return Section('groups', 'By group', html_paragraph(told, known, pooled) + body)


def calibration_section(analysis: SweepAnalysis) -> Section:
    """Whether posteriors are what they say."""
    found, by_run = (
        {},
        predictions.read_confidences(predictions.open_predictions(analysis.path), analysis.classes),
    )
    for name, row in analysis.compared_pair.items():
        some = [
            by_run[run_label(r['hyper'], analysis.varying_keys), r['hyper']['fold']]
            for r in analysis.complete_runs(row)
        ]
        found[name] = calibration.reliability_bins(
            *(np.concatenate(column) for column in zip(*some))
        )
    if not found:
        return Section('calibration', 'Calibration', html_paragraph('No setting is whole.'))
    body = html_figure(
        'Reliability diagram: accuracy against confidence',
        f'Reliability in {calibration.BIN_COUNT} bins of what training says, before the temperature of jaxser.predict; ECE, the '
        'expected calibration error, is the mean distance to the diagonal.',
        *(draw_reliability_diagram, found, analysis.plain_titles),
    )
    body += html_table(
        ['setting', 'ECE'], [[name, format_number(r.expected_error)] for name, r in found.items()]
    )
    return Section('calibration', 'Calibration', body)


def held_out_section(analysis: SweepAnalysis) -> Section | None:
    """UAR of every setting on every corpus or language that was left out; None for other protocols."""
    kind = analysis.config['protocol']['name'].removeprefix('leave_one_').removesuffix('_out')
    if kind not in ('corpus', 'language') or not analysis.best_row:
        return None
    rows = list(
        {
            analysis.setting_title(r): r
            for r in (analysis.plain_row, analysis.best_row, *analysis.rows)
            if r
        }.items()
    )[:MAX_COLOURS]
    names = dict(
        zip(sorted({r['hyper']['fold'] for r in analysis.runs}), analysis.results['folds'])
    )
    of_fold = lambda row, f: [
        r['test']['uar'] for r in analysis.complete_runs(row) if r['hyper']['fold'] == f
    ]  # noqa: E731
    value = [[np.mean(of_fold(row, f) or [np.nan]) for f in names] for _, row in rows]
    drawn = (
        draw_heatmap,
        value,
        [name for name, _ in rows],
        [*names.values()],
        ('', f'{kind} left out'),
        analysis.chance,
    )
    caption = f'UAR on the {kind} that was left out: each fold by itself, mean over seeds.'
    body = html_figure(f'UAR by setting and {kind} left out', caption, *drawn, 'UAR by fold')
    return Section('cross', f'Across {"corpora" if kind == "corpus" else "languages"}', body)


def failed_runs_section(analysis: SweepAnalysis) -> Section:
    """Which runs diverged."""
    lost = [r for r in analysis.runs if r['status'] != 'ok']
    if not lost:
        return Section(
            'failed',
            'Failed runs',
            html_paragraph(f'None of {pluralize(len(analysis.runs), "run")}.'),
        )
    lines = [
        [
            analysis.setting_title(r['hyper']),
            r['hyper']['seed'],
            r['hyper']['fold'],
            r['status'],
            r['step'],
        ]
        for r in lost
    ]
    told = f'{len(lost)} of {pluralize(len(analysis.runs), "run")}; a seed that lost a fold is in no figure.'
    return Section(
        'failed',
        'Failed runs',
        html_paragraph(told) + html_table(['setting', 'seed', 'fold', 'what', 'at step'], lines),
    )


def details_section(analysis: SweepAnalysis) -> Section:
    """How to do it again."""
    known, results = analysis.metadata, analysis.results
    body = f'<pre>{escape_text(known["command"])}</pre>'
    lines = [
        ['commit', known['git_commit'] or 'unknown'],
        ['split', f'sha256 {results["split_sha256"]}'],
        ['corpora', ', '.join(results['corpora'])],
        ['labels', f'{results["labels"]}: {", ".join(analysis.classes)}'],
        ['normalised by', results['normalisation']],
        ['precision of products', results['matmul_precision']],
        *[[k, v or 'absent'] for k, v in known['versions'].items()],
    ]
    body += facts_table(lines)
    flat = ''.join(f'{k} = {json.dumps(v)}\n' for k, v in flatten(analysis.config).items())
    body += html_details('Configuration', f'<pre>{escape_text(flat)}</pre>')
    body += html_details(
        'Audit', f'<pre>{escape_text(json.dumps(results["audit"], indent=1))}</pre>'
    )
    return Section('details', 'Command, versions, configuration', body)
