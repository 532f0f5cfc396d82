#!/usr/bin/env bash
set -euo pipefail

usage() {
    cat <<'EOF'
Trains on all GPUs of this machine, in the foreground. From the checkout:

  bash launch/gpu.sh [--dry-run] configs/X.py [--workdir=W] [--config.KEY=VALUE ...]

The Python is JAXSER_PYTHON, or that of .venv, which is made if it is absent (launch/env.sh cuda).
Exit status: 0 done; 2 a mistake to mend; 75 stopped by SIGTERM with a checkpoint saved, and the same command resumes.
EOF
}

fail() {
    printf '%s\n' "$1" >&2
    exit 2
}

step() { # runs a command, or prints it, quoted for a shell
    local line
    if [[ -z $dry ]]; then
        "$@"
    else
        printf -v line '%q ' "$@"
        printf '%s\n' "${line% }"
    fi
}

dry=''
while (($#)); do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --dry-run) dry=yes ;;
        -*) fail "'$1' comes after the configuration, or is not understood; see bash launch/gpu.sh --help" ;;
        *) break ;;
    esac
    shift
done
(($#)) || fail 'Which configuration? E.g. bash launch/gpu.sh configs/dann_emodb.py'
config=$1
shift
[[ -f jaxser/main.py ]] || fail 'This is not the checkout of jaxser: go there first.'

python=${JAXSER_PYTHON:-.venv/bin/python}
if [[ -z ${JAXSER_PYTHON:-} && ! -x $python ]]; then
    step bash launch/env.sh cuda
fi
step "$python" -c "import sys, jax; sys.exit(jax.default_backend() != 'gpu')" ||
    fail "JAX ($python) sees no GPU: nvidia-smi must list one, its driver must know CUDA 12, and JAX be that of '.[cuda]'."
command=("$python" -u -m jaxser.main "--config=$config" "$@")
[[ -n $dry ]] || exec "${command[@]}" # signals reach the training, and its exit status is this script's
step "${command[@]}"
