r"""IEMOCAP, four classes (5,531 utterances): TAP (lam 0.001) and lam 0, fine-tuning HuBERT.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release \
        --features upstream:FOLDER --states heard
    python -m jaxser.main --config=configs/gat_tap_hubert_iemocap.py --config.model.upstream=FOLDER

FOLDER is a Hugging Face folder (config.json, model.safetensors), which you download.

Cost: 10 runs (5 folds, leave one session out) as one program, in groups of as many runs as fit.

Result: not measured, as neither IEMOCAP's audio nor HuBERT's weights were available.

TAP of Gat et al. 2022 (arXiv 2202.01252): the whole encoder is trained by gradient ascent on the
speaker loss of identity batches. From the paper: fine-tuned HuBERT, four classes, 5 folds, 2 test
speakers, selection of the epoch on validation data, the four steps, lam as the step size of the
ascent, and weighted accuracy, which is WA here: 69.9 with HuBERT Base, 74.2 with HuBERT Large, at
lam = 1e-3. This project's defaults: the weighted sum of layers, AdamW with its schedule and rates,
and the next session as validation data.

HuBERT Large needs --config.model.remat=True, and --config.model.accumulate=4 if memory is short.
For adapters of rank 8 in place of changes to all weights, in less memory, add

    --config.model.lora=8 --config.model.upstream_rate=1 --workdir=runs/tap_hubert_lora
"""

from configs import gat_tap_iemocap


def get_config():
    config = gat_tap_iemocap.get_config()
    config.data.normalise = 'none'
    config.model.name = 'fine_tuned'
    config.model.bfloat16 = True
    config.train.epochs = 10
    config.sweep.lam = (0.0, 0.001)
    config.sweep.lr = (1e-3,)
    config.sweep.time_mask = config.sweep.band_mask = (0.0,)
    return config
