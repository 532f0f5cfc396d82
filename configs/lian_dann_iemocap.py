"""Lian et al. 2019 (arXiv 1910.13807): IEMOCAP, four classes, a speaker adversary beside plain training.

The same as dann_iemocap, whose header says what is the paper's and what is ours. The two rows of the paper's line of work are

    python -m jaxser.main --config=configs/lian_dann_iemocap.py
    python -m jaxser.main --config=configs/lian_dann_iemocap.py --config.protocol.adapt=transductive \\
        --workdir=runs/lian_transductive

The first hears nothing of the tested session; the second hears it without its emotions, and every result calls it transductive.
Not measured: IEMOCAP's audio was not at hand. On real speech at hand, configs/table.py:emodb
(RESULTS.md), `dann` differs from plain training by -0.002 [-0.036, +0.033] over 10 speakers.
"""

from configs import dann_iemocap


def get_config():
    return dann_iemocap.get_config()
