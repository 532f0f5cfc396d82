"""EMO-DB, four classes: plain training.

    python -m jaxser.main --config=configs/erm_emodb.py

Cost: 15 runs as one program.

Result: not measured apart from dann_emodb's lam = 0, to which it is equal (a test holds the methods
to that, to the bit).
"""

from configs import dann_emodb


def get_config():
    config = dann_emodb.get_config()
    config.method = 'erm'
    config.sweep.lam = ()
    return config
