"""EMO-DB, four classes: plain training.

    python -m jaxser.main --config=configs/erm_emodb.py

Cost: 15 runs as one program.

Result: not measured separately. It equals dann_emodb at lam = 0, to the bit (a test checks this).
"""

from configs import dann_emodb


def get_config():
    config = dann_emodb.get_config()
    config.method = 'erm'
    config.sweep.lam = ()
    return config
