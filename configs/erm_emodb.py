"""EMO-DB, four classes: plain training, to which dann_emodb's lam = 0 is equal (a test holds the methods to that, to the bit).

    python -m jaxser.main --config=configs/erm_emodb.py

15 runs as one program; not measured apart from dann_emodb's lam = 0.
"""

from configs import dann_emodb


def get_config():
    config = dann_emodb.get_config()
    config.method = 'erm'
    config.sweep.lam = ()
    return config
