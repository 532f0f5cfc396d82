r"""Lian et al. 2019 (arXiv 1910.13807): IEMOCAP, four classes, a speaker adversary.

The two settings of the paper's line of work are

    python -m jaxser.main --config=configs/lian_dann_iemocap.py
    python -m jaxser.main --config=configs/lian_dann_iemocap.py \
        --config.protocol.adapt=transductive --workdir=runs/lian_transductive

In the first, the tested session is not part of the training data. In the second, training uses its
audio without its emotions, and every result says that it is transductive.

Cost: 10 runs each as one program.

Result: not measured, as IEMOCAP's audio was not available. On real speech that was available,
configs/table.py:emodb (docs/results/log_mel.md), `dann` differs from plain training by
-0.002 [-0.036, +0.033] over 10 speakers.

The same as dann_iemocap.py, whose header says what is from the paper and what is this project's
choice.
"""

from configs import dann_iemocap


def get_config():
    return dann_iemocap.get_config()
