"""TDNN-LSTM on log-mel features, trained from scratch in PyTorch.

  pip install torch librosa soundfile
  python tests/benchmarks/external/torch_tdnn_lstm.py --split split.csv --source CORPUS --out OUT
      [--seed 0 1 2]

Network, optimiser and augmentation are those of tests/benchmarks/torch_loop.py, with the sizes of
configs/base.py, without the speaker head. Each fold trains for 30 epochs. The epoch is chosen by
the UAR on dev, from the second half of training.
"""

import math
import sys
import time
from pathlib import Path

import folds
import librosa
import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch_loop

RATE, BANDS = 16_000, 64
TDNN = ((5, 1, 2), (3, 1, 2), (3, 1, 1))  # (kernel, dilation, stride) of each layer
SIZES = {'tdnn': TDNN, 'width': 64, 'hidden': 64, 'dim': 64}
EPOCHS, BATCH, FRAMES = 30, 32, 300
WARMUP, CLIP, DROPOUT, MASKED = 0.1, 5.0, 0.1, 0.1
SELECT_FROM = 0.5  # share of the epochs that are not selected
COMMAND = (
    'python tests/benchmarks/external/torch_tdnn_lstm.py --split split.csv --source CORPUS'
    ' --out OUT --seed'
)


def compute_log_mel(path: str) -> np.ndarray:
    """Returns mel_TxM: 64 bands, windows of 25 ms every 10 ms."""
    wave_NxK, rate = soundfile.read(path, dtype='float32', always_2d=True)
    wave_N = wave_NxK.mean(1)
    if rate != RATE:
        wave_N = librosa.resample(wave_N, orig_sr=rate, target_sr=RATE)
    mel_MxT = librosa.feature.melspectrogram(
        y=wave_N, sr=RATE, n_fft=512, win_length=400, hop_length=160, n_mels=BANDS, fmin=20.0
    )
    return np.log(np.maximum(mel_MxT.T, 1e-10)).astype(np.float32)


class Features:
    """The log-mel features of a fold, normalised by the mean and variance of its training part."""

    def __init__(self, mel_by_utterance: dict[str, np.ndarray], train: folds.Part):
        self.mel_by_utterance = mel_by_utterance
        frames_RxM = np.concatenate([mel_by_utterance[name] for name in train.utterance_N])
        self.mean_M = frames_RxM.mean(0)
        self.scale_M = 1 / frames_RxM.std(0)

    def whole(self, utterance: str) -> np.ndarray:
        """Returns mel_TxM of an utterance."""
        return (self.mel_by_utterance[utterance] - self.mean_M) * self.scale_M

    def crop(self, utterance: str, random: np.random.Generator) -> np.ndarray:
        """Returns mel_TxM of FRAMES frames: a random part, or a short utterance repeated."""
        mel_TxM = self.whole(utterance)
        if len(mel_TxM) <= FRAMES:
            return np.resize(mel_TxM, (FRAMES, BANDS))
        start = random.integers(len(mel_TxM) - FRAMES + 1)
        return mel_TxM[start : start + FRAMES]


@torch.inference_mode()
def apply_network(network: nn.Module, features: Features, utterances: list[str]):
    """Returns posterior_NxC and z_NxD of whole utterances."""
    network.eval()
    posteriors, representations = [], []
    for utterance in utterances:
        mel_1xTxM = torch.from_numpy(features.whole(utterance))[None]
        z_1xD = network.represent(mel_1xTxM)
        posteriors.append(F.softmax(network.emotion(z_1xD), -1)[0])
        representations.append(z_1xD[0])
    network.train()
    return torch.stack(posteriors).numpy(), torch.stack(representations).numpy()


class Training:
    """The training of one fold with one seed."""

    def __init__(self, fold: folds.Fold, features: Features, classes: int, seed: int):
        torch.manual_seed(seed)
        self.random = np.random.default_rng(seed)
        self.fold = fold
        self.features = features
        self.network = torch_loop.Network(
            BANDS, domain_hidden=1, emotions=classes, domains=1, dropout=DROPOUT, **SIZES
        )
        self.steps = EPOCHS * -(-len(fold.train.class_N) // BATCH)
        self.optimiser, self.schedule = torch_loop.make_optimiser(
            self.network, round(WARMUP * self.steps), self.steps
        )
        count_C = np.bincount(fold.train.class_N, minlength=classes)
        weight_C = count_C.sum() / np.maximum(count_C, 1) / classes
        self.weight_C = torch.from_numpy(weight_C.astype(np.float32))

    def train_epoch(self) -> None:
        """Trains on every utterance once."""
        order_N = self.random.permutation(len(self.fold.train.class_N))
        for start in range(0, len(order_N), BATCH):
            rows = order_N[start : start + BATCH]
            if len(rows) == 1:
                continue  # BatchNorm needs two
            names = [self.fold.train.utterance_N[row] for row in rows]
            crops = np.stack([self.features.crop(name, self.random) for name in names])
            mel_BxTxM = torch.from_numpy(crops)
            mel_BxTxM = torch_loop.mask(torch_loop.mask(mel_BxTxM, 1, MASKED), 2, MASKED)
            scores_BxC = self.network.emotion(self.network.represent(mel_BxTxM))
            class_B = torch.from_numpy(self.fold.train.class_N[rows])
            loss = F.cross_entropy(scores_BxC, class_B, weight=self.weight_C)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
            self.optimiser.step()
            self.schedule.step()

    def run(self) -> float:
        """Trains, and leaves the network as it was in the best epoch; returns its UAR on dev."""
        best_uar = -1.0
        best_state = {}
        for epoch in range(EPOCHS):
            self.train_epoch()
            if epoch < math.floor(SELECT_FROM * EPOCHS):
                continue
            posterior_NxC, _ = self.predict(self.fold.dev)
            dev_uar = folds.uar(self.fold.dev.class_N, posterior_NxC.argmax(-1))
            if dev_uar > best_uar:
                best_uar = dev_uar
                state = self.network.state_dict()
                best_state = {name: value.clone() for name, value in state.items()}
        self.network.load_state_dict(best_state)
        return best_uar

    def predict(self, part: folds.Part):
        """Returns posterior_NxC and z_NxD of a part."""
        return apply_network(self.network, self.features, part.utterance_N)


def train_all(split: folds.Split, seeds: list[int], submission: folds.Submission) -> int:
    """Trains every fold with every seed; returns the number of parameters that classify."""
    mel_by_utterance = {}
    for utterance, path in split.paths.items():
        mel_by_utterance[utterance] = compute_log_mel(path)
    print(f'log-mel: {len(mel_by_utterance)} utterances', flush=True)
    for fold in split.folds:
        features = Features(mel_by_utterance, fold.train)
        for seed in seeds:
            began = time.perf_counter()
            training = Training(fold, features, len(split.classes), seed)
            dev_uar = training.run()
            posterior_NxC, _ = training.predict(fold.test)
            submission.add(fold.number, seed, fold.test, posterior_NxC)
            seconds = time.perf_counter() - began
            print(
                f'fold {fold.number}, seed {seed}: dev UAR {dev_uar:.3f}, {seconds:.0f} s',
                flush=True,
            )
            if seed == seeds[0]:
                for part in (fold.train, fold.dev, fold.test):
                    _, z_NxD = training.predict(part)
                    submission.add_representations(fold.number, part.utterance_N, z_NxD)
    count = 0
    for name, weight in training.network.named_parameters():
        count += 0 if name.startswith('domain') else weight.numel()
    return count


def main() -> None:
    """Parses the command line, trains, and writes the submission."""
    parser = folds.make_parser(__doc__)
    parser.add_argument('--seed', type=int, nargs='+', default=[0], help='one or several')
    arguments = parser.parse_args()
    split = folds.read_split(arguments.split, arguments.source)
    submission = folds.Submission(arguments.out, split.classes)
    parameters = train_all(split, arguments.seed, submission)
    submission.write(
        {
            'name': 'TDNN-LSTM on log-mel (PyTorch)',
            'authors': folds.AUTHORS,
            'description': f'TDNN(64)-LSTM(64) from scratch (torch {torch.__version__}), 30 epochs '
            'with AdamW and SpecAugment, classes balanced. The epoch is chosen on dev.',
            'training_data': folds.TASK_ONLY,
            'parameters': parameters,
            'licence': 'Apache-2.0',
            'url': None,
            'command': f'{COMMAND} {" ".join(map(str, arguments.seed))}',
        }
    )


if __name__ == '__main__':
    main()
