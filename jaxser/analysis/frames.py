"""The results of a finished sweep as pandas frames."""

from etils import epath

from data_pipelines.errors import UserError
from jaxser.analysis.finished import check_finished
from jaxser.analysis.leakage import strongest_attacker
from jaxser.workdir_files import RESULTS, WorkdirFiles

CLASSIFICATION_FIGURES = ('uar', 'wa', 'f1')
RATING_FIGURES = ('ccc', 'pearson', 'rmse')

# Figures of the probe's answer to a question; a row has them as <question>_<figure>.
ANSWER_FIGURES = ('strongest', 'attacker', 'chance', 'bits', 'eer', 'lda_eer')


def results_frame(workdir):
    """Returns the runs of a finished sweep as a pandas.DataFrame with a row for each run.

    Its columns are the run's hyper-parameters (of those swept, `seed` and `fold`, and the others),
    `fold_name`, `status`, `epoch` (the selected one), `dev_uar`, `dev_wa`, `dev_f1`, and `uar`,
    `wa`, `f1` and `n` of the test part. If ratings are predicted, there are also `dev_ccc`,
    `dev_pearson`, `dev_rmse`, and `ccc`, `pearson`, `rmse` of the test part: means over the
    ratings, and of each as arousal_ccc and so on. A sweep that was probed also has the leakage:
    `speaker_strongest` is the recall of the strongest attacker (chance: `speaker_chance`) of
    training speakers, `unseen_speaker_strongest` that of unseen ones, and so on as in summary.csv.
    UserError if `workdir` has no finished sweep.
    """
    pandas = import_pandas()
    path = epath.Path(workdir)
    check_finished(path)
    results = WorkdirFiles(path).read_json('results.json', RESULTS)
    hyper_keys: dict[str, None] = {}
    for run in results['runs']:
        hyper_keys |= dict.fromkeys(run['hyper'])  # methods differ in them
    rows = [dict.fromkeys(hyper_keys) | run_row(run, results['folds']) for run in results['runs']]
    return pandas.DataFrame(rows)


def run_row(run: dict, folds: list[str]) -> dict:
    """Returns the row of a run of results.json; `folds` are the names of the folds."""
    row = dict(run['hyper'])
    row['fold_name'] = folds[row['fold']]
    row['status'] = run['status']
    row['epoch'] = run.get('epoch')
    for prefix, part in (('dev_', run.get('dev')), ('', run.get('test'))):
        row |= part_columns(part or {}, prefix)
    row['n'] = (run.get('test') or {}).get('n')
    for question, answer in (run.get('probe') or {}).items():
        row |= answer_columns(question, answer or {})
    if 'adversary' in run:
        row['adversary'] = (run['adversary'] or {}).get('verdict')
    return row


def part_columns(figures: dict, prefix: str) -> dict:
    """Returns the columns of a part's figures: dev_uar, dev_ccc, dev_arousal_ccc and so on.

    Those about ratings are left out if no ratings are predicted.
    """
    columns = {prefix + key: figures.get(key) for key in CLASSIFICATION_FIGURES}
    for key in RATING_FIGURES:
        if key in figures:
            columns[prefix + key] = figures[key]
    for rating, own in figures.get('ratings', {}).items():
        for key in RATING_FIGURES:
            columns[f'{prefix}{rating}_{key}'] = own[key]
    return columns


def answer_columns(question: str, answer: dict) -> dict:
    """Returns the columns of the probe's answer to a question, e.g. speaker_strongest."""
    strongest = strongest_attacker(answer)
    if strongest:  # earlier versions recorded the attackers only
        attacker, recall = strongest
        answer = {'attacker': attacker, 'strongest': recall} | answer
    return {f'{question}_{key}': answer[key] for key in ANSWER_FIGURES if key in answer}


def settings_frame(workdir):
    """Returns summary.csv of a finished sweep as a pandas.DataFrame: a row for each setting."""
    pandas = import_pandas()
    path = epath.Path(workdir)
    check_finished(path)
    if not (path / 'summary.csv').exists():
        raise UserError(
            f'{path} has no summary.csv yet. Write it: python -m jaxser.report --workdir {path}'
        )
    with (path / 'summary.csv').open() as file:
        return pandas.read_csv(file)


def import_pandas():
    """Returns pandas; UserError if it is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise UserError(f'Frames need pandas ({error}): pip install pandas') from None
    return pandas
