"""Mean states of a frozen Whisper encoder and logistic regression, in PyTorch.

  pip install torch transformers scikit-learn soundfile
  python tests/benchmarks/external/whisper_states.py --split split.csv --source CORPUS --out OUT
      [--encoder openai/whisper-tiny.en]
  python tests/benchmarks/external/whisper_states.py --split split.csv --out OUT
      --states data/ravdess/whisper-5x384-pooled-0123abcd.npz

With --states, the mean states are those that `data_pipelines.pack` has packed.
The states of each layer are averaged over the frames of the utterance. Audio is not padded to 30
seconds. The layer and the penalty of the regression are chosen by the UAR on dev.
"""

import re

import folds
import linear
import numpy as np
import soundfile
import torch
import transformers

PROGRESS_EVERY = 100  # utterances
RATE = 16_000  # Hz
HOP = 160  # samples
FRAMES_PER_STATE = 2
COMMAND = (
    'python tests/benchmarks/external/whisper_states.py --split split.csv --source CORPUS --out OUT'
    ' --encoder ENCODER'
)
STATES_COMMAND = (
    'python tests/benchmarks/external/whisper_states.py --split split.csv --out OUT --states STATES'
)
PACKED_NAME = re.compile(r'(\d+)x(\d+)-pooled')


class StateMeans:
    """Computes the mean state of an utterance in every layer."""

    def __init__(self, name: str):
        model, report = transformers.WhisperModel.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True
        )
        missing = [key for key in report['missing_keys'] if key.startswith('encoder.')]
        if missing:
            raise SystemExit(
                f'{name} lacks {len(missing)} weights of the encoder: {missing[0]}, ...'
            )
        self.encoder = model.encoder.eval()
        self.positions_PxD = self.encoder.embed_positions.weight.detach().clone()
        self.features = transformers.WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
        self.parameters = sum(weight.numel() for weight in self.encoder.parameters())

    def compute(self, path: str) -> np.ndarray:
        """Returns mean_LxD of the states of a file at 16 kHz: of the input and of each layer."""
        wave_NxK, rate = soundfile.read(path, dtype='float32', always_2d=True)
        if rate != RATE:
            raise SystemExit(f'{path} has {rate} Hz; expected {RATE} Hz. Convert the corpus first.')
        longest = len(self.positions_PxD) * FRAMES_PER_STATE * HOP
        wave_N = wave_NxK.mean(1)[:longest]
        states = -(-len(wave_N) // (FRAMES_PER_STATE * HOP))
        padded_N = np.pad(wave_N, (0, states * FRAMES_PER_STATE * HOP - len(wave_N)))
        inputs = self.features(padded_N, sampling_rate=RATE, return_tensors='pt', padding=False)
        # The encoder accepts one length only: that of its positions.
        self.encoder.config.max_source_positions = states
        self.encoder.embed_positions = torch.nn.Embedding.from_pretrained(
            self.positions_PxD[:states]
        )
        with torch.inference_mode():
            output = self.encoder(inputs.input_features, output_hidden_states=True)
        return torch.stack([state[0].mean(0) for state in output.hidden_states]).numpy()


def compute_means(means: StateMeans, paths: dict[str, str]) -> dict[str, dict[str, np.ndarray]]:
    """Returns the mean state of each utterance by the name of the layer."""
    by_layer: dict[str, dict[str, np.ndarray]] = {}
    for n, (utterance, path) in enumerate(paths.items(), 1):
        for layer, mean_D in enumerate(means.compute(path)):
            by_layer.setdefault(f'layer {layer}', {})[utterance] = mean_D
        if n % PROGRESS_EVERY == 0 or n == len(paths):
            print(f'Whisper: {n} of {len(paths)} utterances', flush=True)
    return by_layer


def read_means(file: str) -> dict[str, dict[str, np.ndarray]]:
    """Returns the mean state of each utterance by the name of the layer, from a packed corpus.

    A row of `mel_RxM` has the mean and the standard deviation of the states of every layer. The
    name of the file says how many layers there are, and their width.
    """
    sizes = PACKED_NAME.search(file)
    if sizes is None:
        raise SystemExit(
            f'--states is {file}; expected a file such as whisper-5x384-pooled-0123abcd.npz, whose '
            'name says how many layers there are, and their width.'
        )
    layers, width = map(int, sizes.groups())
    by_layer = {}
    with np.load(file, allow_pickle=False) as content:
        utterances = content['text_utterance'].tolist()
        moment_NxLxM = content['mel_RxM'].astype(np.float32).reshape(-1, layers, 2 * width)
    for layer in range(layers):
        mean_NxD = moment_NxLxM[:, layer, :width]
        by_layer[f'layer {layer}'] = dict(zip(utterances, mean_NxD))
    return by_layer


def main() -> None:
    """Parses the command line, trains, and writes the submission."""
    parser = folds.make_parser(__doc__, needs_audio=False)
    parser.add_argument(
        '--source', nargs='+', help='the folder of the corpus; of several, CORPUS=PATH for each'
    )
    parser.add_argument('--states', help='the .npz of packed states, in place of --source')
    parser.add_argument(
        '--encoder',
        default='openai/whisper-tiny.en',
        help='a Hugging Face folder or name (%(default)s)',
    )
    parser.add_argument('--title', default='Whisper tiny.en', help='its name on the leaderboard')
    arguments = parser.parse_args()
    if bool(arguments.source) == bool(arguments.states):
        parser.error('give either --source or --states')
    split = folds.read_split(arguments.split, arguments.source or [])
    command, origin, encoder_parameters = STATES_COMMAND, 'prepared by jaxser', None
    name = f'{arguments.title} states + logistic regression'
    if arguments.states:
        candidates = read_means(arguments.states)
    else:
        means = StateMeans(arguments.encoder)
        candidates = compute_means(means, split.paths)
        encoder_parameters = means.parameters
        command, origin = COMMAND, f'transformers {transformers.__version__}'
        name += ' (PyTorch)'
    submission = folds.Submission(arguments.out, split.classes)
    parameters = linear.run(split, candidates, submission)
    submission.write(
        {
            'name': name,
            'authors': folds.AUTHORS,
            'description': 'The mean state of one layer of a frozen encoder '
            f'({origin}), standardised, and a logistic regression with balanced classes. Layer '
            'and penalty are chosen on dev.',
            'training_data': f'{folds.TASK_ONLY}; the encoder: 680,000 hours of speech from the '
            'web with transcripts (Whisper)',
            'parameters': None if encoder_parameters is None else parameters + encoder_parameters,
            'licence': 'Apache-2.0 (script); the weights of Whisper are MIT',
            'url': 'https://github.com/openai/whisper',
            'command': command,
        }
    )


if __name__ == '__main__':
    main()
