"""A prepared corpus of tones with ratings, and small sweeps on it."""

import csv
from pathlib import Path

import numpy as np
import soundfile
from helpers import tiny_config

from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage.preparation import prepare_corpus
from jaxser.serving import bundling
from jaxser.training import experiment

RATINGS = ('arousal', 'valence')
RATE = 8_000
TAKES = 12  # of each speaker
SPEAKERS = 6


def rated_tone(random: np.random.Generator, speaker: int, arousal: float, valence: float):
    """Returns 0.3 to 0.9 s of a tone: loud if arousal is high, with a tremolo if valence is."""
    t = np.arange(int(RATE * random.uniform(0.3, 0.9))) / RATE
    wave = np.sin(2 * np.pi * (150 + 40 * speaker) * t)
    wave *= 1 + np.sin(2 * np.pi * (8 + 5 * valence) * t)
    return 0.05 * np.exp(1.2 * arousal) * wave + 0.01 * random.standard_normal(t.size)


def prepare(folder: Path) -> None:
    """Writes a list of six speakers and its tones, and prepares them as the corpus `folder`.

    The emotion is angry if arousal is high, else sad.
    """
    random = np.random.default_rng(0)
    with open(folder / 'list.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['path', 'speaker', 'emotion', 'language', *RATINGS])
        for speaker in range(SPEAKERS):
            for take in range(TAKES):
                arousal = -0.9 + 1.8 * take / (TAKES - 1)
                valence = random.uniform(-0.9, 0.9)
                name = f'{speaker}_{take}.wav'
                soundfile.write(folder / name, rated_tone(random, speaker, arousal, valence), RATE)
                emotion = 'angry' if arousal > 0 else 'sad'
                language = 'de' if speaker % 2 else 'en'
                writer.writerow([name, f's{speaker}', emotion, language, arousal, valence])
    prepare_corpus('folder', folder / 'list.csv', folder / 'data', LogMel(), workers=1)


def train(path: Path, data: Path, task: str, **keys) -> None:
    """Trains a sweep of one run a fold for a task in `path`, and bundles its model.

    `keys` change the configuration.
    """
    config = tiny_config.get_config()
    settings = {'data.dir': str(data), 'data.ratings': RATINGS, 'task': task}
    settings |= {'train.select': 'best dev CCC', 'train.epochs': 2, 'method': 'dann'}
    config.update_from_flattened_dict(settings | keys)
    config.sweep.lam = (0.5,)
    experiment.run_experiment(config, path)
    bundling.bundle_model(path)
