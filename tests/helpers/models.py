"""Models with random weights, and batches of features for them."""

import hashlib
import json
from pathlib import Path

import jax
import numpy as np
from helpers import tiny_config

from data_pipelines.features import log_mel, speaker_offset
from data_pipelines.labels import has_classes, has_ratings
from jaxser import plugins
from jaxser.interfaces import Sizes
from jaxser.serving.model import (
    METADATA_FILE,
    MODEL_FORMAT,
    WEIGHTS_FILE,
    Model,
    serialize_arrays,
)
from jaxser.serving.predictor import Predictor
from jaxser.training import step

BANDS = 64
SIZES = Sizes(BANDS, 2, {'speaker': 3, 'language': 2, 'corpus': 2}, 4)
GARBAGE = (np.nan, 1e4, -1e4)  # beyond the end of the first, second and third utterance
RUNS = 2


def make_hyper() -> dict[str, np.ndarray]:
    """Returns the hyper-parameters of two runs with different seeds."""
    zeros = np.zeros(RUNS)
    return {
        'seed': np.arange(RUNS),
        'fold': zeros.astype(int),
        'weight_decay': zeros,
        'lr': zeros,
    }


def make_random_model(**keys) -> tuple[step.Step, Model]:
    """Returns the step and a model of two runs, as if trained: no statistic has its first value.

    `keys` change the configuration. With the task `ratings` it predicts those of the configuration.
    """
    config = tiny_config.get_config()
    config.update_from_flattened_dict({'model.channels': (3, 4)} | keys)
    sizes = SIZES
    if has_ratings(config.task):
        sizes = SIZES._replace(ratings=len(config.data.ratings))
    encoder, method = plugins.make_method(config, sizes)
    run_step = step.make_step(encoder, method, sizes, config.train)
    state = jax.eval_shape(jax.vmap(run_step.init), make_hyper())
    random = np.random.default_rng(0)

    def random_array(leaf) -> np.ndarray:
        return random.uniform(0.1, 0.9, leaf.shape).astype(np.float32)

    shapes = {'params': state.params, 'batch_stats': state.batch_stats}
    arrays = jax.tree.map(random_array, shapes)
    arrays['params'] = jax.tree.map(lambda x: 4 * x - 2, arrays['params'])
    return run_step, Model(make_metadata(config, sizes), arrays)


def make_enrolment_model(**keys) -> Model:
    """Returns a random model of two runs in which speakers can be enrolled.

    Its priors are fitted to eight random speakers, whose features resemble those of `make_tone`.
    """
    _, model = make_random_model(**{'method': 'erm', 'model.batch_norm': 'none'} | keys)
    random = np.random.default_rng(2)
    speaker_N, emotion_N = np.repeat(np.arange(8), 12), np.tile([0, 1], 48)
    priors = []
    for _ in range(RUNS):
        speaker_SxP = random.normal(0, 1, (8, 2 * BANDS))
        emotion_CxP = random.normal(0, 0.5, (2, 2 * BANDS))
        centre_P = np.repeat([-8.0, 0.5], BANDS)
        noise_NxP = random.normal(0, 0.5, (len(speaker_N), 2 * BANDS))
        y_NxP = centre_P + speaker_SxP[speaker_N] + emotion_CxP[emotion_N] + noise_NxP
        priors.append(speaker_offset.fit_speaker_prior(y_NxP, speaker_N, emotion_N)._asdict())
    arrays = model.arrays | {
        'mean': random.normal(-8, 1, (RUNS, BANDS)).astype(np.float32),
        'scale': random.uniform(0.3, 0.6, (RUNS, BANDS)).astype(np.float32),
        'prior': jax.tree.map(lambda *values: np.stack(values), *priors),
    }
    facts = {'normalisation': 'speaker_enrolled', 'sha256': '5' * 64}
    return Model(model.metadata | facts, arrays)


def make_metadata(config, sizes: Sizes = SIZES) -> dict:
    """Returns what prediction reads of model.json; every utterance has its own statistics."""
    metadata = {
        'config': json.loads(config.to_json()),
        'classes': ['angry', 'sad'],
        'sizes': sizes._asdict(),
        'versions': {},
        'calibration': {'temperature': 1.7},
        'normalisation': 'utterance',
        'synthetic': False,
    }
    if has_ratings(config.task):
        metadata |= {'task': config.task, 'ratings': list(config.data.ratings)}
    if not has_classes(config.task):
        metadata['classes'] = []
        del metadata['calibration']
    return metadata


def write_model(folder: Path, model: Model) -> Path:
    """Writes the files of a model into a new folder, and returns it."""
    folder.mkdir()
    weights = serialize_arrays(model.arrays)
    facts = {
        'format': MODEL_FORMAT,
        'log_mel': log_mel.FORMAT_VERSION,
        'sha256': hashlib.sha256(weights).hexdigest(),
    }
    (folder / WEIGHTS_FILE).write_bytes(weights)
    (folder / METADATA_FILE).write_text(json.dumps(model.metadata | facts))
    return folder


def make_batches(shapes: tuple[tuple[int, int], ...]) -> dict[str, np.ndarray]:
    """Returns mel_0, frames_0, mel_1, ...: batches of the shapes (B, T).

    The utterances have random lengths, with garbage beyond their ends.
    """
    random = np.random.default_rng(1)
    batches = {}
    for n, (B, T) in enumerate(shapes):
        mel_BxTxM = random.normal(-8, 3, (B, T, BANDS)).astype(np.float16)
        frames_B = np.int32(random.integers(1, T + 1, B))
        for b, frames in enumerate(frames_B):
            mel_BxTxM[b, frames:] = GARBAGE[b]
        batches[f'mel_{n}'] = mel_BxTxM
        batches[f'frames_{n}'] = frames_B
    return batches


def predict_batches(predictor: Predictor, batches: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Returns output_BxO of each batch as jaxser.predict computes it, without the garbage."""
    posteriors = []
    for n in range(len(batches) // 2):
        utterances = []
        for mel_TxM, frames in zip(batches[f'mel_{n}'], batches[f'frames_{n}']):
            utterances.append(mel_TxM[:frames])
        posteriors.append(np.stack(predictor._predict_outputs(utterances)))
    return posteriors
