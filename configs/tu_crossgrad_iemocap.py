"""Tu et al. 2019 (arXiv 1903.09606), CGT: IEMOCAP, four classes, cross-gradient training beside its control and plain training.

A re-instantiation on the network of tu_dat_iemocap. The paper's: cross-gradient training between the emotion and the speaker
classifier. Of CrossGrad's public code: alpha 0.5, input gradients clipped at 0.1, eps from 0.5 to 2.5. Ours: the rest.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release
    python -m jaxser.main --config=configs/tu_crossgrad_iemocap.py

135 runs as three programs: plain training, and four eps for crossgrad and for labelgrad, which perturbs along the emotion alone.
Not measured: IEMOCAP's audio was not at hand. On real speech at hand, configs/table.py:emodb
(RESULTS.md), `crossgrad` differs from plain training by -0.006 [-0.030, +0.018] over 10 speakers.
"""

from configs import tu_dat_iemocap

EPS = (0.5, 1.0, 2.0, 2.5)


def get_config():
    config = tu_dat_iemocap.get_config()
    config.sweep.lam = ()
    perturbed = tuple({'method': m, 'eps': eps} for m in ('crossgrad', 'labelgrad') for eps in EPS)
    config.sweep.runs = ({'method': 'erm'}, *perturbed)
    return config
