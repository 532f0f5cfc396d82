r"""EMO-DB, four classes: SNP (lam 0.1) compared with lam 0, fine-tuning a Whisper encoder.

    python -m data_pipelines.prepare emodb --source PATH/TO/emodb \
        --features upstream:FOLDER --states heard
    python -m jaxser.main --config=configs/gat_snp_whisper_emodb.py --config.model.upstream=FOLDER

FOLDER is a Hugging Face folder (config.json, model.safetensors), which you download.

Cost: 10 runs (5 speaker-disjoint folds) as one program, 35 to 50 minutes on 2 CPU cores.

Result, measured with one seed: UAR 0.905 at lam 0, 0.904 at lam 0.1, a difference of -0.002
[-0.017, +0.014]; a new classifier has a speaker-recognition recall of 0.40 and 0.42. On the frozen
encoder (whisper_emodb.py with speaker_norm and snp) UAR is 0.893 and 0.897, and the
speaker-recognition recall 0.53 and 0.51.

SNP of Gat et al. 2022 (arXiv 2202.01252): a layer between encoder and heads is trained by gradient
ascent on the speaker loss of identity batches. From the paper: the four steps, and lam as the step
size of the ascent. This project's defaults: Whisper in place of HuBERT, fine-tuning, the corpus,
the weighted sum of layers, SNP's layer (a plain one), AdamW with its schedule and rates, and lam.

For adapters of rank 8 in place of changes to all weights, in less memory, add

    --config.model.lora=8 --config.model.upstream_rate=1 --workdir=runs/snp_whisper_lora
"""

from configs import gat_snp_emodb


def get_config():
    config = gat_snp_emodb.get_config()
    config.data.normalise = 'none'
    config.model.name = 'fine_tuned'
    config.train.epochs = 10
    config.sweep.lr = (1e-3,)
    config.sweep.time_mask = config.sweep.band_mask = (0.0,)
    config.sweep.seed = (0,)
    return config
