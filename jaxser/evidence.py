"""The evidence on the page of a sweep, a section a function; each says what is missing where it can show nothing."""

import io
import json

import numpy as np

from jaxser import calibration, compare, pictures, statistics, summary, sweep
from jaxser.page import Section, ends, facts, folded, number, picture, said, table, text
from jaxser.sweep import many

SHOWN = 500  # utterances on a map, at most: t-SNE takes two seconds for so many


class Sweep:
    """A finished sweep, and of it the setting that dev chooses (`best`) beside plain training (`plain`).

    Each of the two is a row of the summary, or None. Their counts are count_ZxSxCxC, of the speakers in `names`, who
    were tested.
    """

    def __init__(self, of: compare.Finished):
        self.path, self.facts, self.config, self.predicted = of.path, of.facts, of.facts['config'], of.predicted
        self.runs, self.classes = of.results['runs'], of.results['classes']
        self.rows = summary.rows(self.runs, of.predicted, self.config, len(self.classes))
        named = {k: self.config.get(k) for k in ('method', 'speaker_norm')}
        self.results = {'method': summary.method(named)} | of.results | {'summary': self.rows}
        self.varied = sweep.varied([r['hyper'] for r in self.runs])
        self.swept = [k for k in self.varied if k != 'seed']
        done = [r for r in self.rows if r['uar'] is not None]
        self.compared = [r for r in done if r['delta_uar'] is not None]
        self.best = max(self.compared or done, key=lambda r: r['dev_uar'], default=None)
        self.plain = None
        if self.compared:
            keys = [{k: r[k] for k in self.swept} for r in self.rows]
            self.plain = self.rows[summary.plain_of({k: self.best[k] for k in self.swept}, keys, self.config)]
        there = [c for c, row in enumerate(self.best['confusion']) if sum(row)] if self.best else self.classes
        self.chance = 1 / len(there)  # UAR leaves out who is absent from the truth
        runs = self.of(self.best) if self.best else [r for r in self.runs if r['status'] == 'ok']
        tested = [of.predicted[sweep.label(r['hyper'], self.varied), r['hyper']['fold']] for r in runs]
        self.names = sorted({s for speaker_N, *_ in tested for s in speaker_N.tolist()})

    def label(self, row: dict) -> str:
        """What a setting is called."""
        return sweep.label(row, self.swept) or summary.method(self.config)

    def title(self, row: dict) -> str:
        """A setting as a reader knows it."""
        return summary.title({k: self.config.get(k) for k in ('method', 'speaker_norm')} | row, ['method', *self.swept])

    def of(self, row: dict) -> list[dict]:
        """The runs of a setting, of the seeds of which no fold diverged."""
        return summary.whole([r for r in self.runs if all(r['hyper'].get(k) == row[k] for k in self.swept)])

    def counts(self, row: dict) -> np.ndarray:
        """count_ZxSxCxC of a setting."""
        return summary.confusions(self.predicted, self.of(row), self.varied, len(self.classes))

    def groups(self, kind: str) -> dict[str, np.ndarray]:
        """Which of the tested speakers (S,) belong to every corpus, language or sex, or are a `speaker`; the unknown nowhere."""
        people = self.results.get('speakers', {})
        group_S = np.array(self.names if kind == 'speaker' else [people.get(s, {}).get(kind, '') for s in self.names])
        return {g: group_S == g for g in np.unique(group_S).tolist() if g}

    @property
    def plain_titles(self) -> set[str]:
        """The titles of the settings that are plain training."""
        known = {k: self.config.get(k) for k in ('method', 'speaker_norm')}
        return {self.title(r) for r in self.rows if summary.method(known | r) in summary.PLAIN}

    @property
    def pair(self) -> dict[str, dict]:
        """The rows that are shown side by side, by their titles: the best and plain training, as far as there are."""
        return {self.title(r): r for r in (self.best, self.plain) if r}


def advised(sentence: str, of: Sweep) -> str:
    """A sentence, and the command of the probe."""
    return said(sentence) + f'<pre>{text(f"python -m jaxser.probe --workdir {of.path}")}</pre>'


def settings(of: Sweep) -> Section:
    """Every row of the summary, as results.json and summary.csv have it."""
    head = ['setting', 'dev UAR (mean of folds)', 'UAR (pooled)', '95 %', '± seeds', 'UAR (mean of folds)']
    head += ['WA (pooled)', 'F1 (pooled)', '- plain (pooled)', '95 %', 'p', 'p Holm']
    head += ['leakage', 'chance', 'adversary', 'seeds']
    lines = []
    for r in of.rows:
        told = (r['probe'] or {}).get('speaker', {})
        figures = [number(r['dev_uar']), number(r['uar']), ends(r['uar_ci95'])]
        figures += [number(r[k]) for k in ('uar_sd_seeds', 'uar_folds', 'wa', 'f1')]
        figures += [
            number(r['delta_uar'], '+z.3f'),
            ends(r['delta_ci95'], '+.3f'),
            number(r['p'], '.3g'),
            number(r['p_holm'], '.3g'),
        ]
        figures += [number(told.get('linear')), number(told.get('chance'))]
        verdicts = ', '.join(f'{word} {n}' for word, n in (r['adversary'] or {}).items())
        lines.append([of.title(r), *figures, verdicts, r['seeds']])
    body = table(head, lines, [n for n, r in enumerate(of.rows) if r is of.best])
    body += said(
        'UAR: mean recall over classes. Pooled: over the test parts of all folds together, mean over seeds. Mean of folds: each',
        'fold by itself, mean over folds and seeds; so is leakage. 95 %: intervals of the pooled figures that resample speakers.',
        'Marked: what this page speaks of, the best by dev of those compared with plain training.',
        'p Holm: corrected for the number of rows that are compared.',
    )
    if name := pictures.axis(of.results):
        drawn = pictures.curve, of.results, name
        caption = f'UAR (folds pooled), and leakage (mean of folds) where it was measured, against {name}.'
        body += picture(f'UAR and leakage against {name}', caption, *drawn)
    return Section('settings', 'All settings', body)


def leakage(of: Sweep) -> Section:
    """What the representation still tells, and at what price."""
    probed = [r for r in of.rows if r['probe'] and 'speaker' in r['probe']]
    if not probed:
        return Section('leakage', 'Leakage', advised('Nobody has asked the representation what it still tells. This does:', of))
    names, first = [of.title(r) for r in probed], probed[0]['probe']['speaker']
    uar_N = np.array([r['uar'] for r in probed])
    plain_N = np.array([name in of.plain_titles for name in names])
    told_N = np.array([r['probe']['speaker']['linear'] for r in probed])
    body = picture(
        'UAR against leakage of speakers, a point a setting',
        'UAR (folds pooled) against leakage (mean of folds). Left and up is better; on the front are settings that no other '
        'surpasses in both. Black: plain training.',
        *(pictures.trade, names, plain_N, uar_N, told_N, first['chance'], first['input']['linear']),
    )
    body += said(f'On the front: {"; ".join(n for n, b in zip(names, pictures.front(uar_N, told_N)) if b)}.')
    asked = {name: of for r in probed for name, of in r['probe'].items()}
    told = lambda of: f'{of["linear"]:.3f} ({of["mlp"]:.3f})' if 'linear' in of else number(of.get('eer'))  # noqa: E731
    lines = [
        ['chance', *(number(of.get('chance', 0.5)) for of in asked.values()), ''],
        ['the input (raw)', *(told(of['input']) for of in asked.values()), ''],
    ]
    for r in probed:
        less = r['probe']['speaker'].get('delta')
        sure = ends(r['probe']['speaker'].get('delta_ci95'), '+.3f')
        lines.append([of.title(r), *(told(r['probe'].get(name, {})) for name in asked), f'{number(less, "+z.3f")} {sure}'])
    body += table(['setting', *asked, 'speaker - plain'], lines)
    body += said(
        'Fresh classifiers on the frozen representation, linear (with a hidden layer): mean recall of utterances that they',
        'have not heard, by which guessing the majority is chance; means of folds and seeds.',
        'Verification: equal error rate of pairs of test utterances, 0.5 where nothing is told.',
        *heard(asked),
        'What a classifier does not find may still be there.',
    )
    judged = [(r['hyper'], r['adversary']) for r in of.runs if r.get('adversary')]
    if judged:
        why = [[of.title(h), h['seed'], h['fold'], a['verdict'], a['why']] for h, a in judged]
        body += folded(f'Verdicts on {many(len(why), "run")}', table(['setting', 'seed', 'fold', 'adversary', 'why'], why))
    return Section('leakage', 'Leakage', body)


def heard(asked: dict[str, dict]) -> list[str]:
    """Whether the encoder, too, had not heard the utterances by which the classifiers are judged."""
    unheard = {name: of['strangers'] for name, of in asked.items() if 'strangers' in of}
    known, unknown = ([name for name, s in unheard.items() if s == is_] for is_ in (False, True))
    said_of = [f'The encoder had heard those for {", ".join(known)} in its training.'] if known else []
    return said_of + ([f'Those for {", ".join(unknown)} the encoder has not heard either.'] if unknown else [])


def speakers(of: Sweep) -> Section:
    """The difference to plain training, speaker by speaker."""
    if not of.plain:
        return Section('speakers', 'Speaker by speaker', said('Here is no plain training (lam = 0, erm) to compare with.'))
    best, plain = of.counts(of.best), of.counts(of.plain)
    difference_ZxS = statistics.uar(best) - statistics.uar(plain).mean(0)
    whole = statistics.of_difference(best, plain)
    up, down = int((difference_ZxS.mean(0) > 0).sum()), int((difference_ZxS.mean(0) < 0).sum())
    body = picture(
        f'UAR of every speaker minus that of plain training; all: {whole.value:+.3f}',
        f'{of.title(of.best)} minus {of.title(of.plain)}, speaker by speaker, folds pooled: {up} gain, {down} lose.',
        *(pictures.forest, of.names, difference_ZxS, whole),
    )
    return Section('speakers', 'Speaker by speaker', body)


def training(of: Sweep) -> Section:
    """What training looked like, mean over folds and seeds of a setting, from metrics.jsonl."""
    found: dict[str, dict[str, dict[int, list]]] = {}
    titles = {of.label(r): of.title(r) for r in of.rows}
    wanted = ('emotion_loss', 'speaker_loss', 'language_loss', 'corpus_loss', 'dev_uar')
    file = of.path / 'metrics.jsonl'
    lines = file.read_text().split('\n') if file.exists() else ()
    for line in map(json.loads, filter(None, lines)):
        for key in wanted:
            if line.get(key) is not None:
                found.setdefault(titles[of.label(line)], {}).setdefault(key, {}).setdefault(line['epoch'], []).append(line[key])
    if not found:
        return Section('training', 'Training', said('There is no metrics.jsonl beside results.json.'))
    last = max(e for metrics in found.values() for epochs in metrics.values() for e in epochs)
    mean = lambda epochs: [float(np.mean(epochs[e])) if e in epochs else None for e in range(1, last + 1)]  # noqa: E731
    curves = {name: {k: mean(metrics[k]) for k in wanted if k in metrics} for name, metrics in found.items()}
    nats: dict[str, list] = {}
    for domain, value in (item for r in of.runs for item in r.get('entropy', {}).items()):
        nats.setdefault(domain, []).append(value)
    entropy = {domain: float(np.mean(values)) for domain, values in nats.items()}
    told = [of.title(r) for r in of.rows if of.title(r) in curves]
    if len(told) > pictures.MOST:
        told = list(dict.fromkeys(of.title(r) for r in (of.plain, of.best) if r))
    body = picture(
        'Emotion loss, domain loss and dev UAR against the epoch',
        'Means over folds and seeds. A domain loss at its entropy is that of a head that only guesses; whether the domain is '
        'forgotten the probe says, not this head.',
        *(pictures.traces, curves, entropy, told, of.plain_titles),
    )
    return Section('training', 'Training', body)


def confusions(of: Sweep) -> Section:
    """Who is taken for whom."""
    if not of.best:
        return Section('confusions', 'Confusions', said('No setting is whole.'))
    if of.plain:
        names = of.title(of.best), of.title(of.plain)
        drawn = pictures.beside, of.best['confusion'], of.plain['confusion'], names, of.classes
        caption = f'Percent of the truth: {names[0]}, {names[1]}, and the difference in points, rounded by itself.'
    else:
        drawn = pictures.confusion_matrices, of.results | {'summary': [of.best]}
        caption = f'Percent of the truth: {of.title(of.best)}.'
    body = picture('Confusion matrices in percent of the truth', f'{caption} Test parts of all folds and seeds.', *drawn)
    if absent := [c for c, row in zip(of.classes, of.best['confusion']) if not sum(row)]:
        body += said(f'No tested utterance is {", ".join(absent)}: left out of UAR.')
    return Section('confusions', 'Confusions', body)


def flattened(z_NxD: np.ndarray) -> np.ndarray:
    """place_Nx2 by t-SNE; the same for the same z."""
    import threadpoolctl
    from sklearn.manifold import TSNE  # takes a second

    perplexity = min(30.0, (len(z_NxD) - 1) / 3)
    with threadpoolctl.threadpool_limits(1):  # its threads wait for each other, on a busy machine for minutes
        return TSNE(perplexity=perplexity, init='pca', random_state=0).fit_transform(z_NxD.astype(np.float32))


def represented(of: Sweep) -> Section:
    """A map of the representation of one run, plain training beside the best."""
    file, title = of.path / 'representations.npz', 'The representation'
    if not file.exists():
        return Section('map', title, advised('Here is no representations.npz. The probe writes it:', of))
    with file.open('rb') as opened:
        arrays = dict(np.load(io.BytesIO(opened.read()), allow_pickle=False))
    at, maps = {name: n for n, name in enumerate(arrays['setting'].tolist())}, {}
    for name, row in of.pair.items():
        n = at.get(sweep.label(row, of.swept))
        if n is None or len(arrays[f'row_{n}']) < 3:
            continue
        some = np.random.default_rng(0).permutation(len(arrays[f'row_{n}']))[:SHOWN]
        rows = arrays[f'row_{n}'][some]
        place = flattened(arrays[f'z_{n}'][some])
        maps[name] = place, arrays['emotion'][rows], arrays['speaker'][rows], arrays[f'part_{n}'][some] == 'test'
    if not maps:
        return Section('map', title, said('Of these settings no representation was kept.'))
    body = picture(
        'Two-dimensional maps of the representation, coloured by emotion and by speaker',
        f'z of the first fold and seed by t-SNE (distances between groups mean little), {many(len(rows), "utterance")} '
        f'(at most {SHOWN}); crosses are tested. More than {pictures.NAMED} speakers are not named.',
        *(pictures.atlas, maps),
    )
    return Section('map', title, body)


def groups(of: Sweep) -> Section:
    """UAR by sex, language, corpus and speaker, and who is served worst."""
    if not of.best:
        return Section('groups', 'By group', said('No setting is whole.'))
    best, plain = of.counts(of.best), of.counts(of.plain) if of.plain else None
    people, body, worst = of.results.get('speakers', {}), '', []
    head = ['speakers', 'utterances', *['UAR plain'] * bool(of.plain), 'UAR', '95 %', *['- plain', '95 %'] * bool(of.plain)]
    for kind in ('corpus', 'language', 'sex', 'speaker'):
        found, lines = of.groups(kind), []
        if len(found) < 2:
            continue
        for group, there_S in found.items():
            some = best[:, there_S]
            uar = statistics.of_uar(some)
            cells = [group, some.shape[1], int(some[0].sum())]
            if of.plain:
                reference = plain[:, there_S]
                less = statistics.of_difference(some, reference)
                cells += [number(statistics.of_uar(reference).value), number(uar.value), ends(uar.ci95)]
                cells += [number(less.value, '+z.3f'), ends(less.ci95, '+.3f')]
            else:
                cells += [number(uar.value), ends(uar.ci95)]
            lines.append((uar.value, cells))
        low = min(range(len(lines)), key=lambda n: lines[n][0])
        worst.append(f'{kind} {lines[low][1][0]} ({lines[low][0]:.3f})')
        grid = table([kind, *head], [cells for _, cells in lines], [low])
        body += folded(many(len(found), 'speaker'), grid) if kind == 'speaker' else grid
    told = f'The worst group of each kind: {"; ".join(worst)}.' if worst else 'One speaker: there are no groups.'
    known = '' if people else 'results.json does not say sex, language and corpus of the speakers.'
    pooled = 'UAR: folds pooled, mean over seeds. A group that lacks classes is measured by those that it has.'
    return Section('groups', 'By group', said(told, known, pooled) + body)


def calibrated(of: Sweep) -> Section:
    """Whether posteriors are what they say."""
    found, by_run = {}, calibration.read(compare.predictions(of.path), of.classes)
    for name, row in of.pair.items():
        some = [by_run[sweep.label(r['hyper'], of.varied), r['hyper']['fold']] for r in of.of(row)]
        found[name] = calibration.reliability(*(np.concatenate(column) for column in zip(*some)))
    if not found:
        return Section('calibration', 'Calibration', said('No setting is whole.'))
    body = picture(
        'Reliability diagram: accuracy against confidence',
        f'Reliability in {calibration.BINS} bins of what training says, before the temperature of jaxser.predict; ECE, the '
        'expected calibration error, is the mean distance to the diagonal.',
        *(pictures.diagram, found, of.plain_titles),
    )
    body += table(['setting', 'ECE'], [[name, number(r.error)] for name, r in found.items()])
    return Section('calibration', 'Calibration', body)


def held_out(of: Sweep) -> Section | None:
    """UAR of every setting on every corpus or language that was left out; None for other protocols."""
    kind = of.config['protocol']['name'].removeprefix('leave_one_').removesuffix('_out')
    if kind not in ('corpus', 'language') or not of.best:
        return None
    rows = list({of.title(r): r for r in (of.plain, of.best, *of.rows) if r}.items())[: pictures.MOST]
    names = dict(zip(sorted({r['hyper']['fold'] for r in of.runs}), of.results['folds']))
    of_fold = lambda row, f: [r['test']['uar'] for r in of.of(row) if r['hyper']['fold'] == f]  # noqa: E731
    value = [[np.mean(of_fold(row, f) or [np.nan]) for f in names] for _, row in rows]
    drawn = pictures.heat, value, [name for name, _ in rows], [*names.values()], ('', f'{kind} left out'), of.chance
    caption = f'UAR on the {kind} that was left out: each fold by itself, mean over seeds.'
    body = picture(f'UAR by setting and {kind} left out', caption, *drawn, 'UAR by fold')
    return Section('cross', f'Across {"corpora" if kind == "corpus" else "languages"}', body)


def failed(of: Sweep) -> Section:
    """Which runs diverged."""
    lost = [r for r in of.runs if r['status'] != 'ok']
    if not lost:
        return Section('failed', 'Failed runs', said(f'None of {many(len(of.runs), "run")}.'))
    lines = [[of.title(r['hyper']), r['hyper']['seed'], r['hyper']['fold'], r['status'], r['step']] for r in lost]
    told = f'{len(lost)} of {many(len(of.runs), "run")}; a seed that lost a fold is in no figure.'
    return Section('failed', 'Failed runs', said(told) + table(['setting', 'seed', 'fold', 'what', 'at step'], lines))


def details(of: Sweep) -> Section:
    """How to do it again."""
    known, results = of.facts, of.results
    body = f'<pre>{text(known["command"])}</pre>'
    lines = [
        ['commit', known['git_commit'] or 'unknown'],
        ['split', f'sha256 {results["split_sha256"]}'],
        ['corpora', ', '.join(results['corpora'])],
        ['labels', f'{results["labels"]}: {", ".join(of.classes)}'],
        ['normalised by', results['normalisation']],
        ['precision of products', results['matmul_precision']],
        *[[k, v or 'absent'] for k, v in known['versions'].items()],
    ]
    body += facts(lines)
    flat = ''.join(f'{k} = {json.dumps(v)}\n' for k, v in sweep.flat(of.config).items())
    body += folded('Configuration', f'<pre>{text(flat)}</pre>')
    body += folded('Audit', f'<pre>{text(json.dumps(results["audit"], indent=1))}</pre>')
    return Section('details', 'Command, versions, configuration', body)
