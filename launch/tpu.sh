#!/usr/bin/env bash
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'END'
Trains on one TPU VM or on a slice of several. Run it on your own machine. gcloud must be logged in and have a project:

  bash launch/tpu.sh create [OPTIONS]
  bash launch/tpu.sh setup  [OPTIONS]     sends the checked-out commit and --data, and installs the packages
  bash launch/tpu.sh run    [OPTIONS] configs/X.py [--workdir=W] [--config.KEY=VALUE ...]
  bash launch/tpu.sh watch  [OPTIONS] configs/X.py --workdir=gs://BUCKET/PATH [--config.KEY=VALUE ...]
  bash launch/tpu.sh delete [OPTIONS]

watch runs create, setup and run, and repeats them after each preemption. It ends when the training is finished (exit
status 0) or refuses its command or configuration (2).

  --name=NAME                 name of the TPU; default: jaxser
  --zone=ZONE                 zone of the TPU; default: that of gcloud config
  --accelerator-type=TYPE     type and size of the TPU; default: v5litepod-8
  --version=IMAGE             software version of the TPU VM; default: v2-alpha-tpuv5-lite, which is for v5e
  --spot                      uses a spot TPU: cheaper, but may be preempted
  --data=DIR                  prepared shards, copied to the checkout on every worker
  --workers=N                 number of workers of the slice; default: the number that gcloud reports
  --dry-run                   prints the commands and runs none
END
}

tpu() { run_or_print gcloud compute tpus tpu-vm "$@" ${zone:+"--zone=$zone"}; }

on_workers() { tpu ssh "$name" --worker=all --ssh-flag=-oServerAliveInterval=60 "--command=$1"; }

create() { tpu create "$name" "--accelerator-type=$accelerator" "--version=$version" ${spot:+--spot}; }

delete() { tpu delete "$name" --quiet; }

setup() {
    local exclude_newer='' unpack='mkdir -p jaxser && tar --recursive-unlink -xzf jaxser.tar.gz -C jaxser'
    if [[ -z $dry_run ]]; then
        [[ -z $(git -C "$root" status --porcelain) ]] ||
            log 'The checkout has uncommitted changes. Only the commit is sent.'
        folder=$(mktemp -d)
        trap 'rm -rf "$folder"' EXIT
    fi
    [[ -z ${UV_EXCLUDE_NEWER:-} ]] || exclude_newer="UV_EXCLUDE_NEWER=$(printf %q "$UV_EXCLUDE_NEWER") "
    run_or_print git -C "$root" archive --format=tar.gz "--output=$folder/jaxser.tar.gz" HEAD
    tpu scp "$folder/jaxser.tar.gz" "$name:" --worker=all
    on_workers "$unpack && ${exclude_newer}bash jaxser/launch/env.sh tpu"
    [[ -z $data ]] || tpu scp --recurse "${data%/}" "$name:jaxser/" --worker=all
}

# If a connection breaks, gcloud runs the command again. The lock makes the second process wait for the first.
run() {
    local count=$workers remote='cd jaxser && exec flock --no-fork .lock .venv/bin/python -u -m jaxser.main'
    if [[ -z $count ]]; then
        count=$(tpu describe "$name" '--format=value(networkEndpoints.len())')
        if [[ -n $dry_run ]]; then
            printf '%s\n' "$count" '# If that prints more than 1, --distributed is added to the following command:'
            count=1
        fi
    fi
    remote+=$(printf ' %q' "--config=$config" "$@")
    ((count == 1)) || remote+=' --distributed'
    on_workers "$remote"
}

# Every step runs in a new shell, because set -e has no effect in a function that is called after `if` or before `||`.
watch() {
    local state code is_set_up='' failures=0 self=(bash "${BASH_SOURCE[0]}")
    while true; do
        state=$(tpu describe "$name" '--format=value(state)') || state=''
        log "TPU $name: ${state:-absent}"
        case $state in
            '') # create fails while there is no capacity; it is tried again
                if "${self[@]}" create "${options[@]}"; then
                    is_set_up=''
                    failures=0
                    continue
                fi
                ;;
            PREEMPTED | TERMINATED)
                if "${self[@]}" delete "${options[@]}"; then continue; fi
                ;;
            READY)
                code=0
                if [[ -n $is_set_up ]] || "${self[@]}" setup "${options[@]}"; then
                    is_set_up=yes
                    "${self[@]}" run "${options[@]}" "$config" "$@" || code=$?
                    ((code != 0 && code != 2)) || break
                else
                    code=1
                fi
                if ((code == 75)); then failures=0; else failures=$((failures + 1)); fi
                ((failures < 5)) || break
                log "The last step ended with status $code. Trying again."
                ;;
        esac
        sleep "${JAXSER_WAIT:-60}"
    done
    log "Ended with status $code. The TPU still exists and costs money. Delete it: bash launch/tpu.sh delete --name=$name${zone:+ --zone=$zone}"
    exit "$code"
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
command=''
name=jaxser
zone=''
accelerator=v5litepod-8
version=v2-alpha-tpuv5-lite
spot=''
data=''
workers=''
folder=/tmp
while (($#)); do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --dry-run) dry_run=yes ;;
        --spot) spot=yes ;;
        --name=*) name=${1#*=} ;;
        --zone=*) zone=${1#*=} ;;
        --accelerator-type=*) accelerator=${1#*=} ;;
        --version=*) version=${1#*=} ;;
        --data=*) data=${1#*=} ;;
        --workers=*) workers=${1#*=} ;;
        -*) fail "'$1' is unknown, or must come after the configuration. See bash launch/tpu.sh --help" ;;
        *) if [[ -z $command ]]; then command=$1; else break; fi ;;
    esac
    shift
done
[[ $command =~ ^(create|setup|run|watch|delete)$ ]] ||
    fail "The command must be create, setup, run, watch or delete${command:+, not $command}. See bash launch/tpu.sh --help"
[[ -z $workers || $workers =~ ^[1-9][0-9]*$ ]] || fail "--workers must be a positive number, not '$workers'."
options=("--name=$name" ${zone:+"--zone=$zone"} "--accelerator-type=$accelerator" "--version=$version" ${spot:+--spot}
    ${data:+"--data=$data"} ${workers:+"--workers=$workers"})

if [[ $command != run && $command != watch ]]; then
    (($# == 0)) || fail "Unexpected argument '$1' after $command. See bash launch/tpu.sh --help"
    "$command"
    exit
fi
(($#)) || fail "The configuration is missing. Example: bash launch/tpu.sh $command configs/dann_emodb.py"
config=$1
shift
if [[ $command == watch ]]; then
    [[ " $*" =~ \ --workdir=(gs://|/) ]] ||
        fail 'watch needs --workdir=gs://BUCKET/PATH or a shared disk, because the disk of a preempted TPU VM is lost.'
    # After a preemption, the new TPU gets the same package versions.
    export UV_EXCLUDE_NEWER="${UV_EXCLUDE_NEWER:-$(date -u +%Y-%m-%dT%H:%M:%SZ)}"
    if [[ -n $dry_run ]]; then
        tpu describe "$name" '--format=value(state)'
        create
        setup
        run "$@"
        echo '# If the TPU was preempted, the following command and then all of the above again:'
        delete
        exit
    fi
fi
"$command" "$@"
