"""The sections of the report page on training, calibration, failed runs and versions."""

import json

import numpy as np

from data_pipelines.wording import pluralize
from jaxser.analysis import calibration
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.predictions import pool_predictions
from jaxser.reporting.figures import (
    draw_confidence_counts,
    draw_reliability_diagram,
    draw_training_metric,
    training_metrics,
)
from jaxser.reporting.formats import format_number
from jaxser.reporting.html import (
    Picture,
    Section,
    cells_table,
    facts_table,
    html_code,
    html_details,
    html_figures,
    html_paragraph,
    html_table,
)
from jaxser.reporting.plotting import MAX_COLOURS
from jaxser.reporting.sections import NO_COMPLETE_SETTING
from jaxser.runs import flatten
from jaxser.workdir_files import METRICS, WorkdirFiles, damaged

CURVE_METRICS = (
    'emotion_loss',
    'rating_loss',
    'speaker_loss',
    'language_loss',
    'corpus_loss',
    'dev_uar',
    'dev_ccc',
)


def training_section(analysis: SweepAnalysis) -> Section:
    """Returns the training curves of every setting, means over folds and seeds."""
    curves = _training_curves(analysis)
    if not curves:
        text = 'There is no metrics.jsonl in the workdir.'
        return Section('training', 'Training', html_paragraph(text))
    titles = map(analysis.setting_title, analysis.rows)
    highlighted = [title for title in titles if title in curves]
    if len(highlighted) > MAX_COLOURS:
        highlighted = list(reversed(analysis.compared_pair))  # plain training first
    entropy = _mean_entropy(analysis)
    pictures = []
    for metric in training_metrics(curves):
        arguments = (metric, curves, entropy, highlighted, analysis.plain_titles)
        alt = f'{metric.replace("_", " ")} against the epoch'
        pictures.append(Picture(alt, draw_training_metric, arguments))
    body = html_figures(
        'Means over folds and seeds. If a domain loss equals the entropy of the domain, the head '
        'only guesses. Whether the representation still contains the domain, '
        'only the attackers show (section Leakage).',
        pictures,
    )
    return Section('training', 'Training', body)


def _training_curves(analysis: SweepAnalysis) -> dict[str, dict[str, list[float | None]]]:
    """Returns {setting: {metric: its mean in every epoch}} from metrics.jsonl."""
    file = analysis.path / 'metrics.jsonl'
    files = WorkdirFiles(analysis.path)
    if not files.exists(file.name):
        return {}
    titles = {}
    for row in analysis.rows:
        titles[analysis.setting_label(row)] = analysis.setting_title(row)
    values: dict[str, dict[str, dict[int, list[float]]]] = {}
    last_epoch = 0
    remedy = 'Copy it again, or remove it: without it, the report has no training curves.'
    lines = list(files.read_json_lines(file.name, METRICS, remedy))
    for metrics in lines:
        title = titles.get(analysis.setting_label(metrics))
        if title is None or metrics['epoch'] > len(lines):  # every epoch has lines of its own
            reason = f'it has epoch {metrics["epoch"]} of {analysis.setting_label(metrics)!r}'
            raise damaged(file, reason, remedy)
        for name in CURVE_METRICS:
            if metrics.get(name) is not None:
                by_epoch = values.setdefault(title, {}).setdefault(name, {})
                by_epoch.setdefault(metrics['epoch'], []).append(metrics[name])
                last_epoch = max(last_epoch, metrics['epoch'])
    curves: dict[str, dict[str, list[float | None]]] = {}
    for title, by_metric in values.items():
        curves[title] = {}
        for name in CURVE_METRICS:
            if name in by_metric:
                curves[title][name] = _epoch_means(by_metric[name], last_epoch)
    return curves


def _epoch_means(values_by_epoch: dict[int, list[float]], last_epoch: int) -> list[float | None]:
    """Returns the mean of every epoch; None where there are no values."""
    means = []
    for epoch in range(1, last_epoch + 1):
        values = values_by_epoch.get(epoch)
        means.append(float(np.mean(values)) if values else None)
    return means


def _mean_entropy(analysis: SweepAnalysis) -> dict[str, float]:
    """Returns the entropy of every domain in nats, mean over runs."""
    values: dict[str, list[float]] = {}
    for run in analysis.runs:
        for domain, entropy in run.get('entropy', {}).items():
            values.setdefault(domain, []).append(entropy)
    mean_entropy = {}
    for domain, entropies in values.items():
        mean_entropy[domain] = float(np.mean(entropies))
    return mean_entropy


def calibration_section(analysis: SweepAnalysis) -> Section | None:
    """Returns the reliability diagram of the best setting and of plain training.

    Returns None where no classes are predicted.
    """
    if not analysis.classes:
        return None
    name, title = 'calibration', 'Calibration'
    reliabilities = {}
    for setting_title, row in analysis.compared_pair.items():
        runs = analysis.complete_runs(row)
        pooled = pool_predictions(map(analysis.run_predictions, runs))
        reliabilities[setting_title] = calibration.reliability_bins(
            pooled.confidence_N, pooled.predicted_N == pooled.truth_N
        )
    if not reliabilities:
        return Section(name, title, html_paragraph(NO_COMPLETE_SETTING))
    arguments = (reliabilities, analysis.plain_titles)
    body = html_figures(
        f'Reliability in {calibration.BIN_COUNT} bins of the posteriors from training, before the '
        'temperature of jaxser.predict. ECE, the expected calibration error, is the mean distance '
        'to the diagonal. Bars: 95 % intervals that take predictions as independent, so that they '
        'are too narrow. The other picture: the number of predictions in each bin.',
        [
            Picture('Accuracy against confidence', draw_reliability_diagram, arguments),
            Picture('Predictions in each bin of confidence', draw_confidence_counts, arguments),
        ],
    )
    rows = []
    for setting_title, reliability in reliabilities.items():
        rows.append([setting_title, format_number(reliability.expected_error)])
    return Section(
        name, title, body + html_table('Expected calibration error', ['setting', 'ECE'], rows)
    )


def failed_runs_section(analysis: SweepAnalysis) -> Section:
    """Returns the table of the runs that diverged."""
    name, title = 'failed', 'Failed runs'
    runs = pluralize(len(analysis.runs), 'run')
    failed = [run for run in analysis.runs if run['status'] != 'ok']
    if not failed:
        return Section(name, title, html_paragraph(f'None of {runs} failed.'))
    cells_by_row = []
    for run in failed:
        cells_by_row.append(
            [
                ('setting', analysis.setting_title(run['hyper'])),
                ('seed', run['hyper']['seed']),
                ('fold', run['hyper']['fold']),
                ('status', run['status']),
                ('at step', run['step']),
            ]
        )
    note = html_paragraph(
        f'{len(failed)} of {runs} failed. If a fold diverged, its seed is left out of all figures.'
    )
    return Section(name, title, note + cells_table('Failed runs', cells_by_row))


def _predicted_facts(analysis: SweepAnalysis) -> list[tuple[str, str]]:
    """Returns (name, value) of the classes and ratings that are predicted."""
    facts = []
    if analysis.classes:
        facts.append(('labels', f'{analysis.results["labels"]}: {", ".join(analysis.classes)}'))
    if analysis.ratings:
        facts.append(('ratings', ', '.join(analysis.ratings)))
    return facts


def details_section(analysis: SweepAnalysis) -> Section:
    """Returns the command, versions and configuration: what a new run of the sweep needs."""
    metadata, results = analysis.metadata, analysis.results
    facts = [
        ('commit', metadata['git_commit'] or 'unknown'),
        ('split', f'sha256 {results["split_sha256"]}'),
        ('corpora', ', '.join(results['corpora'])),
        *_predicted_facts(analysis),
        ('normalised by', results['normalisation']),
        ('precision of matrix products', results['matmul_precision']),
    ]
    for package, version in metadata['versions'].items():
        facts.append((package, version or 'not installed'))
    settings = []
    for key, value in flatten(analysis.config).items():
        settings.append(f'{key} = {json.dumps(value)}\n')
    body = html_code(metadata['command'])
    body += facts_table('Versions', facts)
    body += html_details('Configuration', html_code(''.join(settings)))
    return Section('details', 'Command, versions, configuration', body)
