"""The commands that the drill kills; run as `python -m drills.killed COMMAND ARGUMENT ...`.

Prints `ready` when all is imported, so that a kill meets the work. The probe's attackers learn
little, and fast.
"""

import runpy
import sys

MODULES = {
    'prepare': 'data_pipelines.prepare',
    'train': 'jaxser.main',
    'probe': 'jaxser.probe',
    'bundle': 'jaxser.bundle',
    'report': 'jaxser.report',
    'export': 'jaxser.export',
}


def main() -> None:
    """Imports what the command needs, prints `ready`, and runs it."""
    name, *arguments = sys.argv[1:]
    import data_pipelines.storage.preparation  # noqa: F401
    import jaxser.probing.prober
    import jaxser.serving.exporting
    import jaxser.training.experiment  # noqa: F401
    from jaxser.probing.attackers import linear, mlp

    linear.MAX_ITERATIONS, mlp.MAX_CHECKS = 2, 1
    sys.argv = [MODULES[name], *arguments]
    print('ready', flush=True)
    runpy.run_module(MODULES[name], run_name='__main__', alter_sys=True)


if __name__ == '__main__':
    main()
