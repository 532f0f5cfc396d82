"""The tables of several finished sweeps as one Markdown file, e.g. RESULTS.md."""

import itertools
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from data_pipelines.errors import UserError
from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap, enrolment
from jaxser.analysis.comparison import ComparisonRow, comparison_rows
from jaxser.analysis.finished import FinishedSweep, read_finished_sweep
from jaxser.analysis.leakage import ATTACKERS, QUESTION_TITLES, question_title
from jaxser.analysis.measure import CCC, UAR, results_measure
from jaxser.analysis.reference import ReferenceComparison, compare_with_references
from jaxser.reporting.enrolment import DRAWS_NOTE, FEWER_NOTE, clarity_note, curve_cells
from jaxser.reporting.formats import (
    folds_of_sweep,
    format_attack,
    format_bits_interval,
    format_enrolled,
    format_estimate,
    format_interval,
    format_leakage,
    format_number,
    split_cells,
)
from jaxser.reporting.reference import TITLE, reference_cells, reference_note
from jaxser.reporting.target import define_measure, measure_titles
from jaxser.reporting.verdict import comparison_verdict
from jaxser.runs import distinct_values, flatten, format_value, synthetic_note

# Modules in the folder of configurations that are no configurations.
NO_CONFIGURATIONS = ('__init__', 'base', 'command')

# The figures of a sweep, and what they show; {measure} is UAR or CCC.
FIGURES = {
    'leakage.png': '{measure} against the leakage of speakers',
    'enrolment.png': '{measure} and leakage against the number of enrolled utterances',
    'ratings.png': 'predicted against rated values',
}

RESULTS_INTRODUCTION = """\
# Results

Written by `{command}`. All figures are computed; none is typed by hand.

{definitions} The test parts of all folds are pooled, and the mean is over
seeds; ± is the standard deviation over seeds. Dev {titles} and leakage are means of folds: each \
fold by
itself, mean over folds and seeds. Brackets: 95 % intervals over speakers, from {draws} draws that
resample speakers, with all their utterances and in all seeds at once (symmetric bootstrap-t).
tests/benchmarks/intervals.py measures how often such intervals include the true value. A p-value
uses {rare_draws} draws (fewer with more than {many_speakers} speakers) where few of the {draws} are
as extreme. No interval is given for fewer than {min_speakers} speakers.

- `- plain`: pooled {titles} minus that of plain training (difference to plain training) in the same
  setting, on the same draws.
- `- plain joint`: pooled {titles} minus that of plain training with BatchNorm `joint`.
- `chosen`: the coefficients, with the number of folds in which dev speakers chose them. Test
  speakers choose nothing. leace is chosen before it erases.
- `leakage of ...`: mean recall of the strongest attacker, a newly trained classifier on the frozen
  representation, with its name (linear, MLP, RBF, kNN), its interval over speakers, and chance.
  `seen`: tested on utterances that the encoder was trained on, which is biased low. `below chance`:
  an attacker is significantly below chance, which is a leak too. `centred`: features are normalised
  by statistics of a speaker that include the tested utterances, so that leakage is too low, and may
  be below chance even if nothing was forgotten.
- `bits`: a lower bound on the information about the speaker; `emotion scores alone`: the strongest
  attacker that has nothing but the model's posteriors of the emotions; `equal error rate (LDA)`:
  verification of unseen speakers by a classifier fitted on the training speakers, 0.5 without any
  leakage.
{rating_notes}\
- `K = 8` and the like: 8 utterances of each tested speaker are enrolled, without labels, and not
  scored. In parentheses the difference to `K = 0` on the same utterances, and its interval. All
  numbers except `K = 0` are transductive.
- `s`: a run's share of its program's seconds. These include the start and whatever else the machine
  did.
"""


# Of files with ratings.
RATING_NOTES = """\
- `arousal`, `valence`, `dominance`: pooled CCC of each rating. `predictions alone`: the strongest
  attacker that has nothing but what the model predicts.
"""


def render_results(
    paths: list[Path],
    every_coefficient_paths: list[Path],
    configs: Path | None,
    command: str,
    figures: Mapping[str, dict[str, str]] = MappingProxyType({}),
) -> str:
    """Returns the text of the whole file.

    For the sweeps in `paths`, coefficients are chosen on dev, and the verdict is about them. The
    sweeps in `every_coefficient_paths` have a row for every coefficient. `configs` is a folder of
    configurations; those that no sweep ran are listed. `figures` are {file: link} of a sweep's
    figures (FIGURES), by its path. Raises UserError when a sweep is named twice.
    """
    _check_named_once([*paths, *every_coefficient_paths])
    tables = []
    for path in paths:
        sweep = read_finished_sweep(path)
        tables.append((sweep, comparison_rows(sweep)))
    rows_by_sweep = {str(sweep.path): rows for sweep, rows in tables}  # those of the verdict
    for path in every_coefficient_paths:
        sweep = read_finished_sweep(path)
        tables.append((sweep, comparison_rows(sweep, every_coefficient=True)))
    measures = {row.measure for _, rows in tables for row in rows}
    definitions = []
    for measure in (UAR, CCC):
        if measure in measures:
            definitions.append(f'{measure.title} (pooled): {define_measure(measure)}.')
    has_ratings = any(sweep.results.get('ratings') for sweep, _ in tables)
    introduction = RESULTS_INTRODUCTION.format(
        command=command,
        definitions=' '.join(definitions),
        titles=measure_titles(measures),
        rating_notes=RATING_NOTES if has_ratings else '',
        draws=f'{bootstrap.DRAWS:,}',
        rare_draws=f'{bootstrap.RARE_DRAWS:,}',
        many_speakers=bootstrap.RARE_WEIGHTS // bootstrap.RARE_DRAWS,
        min_speakers=bootstrap.MIN_SPEAKERS,
    )
    parts = [introduction]
    if paths:
        parts.append(f'**Verdict.** {comparison_verdict(rows_by_sweep)}\n')
    comparisons = compare_with_references(tables)
    for sweep, rows in tables:
        parts.append(render_sweep(sweep, rows, figures.get(str(sweep.path), {})))
        for comparison in comparisons:
            if comparison.sweep is sweep:
                parts.append(_reference_table(comparison))
    if configs:
        commands = [sweep.metadata['command'] for sweep, _ in tables]
        parts.append(missing_configurations(configs, commands))
    return '\n'.join(parts)


def _check_named_once(paths: list[Path]) -> None:
    for path, count in Counter(path.resolve() for path in paths).items():
        if count > 1:
            raise UserError(f'{path} is named {count} times; name each sweep once.')


def render_sweep(
    sweep: FinishedSweep,
    rows: list[ComparisonRow],
    figures: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Returns a sweep as Markdown: its command, what was run, its tables and figures.

    `figures` are links by the name of the file.
    """
    lines = [f'## {sweep.path}', '', f'`{sweep.metadata["command"]}`', '']
    lines += [*description(sweep), '']
    warning = synthetic_note(sweep.results)
    if warning:
        lines += [f'**{warning}**', '']
    domains = []
    for row in rows:
        domains += [domain for domain in row.leakage or () if domain not in domains]
    cells_by_row = [_row_cells(sweep, row, domains) for row in rows]
    headings, table = split_cells(cells_by_row)
    lines += [_markdown_line(headings), '|' + '---|' * len(headings)]
    lines += map(_markdown_line, table)
    for name, link in figures.items():
        title = FIGURES[name].format(measure=results_measure(sweep.results).title)
        lines += ['', f'![{title}, {sweep.path.name}]({link})']
    lines += _attackers_table(sweep, rows)
    lines += _enrolment_table(sweep)
    return '\n'.join(lines) + '\n'


def _enrolment_table(sweep: FinishedSweep) -> list[str]:
    """Returns the lines of the enrolment curves; none where they were not measured."""
    by_title = enrolment.rows_by_title(sweep.results, sweep.metadata['config'])
    if not by_title:
        return []
    measure = results_measure(sweep.results)
    headings, table = split_cells(curve_cells(by_title, measure))
    draws = pluralize(sweep.results['enrolment']['draws'], 'draw')
    lines = ['', f'K utterances of each tested speaker enrolled, mean of {draws}:', '']
    lines += [_markdown_line(headings), '|' + '---|' * len(headings)]
    lines += [_markdown_line(cells) for cells in table]
    curve = sweep.results['enrolment']['rows']
    clarity = clarity_note(curve, len(_tested_speakers(sweep)), measure)
    return [*lines, '', f'{clarity} {FEWER_NOTE} {DRAWS_NOTE}']


def _tested_speakers(sweep: FinishedSweep) -> set[str]:
    speakers = set()
    for predictions in sweep.predictions.values():
        speakers.update(predictions.speaker_N.tolist())
    return speakers


def _reference_table(comparison: ReferenceComparison) -> str:
    """Returns the comparison with plain training without enrolment as Markdown."""
    headings, table = split_cells(reference_cells(comparison))
    lines = [f'### {TITLE}', '', reference_note(comparison), '', _markdown_line(headings)]
    lines += ['|' + '---|' * len(headings), *map(_markdown_line, table)]
    return '\n'.join(lines) + '\n'


def _attackers_table(sweep: FinishedSweep, rows: list[ComparisonRow]) -> list[str]:
    """Returns the lines of a table of all attackers; none where no speaker was probed."""
    outputs = 'emotion scores alone'
    if sweep.results.get('ratings'):
        outputs = 'predictions alone'
    cells_by_row = []
    for row in rows:
        for question, title in QUESTION_TITLES.items():
            answer = (row.probe or {}).get(question)
            if answer:
                cells_by_row.append(_attackers_cells(row, title, answer, outputs))
    if not cells_by_row:
        return []
    headings, table = split_cells(cells_by_row)
    lines = ['', 'Every attacker:', '', _markdown_line(headings), '|' + '---|' * len(headings)]
    return lines + [_markdown_line(cells) for cells in table]


def _attackers_cells(
    row: ComparisonRow, title: str, answer: dict, outputs: str
) -> list[tuple[str, str]]:
    """Returns (heading, text) of every column about a question.

    `outputs` is the heading of the attackers that have what the model predicts and nothing else.
    """
    cells = [(key, format_value(value)) for key, value in row.setting.items()]
    cells += [
        ('method', row.method),
        ('chosen', _format_coefficients(row.coefficients)),
        ('attackers of', title),
    ]
    for attacker, name in ATTACKERS.items():
        cells.append((name, format_number(answer.get(attacker))))
    bits = format_number(answer.get('bits'), 'z.2f')
    interval = format_bits_interval(answer)
    cells += [
        ('chance', format_number(answer['chance'])),
        ('bits', f'{bits} {interval}'.strip()),
        (outputs, format_attack(answer.get('scores'))),
    ]
    verification = (row.probe or {}).get('verification', {})
    is_of_unseen = title == QUESTION_TITLES['unseen_speaker']
    equal_error_rate = verification.get('lda_eer') if is_of_unseen else None
    cells.append(('equal error rate (LDA)', format_number(equal_error_rate)))
    return cells


def _row_cells(
    sweep: FinishedSweep, row: ComparisonRow, domains: list[str]
) -> list[tuple[str, str]]:
    """Returns a row as (heading, text) of every column; `domains` are those of the leakage."""
    pooled, interval = format_estimate(row.main, '.3f')
    title = row.measure.title
    gain, gain_interval = format_estimate(row.gain, '+z.3f')
    cells = []
    for key, value in row.setting.items():
        cells.append((key, format_value(value)))
    cells += [
        ('method', row.method),
        ('chosen', _format_coefficients(row.coefficients)),
        (f'dev {title} (mean of folds)', format_number(row.dev_main, '.3f')),
        (f'{title} (pooled)', pooled),
        ('±', format_number(row.sd, '.3f')),
        ('', interval),
        *_other_cells(sweep, row),
        ('- plain', gain),
        ('', gain_interval),
    ]
    if 'model.batch_norm' in row.setting:
        joint_gain, joint_interval = format_estimate(row.gain_over_joint, '+z.3f')
        cells += [('- plain joint', joint_gain), ('', joint_interval)]
    for domain in domains:
        heading = f'leakage of {question_title(domain)}'
        cells.append((heading, format_leakage_of_row(row, domain)))
    cells.append(('s', format_number(row.seconds, '.0f')))
    return cells


def _other_cells(sweep: FinishedSweep, row: ComparisonRow) -> list[tuple[str, str]]:
    """Returns the cells of the measure that is not the main one, and of each rating."""
    results = sweep.results
    cells = []
    if results['classes'] and results.get('ratings'):
        measure, estimate = (UAR, row.uar) if row.measure == CCC else (CCC, row.ccc)
        value, interval = format_estimate(estimate, '.3f')
        cells += [(f'{measure.title} (pooled)', value), ('', interval)]
    if row.measure == CCC and len(results['ratings']) > 1:
        for n, rating in enumerate(results['ratings']):
            mean = None
            if row.statistics:
                mean = row.statistics.select_rating(n).value_by_seed().mean()
            cells.append((rating, format_number(mean)))
    return cells


def format_leakage_of_row(row: ComparisonRow, question: str) -> str:
    """Returns the leakage of a row, e.g. '0.580 (RBF) [0.501, 0.659], chance 0.167'."""
    answer = (row.leakage or {}).get(question)
    if not answer:
        return ''
    interval = format_interval(answer.get('ci95'))
    return f'{format_leakage(answer)} {interval}'.strip() + f', chance {answer["chance"]:.3f}'


def _markdown_line(cells: list[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _format_coefficients(coefficients: list[str]) -> str:
    """Returns the coefficients of all folds, with how many folds chose each where they differ."""
    counts = sorted(Counter(coefficients).items())
    if len(counts) == 1:
        return coefficients[0]
    texts = []
    for coefficient, folds in counts:
        texts.append(f'{coefficient} ({folds})')
    return ', '.join(texts)


def description(sweep: FinishedSweep) -> list[str]:
    """Returns the data, model and training of a sweep as Markdown lines."""
    results = sweep.results
    config = flatten(sweep.metadata['config'])
    speakers = _tested_speakers(sweep)
    folds = folds_of_sweep(results)
    predicted = []
    if results['classes']:
        classes = ', '.join(results['classes'])
        labels = f'{results["labels"]}, {len(results["classes"])} classes ({classes})'
        predicted.append(f'- Labels: {labels}')
    if results.get('ratings'):
        predicted.append(f'- Ratings: {", ".join(results["ratings"])}')
    lines = [
        f'- Corpora: {_corpora(results)}',
        f'- Protocol: {results["protocol"]}; {folds}, {len(speakers)} tested speakers',
        *predicted,
        f'- Model: {_model(results, config)}',
        f'- Methods: {_values(results, config, "method")}',
    ]
    if config.get('data.normalise') == 'speaker_enrolled':
        numbers = distinct_values([run['hyper'] for run in results['runs']], 'enrol')
        enrolled = ', '.join(map(format_enrolled, numbers or [config['protocol.enrol']]))
        lines.append(f'- Enrolled utterances of each tested speaker: {enrolled}')
    domains = _values(results, config, 'domain')
    if domains:
        lines.append(f'- Domains to forget: {domains}')
    if 'selection' in results:
        lines.append(f'- Epoch chosen by: {results["selection"]}')
    if 'train.epochs' in config:
        seeds = _values(results, config, 'seed')
        lines.append(f'- Training: {config["train.epochs"]} epochs; seeds {seeds}')
    commit = (sweep.metadata['git_commit'] or 'unknown')[:12]
    split = results['split_sha256'][:12]
    minutes = pluralize(round(results['seconds'] / 60), 'minute')
    lines.append(f'- Split {split}; commit {commit}; {results["device"]}; {minutes}')
    return lines


def _corpora(results: dict) -> str:
    """Returns the corpora of the utterances, each with its languages where these are known."""
    languages: dict[str, set[str]] = {}
    for speaker in results.get('speakers', {}).values():
        for corpus in filter(None, speaker.get('corpus', '').split('+')):
            corpus_languages = languages.setdefault(corpus, set())
            corpus_languages.update(filter(None, speaker.get('language', '').split('+')))
    if not languages:
        for corpus in results['corpora']:
            languages[corpus] = set()
    listed = []
    for corpus, corpus_languages in sorted(languages.items()):
        names = ', '.join(sorted(corpus_languages)) or 'language not recorded'
        listed.append(f'{corpus} ({names})')
    return ', '.join(listed)


def _model(results: dict, config: dict) -> str:
    """Returns the model, its input, and how that is normalised."""
    model = _values(results, config, 'model.name') or 'unknown'
    features = 'log-mel features'
    if config.get('model.name') == 'fine_tuned':
        features = 'a pretrained encoder, which is fine-tuned'
    elif config.get('data.upstream'):
        features = f'the states of {config["data.upstream"]} (pretrained, frozen)'
    return f'{model} on {features}, normalised by {results["normalisation"]}'


def _values(results: dict, config: dict, key: str) -> str:
    """Returns the values of a key in the runs, or else in the configuration; '' without any."""
    values = []
    for run in results['runs']:
        if key in run['hyper']:
            value = format_value(run['hyper'][key])
            if value not in values:
                values.append(value)
    if not values and key in config:
        values = [format_value(config[key])]
    return ', '.join(values)


def missing_configurations(folder: Path, commands: list[str]) -> str:
    """Returns the configurations of a folder that none of the commands ran, as Markdown."""
    done = {*NO_CONFIGURATIONS, *map(_configuration, commands)}
    names = [path.stem for path in sorted(folder.glob('*.py'))]
    lines = [f'- `{name}`' for name in names if name not in done]
    if not lines:
        return ''
    head = ['## Not in this file', '', 'No sweep above ran these configurations.', '']
    return '\n'.join([*head, *lines, ''])


def _configuration(command: str) -> str:
    """Returns the name of the file that a command names with --config, without folder and `.py`."""
    words = shlex.split(command)
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=''):
        name, _, value = word.partition('=')
        if name in ('--config', '-config'):
            return Path((value or following).partition('.py')[0]).name
    return ''
