#!/usr/bin/env bash
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'END'
Trains on all GPUs of this machine, in the foreground. Run it from the checkout:

  bash launch/gpu.sh [--dry-run] configs/X.py [--workdir=W] [--config.KEY=VALUE ...]

It uses the Python in JAXSER_PYTHON if that is set, otherwise the Python of .venv. If .venv is missing, it runs
launch/env.sh cuda to make it.
Exit status: 0 = finished. 2 = a mistake in the command or configuration. 75 = stopped by SIGTERM with a checkpoint
saved; run the same command again to resume.
END
}

read_training_arguments gpu.sh bash "$@"
if [[ -z ${JAXSER_PYTHON:-} && ! -x $python ]]; then
    run_or_print bash launch/env.sh cuda
fi
run_or_print "$python" -c "import sys, jax; sys.exit(jax.default_backend() != 'gpu')" ||
    fail "JAX ($python) sees no GPU. Check that nvidia-smi lists one, that its driver supports CUDA 12, and that JAX was installed with '.[cuda]'."
# exec: signals go to the training, and its exit status is the exit status of this script.
[[ -n $dry_run ]] || exec "${training_command[@]}"
print_command "${training_command[@]}"
