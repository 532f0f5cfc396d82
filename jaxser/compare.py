"""Writes the tables of several finished sweeps, each method's coefficient chosen on dev, as one Markdown file.

  python -m jaxser.compare runs/A runs/B ... [--whole runs/C ...] [--unmeasured configs] [--out RESULTS.md]

What is said of a sweep is what its config.json and results.json say was run, with all that was changed on the command line.
A row is a method under a setting (structural keys, and what is trained on); of its coefficients that with the best dev UAR,
mean over seeds, is taken in every fold by itself: the dev speakers of one fold are tested in another. lam = 0 is a row of its
own.
"""

import argparse
import itertools
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from etils import epath

from data_pipelines.errors import UserError, exit_on_user_error
from jaxser import statistics, summary
from jaxser.runs import flatten, format_value, method_name, pluralize, synthetic_note, varying_keys

SETTING_KEYS = ('domain', 'per_class', 'speakers', 'confounded')  # and every key of the model; all else but the seed is chosen on dev
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


class ComparisonRow(NamedTuple):
    """A method under a setting."""

    setting: dict
    method: str
    coefficients: list[str]  # a coefficient per fold, in words
    dev_uar: float | None = None  # nothing where every coefficient diverged in a fold
    uar: statistics.Estimate | None = None
    sd: float | None = None
    gain: statistics.Estimate | None = None  # over plain training
    gain_over_joint: statistics.Estimate | None = None  # over plain training with BatchNorm `joint`, where its arms are swept
    leakage: dict | None = None  # by what is forgotten, (mean recall by the linear probe, chance)
    seconds: float | None = None


class FinishedSweep(NamedTuple):
    """What a sweep has left in its workdir."""

    path: Path
    metadata: dict  # config.json
    results: dict
    predictions: summary.PredictionsByRun
    run_seconds: list[float]  # of training, of every run: its share of its group's


def read_finished_sweep(path: Path) -> FinishedSweep:
    """Refuses a folder without results."""
    if not path.is_dir():
        raise UserError(f'There is no folder {path}; expected the workdir of a finished sweep, e.g. runs/dann_demo.')
    if not (path / 'results.json').exists():
        raise UserError(f'{path} holds no finished sweep (no results.json). The command that began it goes on with it.')
    results = json.loads((path / 'results.json').read_text())
    predicted = summary.read_predictions(open_predictions(path), results['classes'])
    seconds = [g['seconds'] / g['runs'] for g in results['groups'] for _ in range(g['runs'])]
    return FinishedSweep(path, json.loads((path / 'config.json').read_text()), results, predicted, seconds)


def open_predictions(path) -> Iterator[dict]:
    """Returns the rows of predictions.csv, wherever the workdir is."""
    runs = json.loads((path / 'results.json').read_text())['runs']
    return summary.read_prediction_rows(path / 'predictions.csv', runs)


def comparison_rows(finished_sweep: FinishedSweep, every_coefficient: bool = False) -> list[ComparisonRow]:
    """The table of a sweep; `every_coefficient` gives every coefficient a row of its own, and chooses none."""
    hypers = [r['hyper'] for r in finished_sweep.results['runs']]
    varied = varying_keys(hypers)
    settings = [k for k in varied if k in SETTING_KEYS or k.startswith('model.')]
    knobs = [k for k in varied if k not in (*settings, 'method', 'speaker_norm', 'seed')]
    groups: dict[tuple, dict] = {}
    for run, seconds in zip(finished_sweep.results['runs'], finished_sweep.run_seconds):
        h = run['hyper']
        method = method_name(finished_sweep.metadata['config'] | h)
        coefficient = tuple((k, h[k]) for k in knobs if h.get(k) is not None)
        candidates = groups.setdefault((tuple(h.get(k) for k in settings), method, coefficient if every_coefficient else ()), {})
        candidates.setdefault((h['fold'], coefficient), []).append(run | {'seconds': seconds})

    counts, made = {}, []
    for (setting, method, _), candidates in groups.items():
        chosen = _best_coefficients(candidates)
        if not all(chosen.values()):
            made.append((setting, method, chosen, [], None))
            continue
        runs = [run for _, some in chosen.values() for run in some]
        count = summary.run_confusions(finished_sweep.predictions, runs, varied, len(finished_sweep.results['classes']))
        counts.setdefault((setting, method), count)
        made.append((setting, method, chosen, runs, count))

    out = []
    for setting, method, chosen, runs, count in made:
        if not runs:
            lost = [str(fold) for fold, some in chosen.items() if not some]
            out.append(ComparisonRow(dict(zip(settings, setting)), method, [f'diverged in fold {", ".join(lost)}']))
            continue
        seeds = statistics.uar_from_counts(count.sum(1))
        setting_of = dict(zip(settings, setting))
        joint = tuple('joint' if k == 'model.batch_norm' else v for k, v in zip(settings, setting))
        out.append(
            ComparisonRow(
                dict(zip(settings, setting)),
                method,
                [' '.join(f'{k} {format_value(v)}' for k, v in coefficient) for coefficient, _ in chosen.values()],
                float(np.mean([r['dev']['uar'] for r in runs])),
                statistics.uar_estimate(count),
                float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None,
                _gain_over_plain(count, counts, setting),
                _gain_over_plain(count, counts, joint) if 'model.batch_norm' in settings else None,
                _mean_leakage(runs, (setting_of.get('domain') or finished_sweep.metadata['config'].get('domain', '')).split('+')),
                float(np.mean([r['seconds'] for r in runs])),
            )
        )
    order = list(dict.fromkeys(setting for setting, *_ in made))
    return sorted(out, key=lambda row: order.index(tuple(row.setting.values())))  # the methods of a setting stand together


def _gain_over_plain(count: np.ndarray, counts: dict, setting: tuple) -> statistics.Estimate | None:
    """Over plain training of a setting; None where there is none, or this is it."""
    plain = next((counts[setting, m] for m in summary.PLAIN_METHODS if (setting, m) in counts), None)
    return None if plain is None or plain is count else statistics.difference_estimate(count, plain)


def _mean_leakage(runs: list[dict], domains: list[str]) -> dict[str, tuple[float, float]] | None:
    """What the linear probe tells of each domain on average, and chance; None where not all were asked."""
    answers = [r.get('probe') or {} for r in runs]
    asked = [d for d in domains if all(d in a for a in answers)]
    mean = lambda d, k: float(np.mean([a[d][k] for a in answers]))  # noqa: E731
    return {d: (mean(d, 'linear'), mean(d, 'chance')) for d in asked} or None


def _best_coefficients(candidates: dict) -> dict[int, tuple]:
    """By fold, the coefficient with the best mean dev UAR and its runs, a seed each; () where every one diverged."""
    chosen: dict[int, tuple] = {}
    for (fold, coefficient), runs in candidates.items():
        value = min(r['dev']['uar'] if r['status'] == 'ok' else -1.0 for r in runs)
        value = value if value < 0 else np.mean([r['dev']['uar'] for r in runs])
        if fold not in chosen or value > chosen[fold][0]:
            chosen[fold] = value, coefficient, runs
    return {fold: tuple(rest) if value >= 0 else () for fold, (value, *rest) in sorted(chosen.items())}


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
        lines.append(f'- Training: {config["train.epochs"]} epochs; seeds {_values(results, config, "seed")}')
    commit = (of.metadata['git_commit'] or 'unknown')[:12]
    minutes = pluralize(round(results['seconds'] / 60), 'minute')
    lines.append(f'- Split {results["split_sha256"][:12]}; commit {commit}; {results["device"]}; {minutes}')
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
        listed.append(f'{corpus} ({", ".join(sorted(known))})' if known else f'{corpus} (language not recorded)')
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
    values = dict.fromkeys(format_value(run['hyper'][key]) for run in results['runs'] if key in run['hyper'])
    if not values and key in config:
        values = [format_value(config[key])]
    return ', '.join(values)


def render_sweep(finished_sweep: FinishedSweep, rows: list[ComparisonRow]) -> str:
    """A sweep as Markdown: its command, what was run, its table."""
    results, settings = finished_sweep.results, list(rows[0].setting)
    arms = 'model.batch_norm' in settings
    head = [*settings, 'method', 'chosen', 'dev UAR (mean of folds)', 'UAR (pooled)', '±', '', '- plain', '']
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
        cells = [*map(format_value, r.setting.values()), r.method, _format_coefficients(r.coefficients), number(r.dev_uar)]
        cells += [number(r.uar and r.uar.value), number(r.sd), format_estimate_interval(r.uar)]
        for gain in (r.gain, *[r.gain_over_joint] * arms):
            cells += [number(gain and gain.value, '+.3f'), format_estimate_interval(gain, '+')]
        told = [(r.leakage or {}).get(d) for d in leaks]
        cells += [f'{of[0]:.3f} ({of[1]:.3f})' if of else '' for of in told]
        cells.append(number(r.seconds, '.0f'))
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def format_estimate_interval(estimate: statistics.Estimate | None, sign: str = '') -> str:
    return f'[{estimate.ci95[0]:{sign}.3f}, {estimate.ci95[1]:{sign}.3f}]' if estimate and estimate.ci95 else ''


def _format_coefficients(coefficients: list[str]) -> str:
    count = Counter(coefficients)
    return ', '.join(c if len(count) == 1 else f'{c} ({n})' for c, n in sorted(count.items()))


def comparison_verdict(rows_by_sweep: dict[str, list[ComparisonRow]]) -> str:
    """What the tables come to, in a few sentences, as it is."""
    gains = [(r.gain, r, name) for name, table in rows_by_sweep.items() for r in table if r.gain]
    if not gains:
        return 'No sweep has a row of plain training beside another: there is nothing to compare.'
    sure = [gain for gain, *_ in gains if gain.ci95]
    better, worse = [g for g in sure if g.ci95[0] > 0], [g for g in sure if g.ci95[1] < 0]
    corrected = sum(p < 1 - statistics.CONFIDENCE_LEVEL for p in statistics.holm_correction([g.p for g in sure]))
    said = (
        f'Of {len(gains)} comparisons with plain training, {len(better)} gain and {len(worse)} lose by an interval that excludes '
        f"0; by Holm's correction for the number of comparisons {corrected} of them stand; the others are undecided"
    )
    said += (
        f', {len(gains) - len(sure)} of them for want of speakers ({statistics.MIN_SPEAKERS} or more).'
        if len(sure) < len(gains)
        else '.'
    )

    def named(of: tuple, word: str) -> str:
        gain, row, name = of
        setting = ', '.join(f'{k} {format_value(v)}' for k, v in row.setting.items() if v is not None)
        method = f'{row.method} ({setting})' if setting else row.method
        return f'he largest {word} is that of {method} in {name}, {gain.value:+.3f} {format_estimate_interval(gain, "+")}'.rstrip()

    top, bottom = max(gains, key=lambda g: g[0].value), min(gains, key=lambda g: g[0].value)
    if ends := [named(top, 'gain')] * (top[0].value > 0) + [named(bottom, 'loss')] * (bottom[0].value < 0):
        said += f' T{"; t".join(ends)}.'
    by_method: dict[str, list[float]] = {}
    for gain, row, _ in gains:
        by_method.setdefault(row.method, []).append(gain.value)
    means = {m: float(np.mean(v)) for m, v in by_method.items()}
    best, last = max(means, key=means.get), min(means, key=means.get)
    if best != last and any(len(v) > 1 for v in by_method.values()):
        said += f' Averaged over its rows {best} does best ({means[best]:+.3f}), {last} worst ({means[last]:+.3f}).'
    return said


def missing_configurations(folder: Path, commands: list[str]) -> str:
    """Lists the configurations of a folder that none of the commands ran, as Markdown."""
    ran = {_configuration(command) for command in commands}
    names = [path.stem for path in sorted(folder.glob('*.py'))]
    listed = [f'- `{name}`' for name in names if name not in ran and name not in NO_CONFIGURATIONS]
    if not listed:
        return ''
    return '\n'.join(['## Not in this file', '', 'No sweep above ran these configurations.', '', *listed, ''])


def _configuration(command: str) -> str:
    """The name of the file that a command names with --config, without its folder and `.py`."""
    words = shlex.split(command)
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=''):
        name, _, value = word.partition('=')
        if name in ('--config', '-config'):
            return Path((value or following).partition('.py')[0]).name
    return ''


def render_results(paths: list[Path], every_coefficient_paths: list[Path], configs: Path | None, command: str) -> str:
    """The whole file; the verdict is on the sweeps whose coefficients are chosen."""
    if twice := [p for p, n in Counter(p.resolve() for p in (*paths, *every_coefficient_paths)).items() if n > 1]:
        raise UserError(f'{twice[0]} is named twice; a sweep has one table.')
    chosen = [(of, comparison_rows(of)) for of in map(read_finished_sweep, paths)]
    every = [(of, comparison_rows(of, every_coefficient=True)) for of in map(read_finished_sweep, every_coefficient_paths)]
    draws, more = f'{statistics.DRAWS:,}', f'{statistics.RARE_DRAWS:,}'
    parts = [RESULTS_INTRODUCTION.format(command=command, draws=draws, more=more, fewest=statistics.MIN_SPEAKERS)]
    if chosen:
        parts.append(f'**Verdict.** {comparison_verdict({str(of.path): table for of, table in chosen})}\n')
    parts += [render_sweep(of, table) for of, table in [*chosen, *every]]
    if configs:
        parts.append(missing_configurations(configs, [of.facts['command'] for of, _ in [*chosen, *every]]))
    return '\n'.join(parts)


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    parser = argparse.ArgumentParser(prog='python -m jaxser.compare', description=__doc__.splitlines()[0])
    parser.add_argument('workdir', nargs='*', type=epath.Path, help='of a finished sweep')
    parser.add_argument('--whole', nargs='+', type=epath.Path, default=[], help='workdirs whose every coefficient has a row')
    parser.add_argument('--unmeasured', type=Path, metavar='FOLDER', help='list the configurations in it that no named sweep ran')
    parser.add_argument('--out', type=Path, help='the file to write, e.g. RESULTS.md; without it the text is printed')
    asked = parser.parse_args()
    if not (asked.workdir or asked.whole):
        parser.error('name one workdir or several, e.g. runs/dann_demo')
    with exit_on_user_error():
        command = f'python -m jaxser.compare {shlex.join(sys.argv[1:])}'
        text = render_results(asked.workdir, asked.whole, asked.unmeasured, command)
        if asked.out:
            if asked.out.exists() and not asked.out.read_text(errors='replace').startswith(RESULTS_INTRODUCTION.partition('{')[0]):
                raise UserError(f'{asked.out} is there and was not written by jaxser.compare: choose another --out, or remove it.')
            asked.out.write_text(text)
            print(f'{asked.out}: {pluralize(len(asked.workdir) + len(asked.whole), "sweep")}.')
        else:
            print(text)


if __name__ == '__main__':
    main()
