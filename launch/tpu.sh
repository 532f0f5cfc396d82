#!/usr/bin/env bash
set -euo pipefail

usage() {
    cat <<'EOF'
Trains on a TPU VM or a slice of several. On your own machine, with gcloud logged in and its project set:

  bash launch/tpu.sh create [OPTIONS]
  bash launch/tpu.sh setup  [OPTIONS]     sends the commit that is checked out, and --data; makes the environment
  bash launch/tpu.sh run    [OPTIONS] configs/X.py [--workdir=W] [--config.KEY=VALUE ...]
  bash launch/tpu.sh watch  [OPTIONS] configs/X.py --workdir=gs://BUCKET/PATH [--config.KEY=VALUE ...]
  bash launch/tpu.sh delete [OPTIONS]

watch does the first three, and again after each preemption, until the training is done (0) or refuses what it was told (2).

  --name=NAME                 of the TPU; by default jaxser
  --zone=ZONE                 by default that of gcloud config
  --accelerator-type=TYPE     by default v5litepod-8
  --version=IMAGE             of the TPU VM; by default v2-alpha-tpuv5-lite, which is for v5e
  --spot                      cheaper, and may be preempted
  --data=DIR                  prepared shards, copied to the checkout on every worker
  --workers=N                 of the slice; by default gcloud is asked
  --dry-run                   prints the commands and runs none
EOF
}

say() { printf '%s\n' "$1" >&2; }

fail() {
    say "$1"
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

tpu() { step gcloud compute tpus tpu-vm "$@" ${zone:+"--zone=$zone"}; }

on_workers() { tpu ssh "$name" --worker=all --ssh-flag=-oServerAliveInterval=60 "--command=$1"; }

create() { tpu create "$name" "--accelerator-type=$accelerator" "--version=$version" ${spot:+--spot}; }

delete() { tpu delete "$name" --quiet; }

setup() {
    local dated=''
    if [[ -z $dry ]]; then
        [[ -z $(git -C "$root" status --porcelain) ]] || say 'Only what is committed is sent.'
        folder=$(mktemp -d)
        trap 'rm -rf "$folder"' EXIT
    fi
    [[ -z ${UV_EXCLUDE_NEWER:-} ]] || dated="UV_EXCLUDE_NEWER=$(printf %q "$UV_EXCLUDE_NEWER") "
    step git -C "$root" archive --format=tar.gz "--output=$folder/jaxser.tar.gz" HEAD
    tpu scp "$folder/jaxser.tar.gz" "$name:" --worker=all
    on_workers "mkdir -p jaxser && tar --recursive-unlink -xzf jaxser.tar.gz -C jaxser && ${dated}bash jaxser/launch/env.sh tpu"
    [[ -z $data ]] || tpu scp --recurse "${data%/}" "$name:jaxser/" --worker=all
}

run() { # where a connection breaks gcloud runs the command again: the lock makes the second wait for the first
    local count=$workers remote='cd jaxser && exec flock --no-fork .lock .venv/bin/python -u -m jaxser.main'
    if [[ -z $count ]]; then
        count=$(tpu describe "$name" '--format=value(networkEndpoints.len())')
        if [[ -n $dry ]]; then
            printf '%s\n' "$count" '# --distributed is added to the following if that is more than 1'
            count=1
        fi
    fi
    remote+=$(printf ' %q' "--config=$config" "$@")
    ((count == 1)) || remote+=' --distributed'
    on_workers "$remote"
}

watch() { # each part is a shell of its own: here, after if and ||, set -e would not stop it where it fails
    local state code prepared='' failures=0 me=(bash "${BASH_SOURCE[0]}")
    while true; do
        state=$(tpu describe "$name" '--format=value(state)') || state=''
        say "TPU $name: ${state:-absent}"
        case $state in
            '') if "${me[@]}" create "${options[@]}"; then prepared='' failures=0 && continue; fi ;; # no capacity: ask again
            PREEMPTED | TERMINATED) if "${me[@]}" delete "${options[@]}"; then continue; fi ;;
            READY)
                code=0
                if [[ -n $prepared ]] || "${me[@]}" setup "${options[@]}"; then
                    prepared=yes
                    "${me[@]}" run "${options[@]}" "$config" "$@" || code=$?
                    ((code != 0 && code != 2)) || break
                else
                    code=1
                fi
                if ((code == 75)); then failures=0; else failures=$((failures + 1)); fi
                ((failures < 5)) || break
                say "Ended with $code; once more."
                ;;
        esac
        sleep "${JAXSER_WAIT:-60}"
    done
    say "Ended with $code. The TPU is still there, and paid for: bash launch/tpu.sh delete --name=$name${zone:+ --zone=$zone}"
    exit "$code"
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
command='' name=jaxser zone='' accelerator=v5litepod-8 version=v2-alpha-tpuv5-lite spot='' data='' workers='' dry='' folder=/tmp
while (($#)); do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --dry-run) dry=yes ;;
        --spot) spot=yes ;;
        --name=*) name=${1#*=} ;;
        --zone=*) zone=${1#*=} ;;
        --accelerator-type=*) accelerator=${1#*=} ;;
        --version=*) version=${1#*=} ;;
        --data=*) data=${1#*=} ;;
        --workers=*) workers=${1#*=} ;;
        -*) fail "'$1' is not an option, or comes after the configuration; see bash launch/tpu.sh --help" ;;
        *) if [[ -z $command ]]; then command=$1; else break; fi ;;
    esac
    shift
done
[[ $command =~ ^(create|setup|run|watch|delete)$ ]] ||
    fail "Which command? bash launch/tpu.sh create, setup, run, watch or delete${command:+; not $command}"
[[ -z $workers || $workers =~ ^[1-9][0-9]*$ ]] || fail "--workers=$workers is not a number of workers."
options=("--name=$name" ${zone:+"--zone=$zone"} "--accelerator-type=$accelerator" "--version=$version" ${spot:+--spot}
    ${data:+"--data=$data"} ${workers:+"--workers=$workers"})

if [[ $command != run && $command != watch ]]; then
    (($# == 0)) || fail "'$1' is one argument too many for $command; see bash launch/tpu.sh --help"
    "$command"
    exit
fi
(($#)) || fail "Which configuration? E.g. bash launch/tpu.sh $command configs/dann_emodb.py"
config=$1
shift
if [[ $command == watch ]]; then
    [[ " $*" =~ \ --workdir=(gs://|/) ]] ||
        fail 'watch needs --workdir=gs://BUCKET/PATH, or a shared disk: that of a preempted TPU VM is lost.'
    export UV_EXCLUDE_NEWER="${UV_EXCLUDE_NEWER:-$(date -u +%Y-%m-%dT%H:%M:%SZ)}" # the same packages after a preemption
    if [[ -n $dry ]]; then
        tpu describe "$name" '--format=value(state)'
        create && setup && run "$@"
        echo '# and, where the TPU was preempted, the following and then all of that again'
        delete
        exit
    fi
fi
"$command" "$@"
