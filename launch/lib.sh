# shellcheck shell=bash
# Functions that the scripts of this folder share. They source this file; it is not run by itself.

dry_run='' # if not empty, commands are printed and not run

log() { printf '%s\n' "$1" >&2; }

fail() { # reports a mistake of the user
    log "$1"
    exit 2
}

print_command() { # prints a command, quoted for a shell
    local line
    printf -v line '%q ' "$@"
    printf '%s\n' "${line% }"
}

run_or_print() { # runs a command; a dry run prints it
    if [[ -n $dry_run ]]; then
        print_command "$@"
    else
        "$@"
    fi
}

# Reads [--dry-run] CONFIGURATION [ARGUMENTS OF THE TRAINING ...] of a script that is started in the checkout.
# Sets dry_run, config, python and training_command. The script defines usage().
read_training_arguments() { # SCRIPT LAUNCHER "$@", for example gpu.sh bash "$@"
    local script=launch/$1 launcher=$2
    shift 2
    while (($#)); do
        case $1 in
            -h | --help) usage && exit 0 ;;
            --dry-run) dry_run=yes ;;
            -*) fail "'$1' is unknown, or must come after the configuration. See bash $script --help" ;;
            *) break ;;
        esac
        shift
    done
    (($#)) || fail "The configuration is missing. Example: $launcher $script configs/dann_emodb.py"
    config=$1
    shift
    python=${JAXSER_PYTHON:-.venv/bin/python}
    # shellcheck disable=SC2034 # the scripts run it
    training_command=("$python" -u -m jaxser.main "--config=$config" "$@")
    [[ -f jaxser/main.py ]] ||
        fail "This folder is not a checkout of jaxser: change to the checkout, then run $launcher $script there."
}
