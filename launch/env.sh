#!/usr/bin/env bash
set -euo pipefail

usage() {
    cat <<'EOF'
Makes .venv in the checkout: Python 3.12, jaxser and JAX for the accelerator. What is there already is kept.

  bash launch/env.sh [--dry-run] cuda|tpu

It needs python3 with pip (of any version), Linux and the internet. uv, pinned in launch/uv.txt, fetches the Python.
UV_EXCLUDE_NEWER=2026-01-31 installs the packages of that day.
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

dry='' extra=''
for argument in "$@"; do
    case $argument in
        -h | --help) usage && exit 0 ;;
        --dry-run) dry=yes ;;
        cuda | tpu) extra=$argument ;;
        *) fail "'$argument' is not understood; see bash launch/env.sh --help" ;;
    esac
done
[[ -n $extra ]] || fail 'For which accelerator? bash launch/env.sh cuda, or tpu'

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=${XDG_CACHE_HOME:-$HOME/.cache}/jaxser/uv-0.13.9
if [[ -n $dry || ! -x $tools/bin/uv ]]; then
    [[ -n $dry ]] || python3 -m pip --version >/dev/null ||
        fail 'python3 has no pip: install it first, e.g. apt-get install python3-pip'
    step python3 -m pip install --quiet --require-hashes --no-deps --only-binary=:all: --target "$tools" -r launch/uv.txt
fi
if [[ -n $dry || ! -x .venv/bin/python ]]; then
    step "$tools/bin/uv" venv --python 3.12 .venv
fi
step "$tools/bin/uv" pip install --python .venv/bin/python -e ".[$extra]"
