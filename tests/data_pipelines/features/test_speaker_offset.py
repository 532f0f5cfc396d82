"""Tests the offset of a speaker against closed forms and simulated speakers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.features import speaker_offset
from data_pipelines.features.speaker_offset import Enrolment, SpeakerPrior

COUNTS = (1, 2, 4, 8, 16, 64)
UTTERANCE = 1.0  # variance within a speaker and an emotion, in every simulation


class Population(NamedTuple):
    """Variances of simulated speakers, and the means of their emotions."""

    mean_P: np.ndarray
    emotion_CxP: np.ndarray
    between: float
    interaction: float


class Speaker(NamedTuple):
    offset_P: np.ndarray  # of the mean over all emotions
    emotion_CxP: np.ndarray


def make_population(rng, columns, emotions=5, between=0.1, emotion=0.3, interaction=0.05):
    emotion_CxP = rng.normal(size=(emotions, columns))
    emotion_CxP -= emotion_CxP.mean(0)
    emotion_CxP *= np.sqrt(emotion / max((emotion_CxP**2).mean(), 1e-12))
    return Population(rng.normal(0, 3, columns), emotion_CxP, between, interaction)


def make_speaker(rng, population, shift=0.0):
    C, P = population.emotion_CxP.shape
    interaction_CxP = rng.normal(0, np.sqrt(population.interaction), (C, P))
    offset_P = rng.normal(0, np.sqrt(population.between), P) + shift
    emotion_CxP = population.mean_P + offset_P + population.emotion_CxP + interaction_CxP
    return Speaker(offset_P + interaction_CxP.mean(0), emotion_CxP)


def make_utterances(rng, speaker, emotion_N):
    noise_NxP = rng.normal(0, np.sqrt(UTTERANCE), (len(emotion_N), len(speaker.offset_P)))
    return speaker.emotion_CxP[emotion_N] + noise_NxP


def make_training_data(rng, population, speakers, per_emotion=5):
    C = len(population.emotion_CxP)
    emotion_N = np.repeat(np.arange(C), per_emotion)
    rows = []
    for _ in range(speakers):
        rows.append(make_utterances(rng, make_speaker(rng, population), emotion_N))
    speaker_N = np.repeat(np.arange(speakers), len(emotion_N))
    return np.concatenate(rows), speaker_N, np.tile(emotion_N, speakers)


def make_prior(seed=0, columns=6, speakers=20, **settings):
    rng = np.random.default_rng(seed)
    population = make_population(rng, columns, **settings)
    data = make_training_data(rng, population, speakers)
    return population, speaker_offset.fit_speaker_prior(*data)


def enrol(prior, y_NxP):
    return speaker_offset.enrol(prior, speaker_offset.no_enrolment(prior), y_NxP)


def offset_of(prior, y_NxP):
    return speaker_offset.estimate_offset(prior, enrol(prior, y_NxP))


def stack(enrolments):
    return Enrolment(*map(np.stack, zip(*enrolments)))


def draw_emotions(rng, kind, C, count):
    if kind == 'any':
        return rng.integers(C, size=count)
    if kind == 'one':
        return np.full(count, rng.integers(C))
    return rng.choice(C, count, p=rng.dirichlet(np.ones(C)))


def relative_errors(kind, columns, speakers, shift=0.0, repetitions=40, tested=20, **settings):
    """Returns the mean squared error for each of COUNTS, divided by that of no offset."""
    rng = np.random.default_rng(0)
    errors = np.zeros(len(COUNTS))
    total = 0.0
    for _ in range(repetitions):
        population = make_population(rng, columns, **settings)
        data = make_training_data(rng, population, speakers)
        prior = speaker_offset.fit_speaker_prior(*data)
        common_P = shift * rng.normal(0, np.sqrt(population.between), columns)
        for _ in range(tested):
            speaker = make_speaker(rng, population, common_P)
            emotion_N = draw_emotions(rng, kind, len(population.emotion_CxP), max(COUNTS))
            y_NxP = make_utterances(rng, speaker, emotion_N)
            # An offset is a deviation from the mean of the prior, which is not exact.
            true_P = speaker.offset_P + population.mean_P - prior.mean_P
            enrolments = [enrol(prior, y_NxP[:count]) for count in COUNTS]
            offset_KxP = speaker_offset.estimate_offset(prior, stack(enrolments))
            errors += ((offset_KxP - true_P) ** 2).mean(1)
            total += (true_P**2).mean()
    return errors / total


@pytest.mark.parametrize('kind', ['any', 'one', 'mix'])
@pytest.mark.parametrize(
    ('columns', 'speakers', 'repetitions'), [(2, 20, 100), (4, 8, 40), (16, 4, 15), (64, 12, 6)]
)
def test_the_offset_is_closer_to_the_speaker_than_no_offset(kind, columns, speakers, repetitions):
    errors = relative_errors(kind, columns, speakers, repetitions=repetitions)
    assert errors.max() < 1
    assert (np.diff(errors) < 0.02).all()
    assert errors[-1] < {'any': 0.25, 'mix': 0.55, 'one': 0.8}[kind]


@pytest.mark.parametrize('kind', ['any', 'one', 'mix'])
def test_a_single_column_is_hardly_worse_than_no_offset_and_better_from_two_utterances(kind):
    # A single column separates emotions from speakers poorly, and its scale is uncertain.
    errors = relative_errors(kind, 1, 30, repetitions=100)
    assert errors[0] < 1.1
    assert errors[1:].max() < 1


@pytest.mark.parametrize('kind', ['any', 'one'])
def test_weak_differences_between_speakers_do_no_harm_either(kind):
    errors = relative_errors(kind, 64, 8, repetitions=6, between=0.05, emotion=0.05)
    assert errors.max() < 1


@pytest.mark.parametrize('kind', ['any', 'one', 'mix'])
@pytest.mark.parametrize('columns', [16, 64])
def test_the_offset_of_another_corpus_is_found_from_few_utterances(kind, columns):
    errors = relative_errors(kind, columns, 10, shift=5.0, repetitions=5)
    assert errors[0] < 0.8
    assert errors[3] < 0.35
    assert (np.diff(errors) < 0.02).all()


def make_simple_prior(between_P, utterance_P):
    """Returns a prior of a single emotion, without an interaction: there is one hypothesis."""
    P = len(between_P)
    return SpeakerPrior(
        mean_P=np.full(P, 2.0),
        emotion_CxP=np.zeros((1, P)),
        between_P=np.asarray(between_P),
        utterance_P=np.asarray(utterance_P),
        interaction_P=np.zeros(P),
        direction_PxD=np.zeros((P, 0)),
        within_DxD=np.zeros((0, 0)),
        between_DxD=np.zeros((0, 0)),
        dimensions=float(P),
    )


def test_without_utterances_the_offset_is_exactly_0():
    _, prior = make_prior()
    nothing = speaker_offset.no_enrolment(prior)
    np.testing.assert_array_equal(speaker_offset.estimate_offset(prior, nothing), np.zeros(6))
    nothing = jax.tree.map(jnp.asarray, nothing)
    np.testing.assert_array_equal(speaker_offset.estimate_offset(prior, nothing), np.zeros(6))


def test_with_one_hypothesis_the_mean_is_shrunk_by_the_ratio_of_variances():
    between_P, utterance_P = np.array([0.1, 0.4, 0.0]), np.array([1.0, 0.5, 1.0])
    prior = make_simple_prior(between_P, utterance_P)
    deviation_P = np.array([0.2, -0.3, 0.1])  # as small as expected: the scale is 1
    for n in (1, 4, 100):
        offset_P = offset_of(prior, np.tile(prior.mean_P + deviation_P, (n, 1)))
        gain_P = between_P / (between_P + utterance_P / n)
        np.testing.assert_allclose(offset_P, gain_P * deviation_P, rtol=1e-12)


def test_a_deviation_beyond_chance_is_shrunk_less():
    prior = make_simple_prior(np.full(20, 0.1), np.ones(20))
    gains = [offset_of(prior, prior.mean_P[None] + d)[0] / d for d in (1.0, 2.0, 3.0, 100.0)]
    assert gains[0] == pytest.approx(0.1 / 1.1)
    assert gains[0] < gains[1] < gains[2] < gains[3]
    assert gains[2] == pytest.approx(1 - 1 / 9)  # that of the unbiased estimate of the scale
    assert gains[3] > 0.999


def test_copies_of_columns_do_not_make_a_deviation_less_likely_by_chance():
    prior = make_simple_prior(np.full(4, 0.1), np.ones(4))
    copies = make_simple_prior(np.full(20, 0.1), np.ones(20))._replace(dimensions=4.0)
    for deviation in (1.0, 2.2, 2.5, 4.0):
        offset_P = offset_of(prior, prior.mean_P[None] + deviation)
        np.testing.assert_allclose(offset_of(copies, copies.mean_P[None] + deviation), offset_P[0])


def test_with_many_utterances_of_all_emotions_the_offset_is_their_mean_deviation():
    population, prior = make_prior(speakers=40)
    rng = np.random.default_rng(1)
    y_NxP = make_utterances(rng, make_speaker(rng, population), np.tile(np.arange(5), 20_000))
    deviation_P = y_NxP.mean(0) - prior.mean_P
    np.testing.assert_allclose(offset_of(prior, y_NxP), deviation_P, rtol=2e-3, atol=1e-3)


def make_enrolments(prior, population, counts=(0, 1, 3, 20)):
    rng = np.random.default_rng(2)
    enrolments = []
    for count in counts:
        y_NxP = make_utterances(rng, make_speaker(rng, population), rng.integers(5, size=count))
        enrolments.append(enrol(prior, y_NxP))
    return enrolments


@pytest.mark.parametrize('emotions', [1, 5])
def test_jax_gives_the_offsets_of_numpy(emotions):
    population, prior = make_prior(emotions=emotions)
    y_NxP = make_utterances(
        np.random.default_rng(3),
        make_speaker(np.random.default_rng(4), population),
        np.zeros(4, int),
    )
    expected_P = offset_of(prior, y_NxP)
    arrays = jax.tree.map(jnp.asarray, prior)
    enrolment = jax.jit(enrol)(arrays, jnp.asarray(y_NxP))
    for estimate in (speaker_offset.estimate_offset, jax.jit(speaker_offset.estimate_offset)):
        np.testing.assert_allclose(estimate(arrays, enrolment), expected_P, rtol=1e-3, atol=1e-5)


def test_axes_in_front_give_the_offsets_of_a_loop():
    population, prior = make_prior()
    enrolments = make_enrolments(prior, population)
    expected_GxP = np.stack([speaker_offset.estimate_offset(prior, e) for e in enrolments])
    stacked = stack(enrolments)
    offset_GxP = speaker_offset.estimate_offset(prior, stacked)
    np.testing.assert_allclose(offset_GxP, expected_GxP, rtol=1e-10)
    square = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), stacked)
    offset_2x2xP = speaker_offset.estimate_offset(prior, square)
    np.testing.assert_allclose(offset_2x2xP.reshape(4, -1), expected_GxP, rtol=1e-10)
    mapped = jax.vmap(speaker_offset.estimate_offset, (None, 0))
    offset_GxP = mapped(jax.tree.map(jnp.asarray, prior), jax.tree.map(jnp.asarray, stacked))
    np.testing.assert_allclose(offset_GxP, expected_GxP, rtol=1e-3, atol=1e-5)


def test_the_order_and_the_portions_of_utterances_do_not_matter():
    population, prior = make_prior()
    rng = np.random.default_rng(5)
    y_NxP = make_utterances(rng, make_speaker(rng, population), rng.integers(5, size=9))
    expected_P = offset_of(prior, y_NxP)
    np.testing.assert_allclose(offset_of(prior, y_NxP[::-1]), expected_P, rtol=1e-10)
    portions = speaker_offset.enrol(prior, enrol(prior, y_NxP[:2]), y_NxP[2:])
    assert portions.count == 9
    offset_P = speaker_offset.estimate_offset(prior, portions)
    np.testing.assert_allclose(offset_P, expected_P, rtol=1e-10)


def test_the_offset_does_not_contain_the_mean_of_a_single_enrolled_emotion():
    population, prior = make_prior(columns=32, speakers=30, emotion=0.5)
    rng = np.random.default_rng(6)
    within_P = prior.utterance_P + prior.interaction_P + (prior.emotion_CxP**2).mean(0)
    gain_P = prior.between_P / (prior.between_P + within_P / 8)
    errors = []
    for emotion in np.tile(np.arange(5), 6):
        speaker = make_speaker(rng, population)
        y_NxP = make_utterances(rng, speaker, np.full(8, emotion))
        plain_P = gain_P * (y_NxP.mean(0) - prior.mean_P)
        along = population.emotion_CxP[emotion] / (population.emotion_CxP[emotion] ** 2).sum()
        error_2xP = np.stack([offset_of(prior, y_NxP), plain_P]) - speaker.offset_P
        errors.append(error_2xP @ along)
    share, plain_share = np.mean(errors, 0)  # of the emotion's mean that is in the offset
    assert plain_share > 0.3
    assert abs(share) < 0.25 * plain_share


def test_the_fitted_variances_are_those_of_the_simulation():
    _, prior = make_prior(columns=40, speakers=60, between=0.4, emotion=0.3, interaction=0.2)
    assert prior.utterance_P.mean() == pytest.approx(UTTERANCE, rel=0.05)
    # A further speaker also differs by the error of the emotions' means: 1/60 of 0.2 + 1/5.
    assert prior.interaction_P.mean() == pytest.approx(0.2 + 0.4 / 60, rel=0.1)
    # A speaker's mean over five emotions contains a fifth of the interaction.
    assert prior.between_P.mean() == pytest.approx(0.4 + 0.2 / 5, rel=0.1)
    assert (prior.emotion_CxP**2).mean() == pytest.approx(0.3, rel=0.1)
    assert 30 < prior.dimensions <= 40


def test_few_training_speakers_make_the_means_of_the_emotions_uncertain():
    _, prior = make_prior(columns=400, speakers=4, interaction=0.2)
    assert prior.interaction_P.mean() == pytest.approx(0.2 + 0.4 / 4, rel=0.1)


def test_correlated_columns_count_as_fewer_dimensions():
    rng = np.random.default_rng(7)
    y_NxP, speaker_N, emotion_N = make_training_data(rng, make_population(rng, 4), 30)
    copies = speaker_offset.fit_speaker_prior(np.repeat(y_NxP, 5, 1), speaker_N, emotion_N)
    single = speaker_offset.fit_speaker_prior(y_NxP, speaker_N, emotion_N)
    assert copies.dimensions == pytest.approx(single.dimensions)


def test_unbalanced_emotions_and_incomplete_speakers_do_not_bias_the_means():
    rng = np.random.default_rng(8)
    speaker_P, emotion_P = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    emotion_P -= emotion_P.mean(0)
    # Each speaker has two neighbouring emotions, with different numbers of utterances.
    speaker_N, emotion_N = [], []
    for speaker in range(6):
        for emotion, count in ((speaker % 3, 9), (speaker % 3 + 1, 1)):
            speaker_N += [speaker] * count
            emotion_N += [emotion] * count
    y_NxP = 5 + speaker_P[speaker_N] + emotion_P[emotion_N]
    prior = speaker_offset.fit_speaker_prior(y_NxP, speaker_N, emotion_N)
    np.testing.assert_allclose(prior.mean_P, 5 + speaker_P.mean(0), atol=1e-10)
    np.testing.assert_allclose(prior.emotion_CxP, emotion_P, atol=1e-10)
    np.testing.assert_allclose(prior.utterance_P, 0, atol=1e-10)
    np.testing.assert_allclose(prior.interaction_P, 0, atol=1e-10)


def make_degenerate_data(name):
    rng = np.random.default_rng(9)
    population = make_population(rng, 80 if name == 'many_columns' else 5)
    speakers = 1 if name == 'one_speaker' else 4
    per_emotion = 1 if name in ('one_utterance', 'many_columns') else 3
    y_NxP, speaker_N, emotion_N = make_training_data(rng, population, speakers, per_emotion)
    if name == 'one_emotion':
        emotion_N = np.zeros_like(emotion_N)
    elif name == 'confounded':
        speaker_N = emotion_N
    elif name == 'constant_columns':
        y_NxP[:, 1:3] = 7
    elif name == 'all_constant':
        y_NxP[:] = 7
    elif name == 'single_row':
        y_NxP, speaker_N, emotion_N = y_NxP[:1], speaker_N[:1], emotion_N[:1]
    return y_NxP, speaker_N, emotion_N


@pytest.mark.parametrize(
    'name',
    [
        'one_speaker',
        'one_emotion',
        'confounded',
        'one_utterance',
        'constant_columns',
        'all_constant',
        'many_columns',
        'single_row',
    ],
)
def test_degenerate_training_data_give_finite_offsets(name):
    y_NxP, speaker_N, emotion_N = make_degenerate_data(name)
    prior = speaker_offset.fit_speaker_prior(y_NxP, speaker_N, emotion_N)
    arrays = jax.tree.map(jnp.asarray, prior)
    for field in prior:
        assert np.isfinite(field).all()
    rng = np.random.default_rng(10)
    for count in (1, 2, 30):
        rows_NxP = y_NxP.mean(0) + rng.normal(size=(count, y_NxP.shape[1]))
        offset_P = offset_of(prior, rows_NxP)
        assert np.isfinite(offset_P).all()
        assert (np.abs(offset_P) < 10).all()
        assert np.isfinite(offset_of(arrays, jnp.asarray(rows_NxP))).all()


def test_float32_utterances_give_the_offsets_of_float64():
    rng = np.random.default_rng(11)
    population = make_population(rng, 6)
    y_NxP, speaker_N, emotion_N = make_training_data(rng, population, 20)
    y_NxP = y_NxP.astype(np.float32)
    prior = speaker_offset.fit_speaker_prior(y_NxP, speaker_N, emotion_N)
    prior32 = SpeakerPrior(*[np.asarray(field, np.float32) for field in prior])
    rows_NxP = make_utterances(rng, make_speaker(rng, population, 20.0), rng.integers(5, size=8))
    expected_P = offset_of(prior, rows_NxP)
    offset_P = offset_of(prior, rows_NxP.astype(np.float32))
    np.testing.assert_allclose(offset_P, expected_P, rtol=1e-4)
    offset_P = offset_of(prior32, rows_NxP.astype(np.float32))
    np.testing.assert_allclose(offset_P, expected_P, rtol=1e-3)


def test_statistics_are_means_and_logarithms_of_standard_deviations():
    mean_NxM, variance_NxM = np.array([[1.0, 2.0]]), np.array([[4.0, 0.0]])
    y_NxP = speaker_offset.utterance_statistics(mean_NxM, variance_NxM, is_pooled=False)
    np.testing.assert_allclose(y_NxP, [[1, 2, np.log(2), np.log(1e-4)]])
    offset_M, log_deviation_M = speaker_offset.split_offset(y_NxP[0], 2)
    np.testing.assert_allclose(offset_M, [1, 2])
    np.testing.assert_allclose(log_deviation_M, [np.log(2), np.log(1e-4)])


def test_pooled_states_have_no_deviation():
    mean_NxM = np.array([[1.0, 2.0]])
    y_NxP = speaker_offset.utterance_statistics(mean_NxM, np.zeros((1, 2)), is_pooled=True)
    np.testing.assert_array_equal(y_NxP, mean_NxM)
    offset_M, log_deviation_M = speaker_offset.split_offset(y_NxP[0], 2)
    np.testing.assert_array_equal(offset_M, [1, 2])
    np.testing.assert_array_equal(log_deviation_M, [0, 0])
