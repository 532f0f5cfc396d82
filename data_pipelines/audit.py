"""What training could know of dev and test beforehand, so that a leak cannot be trained on by accident.

  python -m data_pipelines.audit --config=configs/dann_demo.py [--config.KEY=VALUE ...] [--allow_leak=speaker,audio]

A speaker or a recording in two parts of a fold is a leak and refused, and so is one of dev or test in the identity batches.
Recordings are the same if their decoded samples are, or if their signatures (log_mel.signature) are nearly: that finds copies of
another level, codec (MP3, OGG, 8 bits), rate, with a little noise, or with silence cut from or put to their ends. It does NOT
find an excerpt of a longer recording, two recordings joined, another speed or pitch, added music, echo or loud noise, nor codecs
that leave less than 4 kHz or about 16 kbit/s; and whom the corpus calls by two names are two speakers, unless they share a
recording.

COPY and CLOSE are set on real speech: the 2,179 utterances of RAVDESS, URDU and the four-class EMO-DB, and 13 copies each of 320
of them. The most alike takes that are no copies (one actor, sentence, emotion) reach 0.904, those of two speakers 0.800. Of 4,160
copies 3 are missed, all with their ends cut off; what keeps its ends reaches 0.975. Synthetic speech repeats itself: two emotions
of one voice of the demo reach 0.956, two voices 0.939.
`python -m pytest -m slow tests/data_pipelines/test_audit.py -s` measures this anew.
"""

import sys

import numpy as np

from data_pipelines.errors import exit_on_user_error
from data_pipelines.protocols.audit import check_leaks, inspect_folds
from data_pipelines.protocols.audit_report import print_class_priors, print_findings, print_parts
from data_pipelines.protocols.folds import Protocol


def main() -> None:
    """Prints the audit of a configuration's folds; ends with 2 on a leak that is not allowed."""
    from configs import command  # which reads LEAKS here
    from data_pipelines.protocols.split import make_split
    from jaxser.configuration import resolve

    if {'--help', '-h', '-help'} & set(sys.argv[1:]):
        print(__doc__)
        return
    with exit_on_user_error():
        config = command.parse_flags(sys.argv, 'data_pipelines.audit')
        config = resolve.resolve_config(config)
        split, protocol = make_split(config), Protocol(**config.protocol)
        print(
            '\n'.join(
                [
                    protocol.title,
                    f'split {split.sha256}',
                    *split.describe_left_out(config.data.labels),
                    '',
                ]
            )
        )
        print_parts(split.utterances, split.folds)
        print_class_priors(split.utterances[np.flatnonzero(split.utterances.text['emotion'] != '')])
        findings = inspect_folds(split.utterances, split.folds, protocol)
        print_findings(findings)
        check_leaks(findings)


if __name__ == '__main__':
    main()
