"""MSP-Podcast, eight classes, trained on the votes of raters with annotator dropout.

    python -m data_pipelines.prepare msp_podcast --source PATH/TO/MSP-PODCAST
    python -m jaxser.main --config=configs/soft_msp_podcast.py

The test part is that of configs/task.py:msp_podcast_classes, which trains on the classes. The
training part has more utterances: those without one class (`other` and no agreement) train by their
votes. docs/guide/soft_labels.md compares this with the recipe of SAIL for the challenge of
Interspeech 2025 (arXiv 2505.22133).

On a frozen encoder, add the options that configs/task.py names.

Cost: 3 runs on the release's own split as one program.

Result: not measured, as MSP-Podcast was not available. This file was not run on the corpus.
"""

from configs import task


def get_config():
    config = task.get_config('msp_podcast_classes')
    config.train.soft_labels = True
    config.train.annotator_dropout = 0.2
    config.train.epochs = 10
    return config
