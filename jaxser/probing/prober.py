"""TODO: jaxser.probing.prober."""

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import Fold
from jaxser import distributed, plugins
from jaxser.analysis import adversary, metrics, predictions, summary
from jaxser.analysis.metrics import equal_error_rate
from jaxser.probing import adversary_heads, classifiers
from jaxser.probing.questions import Question, make_questions
from jaxser.runs import run_label, varying_keys
from jaxser.training import restore, tracking, validate
from jaxser.workdir import Workdir

MEASURE_KEYS = ('linear', 'mlp', 'eer')

CLASSIFIERS_PER_DISPATCH = 16  # classifiers a dispatch

MAX_INPUT_COMPONENTS = (
    256  # what is asked of the input where it is more: its first principal components
)

MAX_VERIFIED_UTTERANCES = (
    2000  # utterances of a fold's test part, at most, of which pairs are verified
)


def verification_error(
    x_NxD: np.ndarray, rows: np.ndarray, fold: Fold, speaker_N: np.ndarray, seed: int
) -> dict | None:
    """The equal error rate among the test speakers, x less the mean of what training heard; None for fewer than two."""
    test = np.random.default_rng((seed, fold.number)).permutation(
        fold.test[speaker_N[fold.test] >= 0]
    )[:MAX_VERIFIED_UTTERANCES]
    speakers = np.unique(speaker_N[test])
    if len(speakers) < 2 or len(test) == len(speakers):
        return None
    at = np.searchsorted(rows, test)
    centre_D = x_NxD[np.isin(rows, fold.seen)].mean(0)
    return {
        'eer': equal_error_rate(x_NxD[at] - centre_D, speaker_N[test]),
        'speakers': len(speakers),
    }


def principal_components(x_NxM: np.ndarray, seen_N: np.ndarray) -> np.ndarray:
    """x itself; of more than WIDE columns, as an upstream's states have, the first principal components of what was heard.

    They are turned at random: the classifiers bring every column to one variance, which would raise the least to the first's.
    """
    if x_NxM.shape[1] <= MAX_INPUT_COMPONENTS:
        return x_NxM
    from sklearn.decomposition import PCA

    heard = PCA(min(MAX_INPUT_COMPONENTS, int(seen_N.sum())), svd_solver='full').fit(x_NxM[seen_N])
    turn_DxD, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(heard.n_components_,) * 2))
    return (heard.transform(x_NxM) @ turn_DxD).astype(np.float32)


class Prober:
    """Asks the runs of a task; the answers of the input are the same for all, and given once."""

    def __init__(self, task, seed: int):
        self.task, self.seed = task, seed
        self.questions = [make_questions(task.table, f, seed) for f in task.subset_folds]
        asked = [q for of in self.questions for q in of]
        self.class_count = max((int(q.label_N[q.fit_rows].max()) + 1 for q in asked), default=0)
        self.input_answers: list | None = None

    def __call__(self, group, representations: tracking.Collected) -> list[dict | None]:
        """The answers of a group's runs, of which `representations` holds the representations; None for one that is not finite."""
        entries = self.task.subset_folds
        if self.input_answers is None:
            inputs = [
                (
                    e,
                    f.used_rows,
                    principal_components(
                        self.input_statistics(e, f.used_rows), np.isin(f.used_rows, f.seen)
                    ),
                )
                for e, f in enumerate(entries)
            ]
            self.input_answers = self.ask(inputs)
        runs = [(int(e), *representations.get_run(n)) for n, e in enumerate(group.fold_N)]
        given = self.ask(runs)
        for (entry, *_), answer in zip(runs, given):
            for name in answer or ():
                answer[name]['input'] = {
                    k: v
                    for k, v in (self.input_answers[entry][name] or {}).items()
                    if k in MEASURE_KEYS
                }
        return given

    def input_statistics(self, entry: int, rows: np.ndarray) -> np.ndarray:
        """x_Nx2M: mean and standard deviation of the normalised bands; of features that are one frame, x_NxM: those."""
        table, u = self.task.table, self.task.utterances
        at = table.moments_index_FxN[entry, rows]
        mean_NxM, scale_NxM = (u.mean_NxM[rows] - table.mean[at]) * table.scale[at], table.scale[at]
        if u.frames_N.max() == 1:
            return mean_NxM
        return np.concatenate([mean_NxM, np.sqrt(u.variance_NxM[rows]) * scale_NxM], 1)

    def ask(self, runs: list[tuple[int, np.ndarray, np.ndarray]]) -> list[dict | None]:
        """Of (entry, row_N in ascending order, x_NxD) each."""
        N, D = max(len(r) for _, r, _ in runs), max(x.shape[1] for *_, x in runs)
        if 2 * self.task.utterances.bands <= MAX_INPUT_COMPONENTS:
            D = max(D, 2 * self.task.utterances.bands)  # one program for representations and inputs
        jobs = [
            (n, q)
            for n, (entry, _, x) in enumerate(runs)
            if np.isfinite(x).all()
            for q in self.questions[entry]
        ]
        told: list[dict | None] = [{} if np.isfinite(x).all() else None for *_, x in runs]
        for at in range(0, len(jobs), CLASSIFIERS_PER_DISPATCH):
            some = jobs[at : at + CLASSIFIERS_PER_DISPATCH]
            arrays = [self._classifier_arrays(runs[n], q, N, D) for n, q in some]
            arrays += [arrays[-1]] * (
                CLASSIFIERS_PER_DISPATCH - len(some)
            )  # one shape, one program
            scores, _ = classifiers.fit_classifiers(*map(np.stack, zip(*arrays)), self.class_count)
            for i, (n, q) in enumerate(some):
                told[n][q.name] = self._measure(runs[n], q, {k: s[i] for k, s in scores.items()})
        speaker_N = self.task.table.domain_N['speaker']
        for (entry, rows, x), answer in zip(runs, told):
            if answer is not None and (
                found := verification_error(
                    x, rows, self.task.subset_folds[entry], speaker_N, self.seed
                )
            ):
                answer['verification'] = found
        return told

    def _classifier_arrays(self, run: tuple, q: Question, N: int, D: int) -> tuple[np.ndarray, ...]:
        _, rows, x = run
        x_NxD = np.zeros((N, D), np.float32)
        x_NxD[: len(rows), : x.shape[1]] = x
        y_N = np.full(N, -1, np.int32)
        y_N[: len(rows)] = q.label_N[rows]
        fit_N, choose_N = np.zeros((2, N), np.float32)
        fit_N[np.searchsorted(rows, q.fit_rows)] = choose_N[
            np.searchsorted(rows, q.validation_rows)
        ] = 1
        return x_NxD, y_N, fit_N, choose_N

    def _measure(self, run: tuple, q: Question, scores: dict[str, np.ndarray]) -> dict:
        _, rows, _ = run
        at, truth = np.searchsorted(rows, q.test_rows), q.label_N[q.test_rows]
        classes, K = np.unique(q.label_N[q.fit_rows]), self.class_count
        counts = {k: metrics.confusion_matrix(truth, s[at].argmax(1), K) for k, s in scores.items()}
        answer = {k: metrics.classification_metrics(c)['uar'] for k, c in counts.items()}
        answer |= {
            'classes': len(classes),
            'chance': 1 / len(classes),
            'n': len(q.test_rows),
            'strangers': q.unseen_speakers,
        }
        if q.name == 'speaker':
            there = np.flatnonzero(counts['linear'].sum(1))
            name_K = self.task.table.domains['speaker']
            recall = {k: np.diag(c)[there] / c.sum(1)[there] for k, c in counts.items()}
            answer['recall'] = {
                k: dict(zip(name_K[there].tolist(), r.tolist())) for k, r in recall.items()
            }
        return answer


class RepresentationSampler:
    """The representation of every setting's first run, for a map of it: of the first fold and seed that did not diverge."""

    def __init__(self, runs: list[dict]):
        self.setting_keys = [k for k in varying_keys(runs) if k != 'seed']
        self.fold, self.samples = runs[0]['fold'], {}

    def add(self, group, representations: tracking.Collected, entries: list[Fold]) -> None:
        """Takes what there is not yet."""
        for n, run in enumerate(group.runs):
            rows, z_NxD = representations.get_run(n)
            if run['fold'] == self.fold and np.isfinite(z_NxD).all():
                self.samples.setdefault(
                    run_label(run, self.setting_keys), (entries[group.fold_N[n]], rows, z_NxD)
                )

    def to_arrays(self, text: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Of representations.npz: by utterance its name, speaker and emotion; `setting`, and of the n-th in it z_n (float16),
        row_n (which utterance) and part_n (train, adapt, dev or test)."""
        made = {k: text[k].astype(str) for k in ('utterance', 'speaker', 'emotion')} | {
            'setting': np.array([*self.samples], str)
        }
        for n, (fold, rows, z_NxD) in enumerate(self.samples.values()):
            part = np.full(len(rows), 'train')
            for name in (
                'adapt',
                'dev',
                'test',
            ):  # what is tested is called so, whoever else hears it
                part[np.isin(rows, getattr(fold, name))] = name
            made |= {f'z_{n}': z_NxD.astype(np.float16), f'row_{n}': rows, f'part_{n}': part}
        return made


def probe_sweep(path, data: str | None = None, upstream: str | None = None) -> dict:
    """Asks every run of the finished sweep in `path`, unless that was done; returns results.json, in process 0.

    Leaves representations.npz too.

    `data` is where the shards are now, if they are elsewhere than in training, and `upstream` the encoder that it trained.
    """
    place = Workdir.open(path, data, upstream)
    if upstream and place.config.model.name != 'fine_tuned':
        raise UserError(
            f'The sweep in {path} trains no pretrained encoder: leave --upstream {upstream} out.'
        )
    if upstream:
        validate.validate(place.config)  # refuses other weights
    results = place.load_results()
    if results is None:
        raise UserError(
            f'{path} holds no finished sweep (no results.json). The command that began it goes on with it.'
        )
    if all('probe' in r for r in results['runs']) and (place.path / 'representations.npz').exists():
        return results
    config, ask, given, heads, kept = (
        place.config,
        None,
        [],
        [],
        RepresentationSampler([r['hyper'] for r in results['runs']]),
    )
    with (
        plugins.matmul_precision_context(config),
        distributed.progress_bar(len(results['runs']), 'run') as bar,
    ):
        bar.set_description('Asking what is left of the speakers')
        for trainer, group, best in restore.restored_groups(place):
            ask = ask or Prober(trainer.task, config.data.order_seed)
            gathered = restore.predict_part(trainer, group, best, 'used_rows')[0]
            given += ask(group, gathered)
            heads += adversary_heads.refit_heads(trainer, group, best[0], gathered)
            kept.add(group, gathered, trainer.task.subset_folds)
            bar.update(len(group.runs))
    for of, answer, head in zip(results['runs'], given, heads, strict=True):
        of['probe'], of['refit'] = (answer, head) if of['status'] == 'ok' else (None, None)
    for of, verdict in zip(
        results['runs'],
        adversary.adversary_verdicts(results['runs'], config.to_dict()),
        strict=True,
    ):
        of['adversary'] = verdict
    if not distributed.is_main_process():
        return {}
    place.save_representations(kept.to_arrays(ask.task.utterances.text))
    rows = predictions.read_prediction_rows(place.path / 'predictions.csv', results['runs'])
    predicted = predictions.read_predictions(rows, results['classes'])
    results['summary'] = summary.summary_rows(
        results['runs'], predicted, config.to_dict(), len(results['classes'])
    )
    place.save_results(results)
    return results
