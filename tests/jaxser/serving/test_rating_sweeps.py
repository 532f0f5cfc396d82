"""Sweeps that predict ratings: their models, exports, leakage and enrolment curves."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import rated_tones
from helpers.exports import parse_tables
from helpers.predictions import LIBROSA, card_snippets, run_snippet
from helpers.rated_tones import RATINGS

import jaxser
from jaxser.analysis import calibration
from jaxser.analysis.enrolment import ENROLLED
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.probing import enrolment_curve, prober
from jaxser.probing.attackers import linear, mlp
from jaxser.serving import bundling, model_card
from jaxser.serving.exporting import export_model
from jaxser.serving.model import read_model
from jaxser.serving.setting import describe_setting

TOLERANCE = 1e-5


@pytest.fixture(scope='module')
def rated_data(once) -> Path:
    """Returns the data folder of tones with ratings."""
    return once('rated_tones', rated_tones.prepare) / 'data'


@pytest.fixture(scope='module')
def both_sweep(rated_data, once) -> Path:
    """Returns the workdir of a sweep of one run, which predicts classes and ratings."""

    def make(path: Path) -> None:
        rated_tones.train(path, rated_data, 'emotion+ratings', **{'sweep.fold': (0,)})

    return once('both_sweep', make)


@pytest.fixture(scope='module')
def enrolling_sweep(rated_data, once) -> Path:
    """Returns the workdir of a sweep that predicts ratings and enrols speakers, probed."""

    def make(path: Path) -> None:
        keys = {'data.normalise': 'speaker_enrolled', 'protocol.enrol': 4}
        with pytest.MonkeyPatch.context() as patch:  # attackers that hardly learn
            patch.setattr(linear, 'MAX_ITERATIONS', 2)
            patch.setattr(mlp, 'MAX_CHECKS', 1)
            rated_tones.train(path, rated_data, 'ratings', **keys)
            prober.probe_sweep(path)
            enrolment_curve.run_curve(path, draws=1)
        bundling.bundle_model(path)

    return once('enrolling_sweep', make)


def read_results(workdir: Path) -> dict:
    return json.loads((workdir / 'results.json').read_text())


def test_a_test_utterance_has_the_ratings_of_predictions_csv(both_sweep, rated_data):
    """And the posterior, to which only the temperature is added."""
    with open(both_sweep / 'predictions.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    model = jaxser.load(both_sweep)
    assert len(model.metadata['runs']) == 1
    temperature = model.metadata['calibration']['temperature']
    files = [rated_data.parent / row['utterance'] for row in rows]
    for row, answer in zip(rows, model.predict_files(files), strict=True):
        for name in RATINGS:
            assert answer[name] == pytest.approx(float(row[name]), abs=TOLERANCE)
        raw_C = np.array([float(row[name]) for name in model.classes])
        p_C = [answer['posterior'][name] for name in model.classes]
        expected_C = calibration.apply_temperature(raw_C, temperature)
        np.testing.assert_allclose(p_C, expected_C, atol=TOLERANCE)
    assert len({row['arousal'] for row in rows}) > 1


def test_the_model_knows_its_task(both_sweep, enrolling_sweep):
    facts = read_model(both_sweep).metadata
    assert (facts['task'], facts['classes']) == ('emotion+ratings', ['angry', 'sad'])
    assert facts['ratings'] == list(RATINGS)
    (row,) = read_results(both_sweep)['summary']
    for key in ('ccc', 'dev_ccc', 'uar', 'dev_uar', 'rmse', 'ratings'):
        assert facts['row'][key] == row[key]
    assert 'delta_ccc' not in facts['row']
    facts = read_model(enrolling_sweep).metadata
    assert (facts['task'], facts['classes']) == ('ratings', [])
    assert 'calibration' not in facts
    assert describe_setting(facts) == 'The model is dann (lam = 0.5), chosen by dev CCC.'


@pytest.mark.slow
@LIBROSA
def test_the_card_of_both_has_both_and_its_code_runs(both_sweep, tmp_path, monkeypatch):
    """The code prints the posterior, and then the ratings."""
    out = export_model(both_sweep, tmp_path / 'out')
    assert (out / 'outputs.stablehlo').exists()
    (row,) = read_results(both_sweep)['summary']
    table = parse_tables((out / 'README.md').read_text())
    assert table['CCC (mean over ratings), folds pooled'][0] == f'{row["ccc"]:.3f}'
    assert table['UAR (mean recall over classes), folds pooled'][0] == f'{row["uar"]:.3f}'
    for name in RATINGS:
        figures = row['ratings'][name]
        ccc, _, pearson, rmse = table[name]
        assert [ccc, pearson] == [f'{figures["ccc"]:.3f}', f'{figures["pearson"]:.3f}']
        assert rmse == f'{figures["rmse"]:.3f}'
    shutil.copy(both_sweep.parent / 'rated_tones' / '0_3.wav', out / 'speech.wav')
    monkeypatch.chdir(out)
    answer = next(iter(jaxser.load('.').predict_files(['speech.wav'])))
    ratings = {name: answer[name] for name in RATINGS}
    with_jaxser, from_audio, from_features, *_ = card_snippets(out)
    assert run_snippet(with_jaxser) == pytest.approx(ratings, abs=TOLERANCE)
    assert run_snippet(from_audio) == pytest.approx(ratings, abs=1e-4)
    assert run_snippet(from_features) == pytest.approx(ratings, abs=1e-4)
    for printed in (with_jaxser, from_audio, from_features):
        assert len([line for line in printed.splitlines() if line.startswith('print')]) == 2


def test_the_card_of_ratings_speaks_of_no_class(enrolling_sweep):
    analysis = SweepAnalysis(read_finished_sweep(enrolling_sweep))
    text = model_card.render_card(read_model(enrolling_sweep), analysis)
    for phrase in (
        'to numbers from -1 to 1 for arousal, valence.',
        '## Scale of the ratings',
        'Ratings: arousal, valence, scaled to -1 to 1.',
        'chosen by its dev CCC',
        'from the predicted ratings alone',
        'CCC with 4 enrolled utterances of each tested speaker, folds pooled',
        'metrics: ["ccc", "pearsonr", "rmse"]',
    ):
        assert phrase in text
    for phrase in ('UAR', '## Calibration', 'probability', 'emotion scores', 'Labels:'):
        assert phrase not in text


def test_ratings_are_probed_without_a_question_about_the_emotion(enrolling_sweep):
    """Attackers of the outputs have the predicted ratings."""
    results = read_results(enrolling_sweep)
    for run in results['runs']:
        assert 'emotion' not in run['probe']
        assert {'speaker', 'unseen_speaker', 'language'} <= set(run['probe'])
        assert 0 <= run['probe']['speaker']['scores']['strongest'] <= 1
    (row,) = results['summary']
    assert row['probe']['speaker']['chance'] == pytest.approx(0.5)
    assert row['ccc'] is not None


def test_the_enrolment_curve_of_ratings_has_ccc(enrolling_sweep):
    """For every number of enrolled utterances of any kind; it is in the model, too."""
    rows = read_results(enrolling_sweep)['enrolment']['rows']
    assert [row['enrol'] for row in rows] == list(ENROLLED)
    assert {row['enrol_from'] for row in rows} == {'any'}
    for row in rows:
        assert -1 <= row['ccc'] <= 1
        assert row['ccc_ci95'] is not None
        assert 'uar' not in row
    assert rows[0]['delta_ccc'] is None
    assert rows[-1]['delta_ccc'] == pytest.approx(rows[-1]['ccc'] - rows[0]['ccc'], abs=1e-9)
    facts = read_model(enrolling_sweep).metadata
    assert [row['ccc'] for row in facts['enrolment']] == [row['ccc'] for row in rows]
    (note,) = jaxser.load(enrolling_sweep).notes
    assert 'CCC on unseen speakers: ' in note


def test_an_enrolled_speaker_changes_the_ratings(enrolling_sweep):
    file = enrolling_sweep.parent / 'rated_tones' / '0_0.wav'
    model = jaxser.load(enrolling_sweep)
    speaker = model.start_enrolment()
    wave = np.concatenate([np.sin(np.arange(16_000) * 0.1 * n) for n in (1, 2)]).astype(np.float32)
    speaker.add_recording('tone', 0.3 * wave)
    enrolled = model.with_enrolment(speaker.estimate())
    (before,) = model.predict_files([file])
    (after,) = enrolled.predict_files([file])
    assert after['enrolled'] == 1
    assert after['arousal'] != before['arousal']
