"""From one language to another over a frozen Whisper: crosslingual.py, on the states of a pretrained encoder.

    python -m data_pipelines.prepare NAME --source PATH --features upstream:FOLDER        (of source and target)
    python -m jaxser.main --config=configs/whisper_crosslingual.py --config.protocol.source=emodb --config.protocol.target=urdu \\
        --workdir=runs/whisper_emodb_urdu

18 runs as two programs. Not measured to its end.
"""

from configs import crosslingual, whisper_emodb


def get_config():
    return whisper_emodb.over_whisper(crosslingual.get_config())
