"""Notes that several tasks share: what to know of a release."""

DIDAN = (
    'Published results on the pairs of DIDAN (arXiv 2302.08921) adapt to the target without its '
    'labels: this task does not.'
)
ENTERFACE = (
    "Subject 6 of eNTERFACE'05 is left out: three releases differ in this subject only, and so "
    'have the same split.'
)
ESD = (
    'The hash is that of files in 0001/Angry. Copies with the folders train, evaluation and test '
    'list the files in another order: move the files up.'
)
MSP_PODCAST = (
    'Test1 of the release is tested, and Development is dev. Utterances of unknown speakers are '
    'in training only. Releases differ in size: name yours with results. The challenge of '
    'Interspeech 2025 had this task, with a test part whose labels are not public: its figures '
    'are of other utterances.'
)
URDU = 'Most speakers of URDU have one emotion only, so that it serves as a target only.'
