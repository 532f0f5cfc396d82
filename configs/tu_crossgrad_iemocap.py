"""Tu et al. 2019 (arXiv 1903.09606), CGT: IEMOCAP, four classes, cross-gradient training.

Its control and plain training are trained too.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release
    python -m jaxser.main --config=configs/tu_crossgrad_iemocap.py

Cost: 135 runs as three programs: plain training, and four eps for crossgrad and for labelgrad,
which perturbs only along the emotion gradient.

Result: not measured, as IEMOCAP's audio was not available. On real speech that was available,
configs/table.py:emodb (docs/results/log_mel.md), `crossgrad` differs from plain training by
-0.006 [-0.030, +0.018] over 10 speakers.

A re-implementation on the network of tu_dat_iemocap.py. From the paper: cross-gradient training
between the emotion and the speaker classifier. From CrossGrad's public code: alpha 0.5, input
gradients clipped at 0.1, eps from 0.5 to 2.5. This project's choice: all else.
"""

from configs import tu_dat_iemocap

EPS = (0.5, 1.0, 2.0, 2.5)


def get_config():
    config = tu_dat_iemocap.get_config()
    config.sweep.lam = ()
    runs = [{'method': 'erm'}]
    for method in ('crossgrad', 'labelgrad'):
        for eps in EPS:
            runs.append({'method': method, 'eps': eps})
    config.sweep.runs = tuple(runs)
    return config
