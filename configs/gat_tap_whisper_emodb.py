r"""EMO-DB, four classes: TAP (lam 0.001) and plain fine-tuning (lam 0) of a Whisper encoder.

    python -m data_pipelines.prepare emodb --source PATH/TO/emodb \
        --features upstream:FOLDER --states heard
    python -m jaxser.main --config=configs/gat_tap_whisper_emodb.py --config.model.upstream=FOLDER

FOLDER is a Hugging Face folder (config.json, model.safetensors), which you download.

Cost: 10 runs (5 speaker-disjoint folds) as one program, forecast 26 minutes on 2 CPU cores.

Result, measured as rows of table_finetuned.py:emodb (batches of 16, 8 epochs, the last one; one
seed): UAR 0.923 by plain fine-tuning, 0.864 by TAP. The paper's lam of 1e-3 is large for a learning
rate of 5e-5.

TAP of Gat et al. 2022 (arXiv 2202.01252): the whole encoder is trained by gradient ascent on the
speaker loss of identity batches. From the paper: the four steps, lam as the step size of the
ascent, and fine-tuning the encoder. This project's defaults: Whisper in place of HuBERT, the
corpus, the weighted sum of layers, and AdamW with its schedule and rates.

For adapters of rank 8 in place of changes to all weights, in less memory, add

    --config.model.lora=8 --config.model.upstream_rate=1 --workdir=runs/tap_whisper_lora
"""

from configs import gat_tap_emodb


def get_config():
    config = gat_tap_emodb.get_config()
    config.data.normalise = 'none'
    config.model.name = 'fine_tuned'
    config.train.epochs = 10
    config.sweep.lam = (0.0, 0.001)
    config.sweep.lr = (1e-3,)
    config.sweep.time_mask = config.sweep.band_mask = (0.0,)
    config.sweep.seed = (0,)
    return config
