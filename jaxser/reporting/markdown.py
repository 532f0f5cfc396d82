"""TODO: jaxser.reporting.markdown."""

import itertools
import shlex
from collections import Counter
from pathlib import Path

from data_pipelines.errors import UserError
from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.analysis.comparison import (
    ComparisonRow,
    comparison_rows,
    comparison_verdict,
    format_estimate_interval,
)
from jaxser.analysis.finished import FinishedSweep, read_finished_sweep
from jaxser.runs import flatten, format_value, synthetic_note

NO_CONFIGURATIONS = ('__init__', 'base', 'command')  # files of the folder of configurations

RESULTS_INTRODUCTION = """\
# Results

Written by `{command}`; nothing here is typed by hand.

UAR (pooled): mean recall over classes, the test parts of all folds pooled, mean over seeds; ±: its standard deviation over seeds.
Dev UAR and leakage are means of folds: each fold by itself, mean over folds and seeds. In brackets: intervals of 95 % for other
speakers, from {draws} draws that resample speakers, with all their utterances and in all seeds at once (symmetric bootstrap-t;
tests/benchmarks/intervals.py measures how often such intervals hold the truth). A p-value takes {more} where few of those are
beyond.
`- plain`: pooled UAR minus that of plain training in the same setting, on the same draws; `- plain joint`: minus that of plain
training with BatchNorm `joint`. `chosen`: coefficients by the number of folds in which dev speakers chose them; test speakers
choose nothing; leace is chosen before it erases. `speaker leaks` (or another domain): how well a fresh linear classifier tells it
by the frozen representation (mean recall), and chance. `s`: a run's share of the seconds that its program took, its start and
whatever else the machine did included. No interval is given for fewer than {fewest} speakers.
"""


def description(of: FinishedSweep) -> list[str]:
    """Returns what was run as Markdown lines, from results.json and config.json alone."""
    results, config = of.results, flatten(of.metadata['config'])
    speakers = len({s for columns in of.predictions.values() for s in columns[0].tolist()})
    folds, classes = pluralize(len(results['folds']), 'fold'), ', '.join(results['classes'])
    lines = [
        f'- Corpora: {_corpora(results)}',
        f'- Protocol: {results["protocol"]}; {folds}, {speakers} tested speakers',
        f'- Labels: {results["labels"]}, {len(results["classes"])} classes ({classes})',
        f'- Model: {_model(results, config)}',
        f'- Methods: {_values(results, config, "method")}',
    ]
    domains = _values(results, config, 'domain')
    if domains:
        lines.append(f'- Domains to forget: {domains}')
    if 'selection' in results:
        lines.append(f'- Epoch chosen by: {results["selection"]}')
    if 'train.epochs' in config:
        lines.append(
            f'- Training: {config["train.epochs"]} epochs; seeds {_values(results, config, "seed")}'
        )
    commit = (of.metadata['git_commit'] or 'unknown')[:12]
    minutes = pluralize(round(results['seconds'] / 60), 'minute')
    lines.append(
        f'- Split {results["split_sha256"][:12]}; commit {commit}; {results["device"]}; {minutes}'
    )
    return lines


def _corpora(results: dict) -> str:
    """The corpora of the utterances, each with its languages where these are known."""
    languages: dict[str, set[str]] = {}
    for speaker in results.get('speakers', {}).values():
        for corpus in filter(None, speaker.get('corpus', '').split('+')):
            spoken_in = languages.setdefault(corpus, set())
            spoken_in.update(filter(None, speaker.get('language', '').split('+')))
    if not languages:
        languages = {corpus: set() for corpus in results['corpora']}
    listed = []
    for corpus, known in sorted(languages.items()):
        listed.append(
            f'{corpus} ({", ".join(sorted(known))})'
            if known
            else f'{corpus} (language not recorded)'
        )
    return ', '.join(listed)


def _model(results: dict, config: dict) -> str:
    """The encoder, what it takes, and how that is normalised."""
    model = _values(results, config, 'model.name') or 'unknown'
    features = 'log-mel features'
    if config.get('model.name') == 'fine_tuned':
        features = 'a pretrained encoder, which is fine-tuned'
    elif config.get('data.upstream'):
        features = f'the states of {config["data.upstream"]} (pretrained, frozen)'
    return f'{model} on {features}, normalised by {results["normalisation"]}'


def _values(results: dict, config: dict, key: str) -> str:
    """The values of a key in the runs, or else in the configuration; '' where neither has it."""
    values = dict.fromkeys(
        format_value(run['hyper'][key]) for run in results['runs'] if key in run['hyper']
    )
    if not values and key in config:
        values = [format_value(config[key])]
    return ', '.join(values)


def render_sweep(finished_sweep: FinishedSweep, rows: list[ComparisonRow]) -> str:
    """A sweep as Markdown: its command, what was run, its table."""
    results, settings = finished_sweep.results, list(rows[0].setting)
    arms = 'model.batch_norm' in settings
    head = [
        *settings,
        'method',
        'chosen',
        'dev UAR (mean of folds)',
        'UAR (pooled)',
        '±',
        '',
        '- plain',
        '',
    ]
    if arms:
        head += ['- plain joint', '']
    leaks = list(dict.fromkeys(d for r in rows for d in r.leakage or ()))
    head += [*(f'{d} leaks' for d in leaks), 's']
    lines = [f'## {finished_sweep.path}', '', f'`{finished_sweep.metadata["command"]}`', '']
    lines += [*description(finished_sweep), '']
    if warning := synthetic_note(results):
        lines += [f'**{warning}**', '']
    lines += ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    for r in rows:
        number = lambda x, form='.3f': '' if x is None else f'{x:{form}}'  # noqa: E731
        cells = [
            *map(format_value, r.setting.values()),
            r.method,
            _format_coefficients(r.coefficients),
            number(r.dev_uar),
        ]
        cells += [number(r.uar and r.uar.value), number(r.sd), format_estimate_interval(r.uar)]
        for gain in (r.gain, *[r.gain_over_joint] * arms):
            cells += [number(gain and gain.value, '+.3f'), format_estimate_interval(gain, '+')]
        told = [(r.leakage or {}).get(d) for d in leaks]
        cells += [f'{of[0]:.3f} ({of[1]:.3f})' if of else '' for of in told]
        cells.append(number(r.seconds, '.0f'))
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def _format_coefficients(coefficients: list[str]) -> str:
    count = Counter(coefficients)
    return ', '.join(c if len(count) == 1 else f'{c} ({n})' for c, n in sorted(count.items()))


def missing_configurations(folder: Path, commands: list[str]) -> str:
    """Lists the configurations of a folder that none of the commands ran, as Markdown."""
    ran = {_configuration(command) for command in commands}
    names = [path.stem for path in sorted(folder.glob('*.py'))]
    listed = [f'- `{name}`' for name in names if name not in ran and name not in NO_CONFIGURATIONS]
    if not listed:
        return ''
    return '\n'.join(
        ['## Not in this file', '', 'No sweep above ran these configurations.', '', *listed, '']
    )


def _configuration(command: str) -> str:
    """The name of the file that a command names with --config, without its folder and `.py`."""
    words = shlex.split(command)
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=''):
        name, _, value = word.partition('=')
        if name in ('--config', '-config'):
            return Path((value or following).partition('.py')[0]).name
    return ''


def render_results(
    paths: list[Path], every_coefficient_paths: list[Path], configs: Path | None, command: str
) -> str:
    """The whole file; the verdict is on the sweeps whose coefficients are chosen."""
    if twice := [
        p
        for p, n in Counter(p.resolve() for p in (*paths, *every_coefficient_paths)).items()
        if n > 1
    ]:
        raise UserError(f'{twice[0]} is named twice; a sweep has one table.')
    chosen = [(of, comparison_rows(of)) for of in map(read_finished_sweep, paths)]
    every = [
        (of, comparison_rows(of, every_coefficient=True))
        for of in map(read_finished_sweep, every_coefficient_paths)
    ]
    draws, more = f'{bootstrap.DRAWS:,}', f'{bootstrap.RARE_DRAWS:,}'
    parts = [
        RESULTS_INTRODUCTION.format(
            command=command, draws=draws, more=more, fewest=bootstrap.MIN_SPEAKERS
        )
    ]
    if chosen:
        parts.append(
            f'**Verdict.** {comparison_verdict({str(of.path): table for of, table in chosen})}\n'
        )
    parts += [render_sweep(of, table) for of, table in [*chosen, *every]]
    if configs:
        parts.append(
            missing_configurations(configs, [of.metadata['command'] for of, _ in [*chosen, *every]])
        )
    return '\n'.join(parts)
