r"""IEMOCAP, four classes (5,531 utterances): SNP (lam 0.1) compared with lam 0, fine-tuning HuBERT.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release \
        --features upstream:FOLDER --states heard
    python -m jaxser.main --config=configs/gat_snp_hubert_iemocap.py --config.model.upstream=FOLDER

FOLDER is a Hugging Face folder (config.json, model.safetensors), which you download.

Cost: 10 runs (5 folds, leave one session out) as one program, in groups of as many runs as fit.

Result: not measured, as neither IEMOCAP's audio nor HuBERT's weights were available.

SNP of Gat et al. 2022 (arXiv 2202.01252): a layer between encoder and heads is trained by gradient
ascent on the speaker loss of identity batches. From the paper: HuBERT, four classes, 5 folds, 2
test speakers, selection of the epoch on validation data, the four steps, lam as the step size of
the ascent, and weighted accuracy, which is WA here: 69.0 with HuBERT Base, 73.9 with HuBERT Large,
at lam = 1e-3. This project's defaults: fine-tuning HuBERT, the weighted sum of layers, SNP's layer
(a plain one), AdamW with its schedule and rates, the next session as validation data, and lam.

HuBERT Large needs --config.model.remat=True, and --config.model.accumulate=4 if memory is short.
For adapters of rank 8 in place of changes to all weights, in less memory, add

    --config.model.lora=8 --config.model.upstream_rate=1 --workdir=runs/snp_hubert_lora
"""

from configs import gat_snp_iemocap


def get_config():
    config = gat_snp_iemocap.get_config()
    config.data.normalise = 'none'
    config.model.name = 'fine_tuned'
    config.model.bfloat16 = True
    config.train.epochs = 10
    config.sweep.lr = (1e-3,)
    config.sweep.time_mask = config.sweep.band_mask = (0.0,)
    return config
