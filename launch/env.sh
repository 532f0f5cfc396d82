#!/usr/bin/env bash
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'END'
Makes .venv in the checkout: Python 3.12, jaxser, and JAX for the accelerator. Parts that exist are kept.

  bash launch/env.sh [--dry-run] cuda|tpu

This needs Linux, the internet, and python3 with pip (any version). uv, pinned in launch/uv.txt, downloads Python.
Set UV_EXCLUDE_NEWER=2026-01-31 to install the package versions of that day.
END
}

extra=''
for argument in "$@"; do
    case $argument in
        -h | --help) usage && exit 0 ;;
        --dry-run) dry_run=yes ;;
        cuda | tpu) extra=$argument ;;
        *) fail "Unknown argument '$argument'. See bash launch/env.sh --help" ;;
    esac
done
[[ -n $extra ]] || fail 'The accelerator is missing. Run bash launch/env.sh cuda, or bash launch/env.sh tpu'

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=${XDG_CACHE_HOME:-$HOME/.cache}/jaxser/uv-0.13.9
if [[ -n $dry_run || ! -x $tools/bin/uv ]]; then
    [[ -n $dry_run ]] || python3 -m pip --version >/dev/null ||
        fail 'python3 has no pip. Install pip first, for example with apt-get install python3-pip'
    run_or_print python3 -m pip install --quiet --require-hashes --no-deps --only-binary=:all: \
        --target "$tools" -r launch/uv.txt
fi
if [[ -n $dry_run || ! -x .venv/bin/python ]]; then
    run_or_print "$tools/bin/uv" venv --python 3.12 .venv
fi
run_or_print "$tools/bin/uv" pip install --python .venv/bin/python -e ".[$extra]"
