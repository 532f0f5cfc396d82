"""openSMILE's eGeMAPS functionals and logistic regression.

  pip install opensmile scikit-learn soundfile
  python tests/benchmarks/external/egemaps.py --split split.csv --source CORPUS --out OUT

The 88 functionals of eGeMAPSv02 (Eyben et al. 2016, doi:10.1109/TAFFC.2015.2457417) are
standardised by the training part. The penalty of the regression is chosen by the UAR on dev.
"""

import folds
import linear
import numpy as np
import opensmile
import soundfile

PROGRESS_EVERY = 100  # utterances
COMMAND = 'python tests/benchmarks/external/egemaps.py --split split.csv --source CORPUS --out OUT'


def compute_functionals(paths: dict[str, str]) -> dict[str, np.ndarray]:
    """Returns the functionals of each utterance, of shape (88,)."""
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )
    vectors = {}
    for n, (utterance, path) in enumerate(paths.items(), 1):
        wave_NxK, rate = soundfile.read(path, dtype='float32', always_2d=True)
        frame = smile.process_signal(wave_NxK.mean(1), rate)
        vectors[utterance] = np.nan_to_num(frame.to_numpy()[0])
        if n % PROGRESS_EVERY == 0 or n == len(paths):
            print(f'eGeMAPS: {n} of {len(paths)} utterances', flush=True)
    return vectors


def main() -> None:
    """Parses the command line, trains, and writes the submission."""
    arguments = folds.make_parser(__doc__).parse_args()
    split = folds.read_split(arguments.split, arguments.source)
    vectors = compute_functionals(split.paths)
    submission = folds.Submission(arguments.out, split.classes)
    parameters = linear.run(split, {'eGeMAPSv02': vectors}, submission)
    submission.write(
        {
            'name': 'eGeMAPS + logistic regression',
            'authors': folds.AUTHORS,
            'description': 'The 88 functionals of eGeMAPSv02 '
            f'(opensmile {opensmile.__version__}), standardised, and a logistic regression with '
            'balanced classes. Its penalty is chosen on dev.',
            'training_data': folds.TASK_ONLY,
            'parameters': parameters,
            'licence': 'Apache-2.0 (script); openSMILE is free for research',
            'url': 'https://github.com/audeering/opensmile-python',
            'command': COMMAND,
        }
    )


if __name__ == '__main__':
    main()
