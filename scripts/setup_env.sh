# Sourced by the other scripts: makes .venv hold bottomup and all that it needs, and activates it.
# A second run only compares one line. PYTHON chooses the interpreter; pip's own variables (PIP_*)
# work too.
# shellcheck shell=bash

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$repo/.venv

find_python() { # prints the first interpreter that is new enough
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

has_library() { # whether a system library is there; without ldconfig it is assumed to be
    local ldconfig
    ldconfig=$(PATH=$PATH:/sbin:/usr/sbin command -v ldconfig) || return 0
    "$ldconfig" -p | grep -q "$1"
}

missing_packages() { # prints Debian's names of what this machine lacks for Python and OpenCV
    local python
    if python=$(find_python); then
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            "$python" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))'
    elif [ -z "${PYTHON:-}" ] && ! command -v python3 >/dev/null; then
        echo python3 python3-venv
    fi
    has_library 'libGL\.so\.1' || echo libgl1
    has_library 'libgthread-2\.0\.so\.0' || echo libglib2.0-0
}

install_missing_packages() {
    local packages
    read -ra packages <<<"$(missing_packages | xargs)"
    [ ${#packages[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "This machine lacks what Debian calls ${packages[*]}." >&2
        echo "Please install it and run this again." >&2
        return 1
    elif [ "$(id -u)" -ne 0 ]; then
        echo "This machine lacks some packages. Please run" >&2
        echo "  sudo apt-get install -y ${packages[*]}" >&2
        echo "and then this again." >&2
        return 1
    fi
    echo "Installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update &&
        apt-get -qq install -y --no-install-recommends "${packages[@]}" >/dev/null
}

make_venv() {
    local python key verbosity=()
    local made_from=("$repo/setup.cfg" "$repo/pyproject.toml" "$repo/scripts/constraints.txt")
    install_missing_packages || return 1
    if ! python=$(find_python); then
        echo "bottomup needs Python 3.11 or newer, not $(${PYTHON:-python3} --version 2>&1)." >&2
        echo "Set PYTHON to one." >&2
        return 1
    fi
    # The marker says what .venv was made from, or that it is unfinished.
    key=$({ echo "$repo"; "$python" --version; cat "${made_from[@]}"; } | sha256sum)
    # A .venv with a marker that differs is made anew; one without a marker is the user's own.
    if [ -e "$venv/.made-from" ]; then
        [ "$(cat "$venv/.made-from")" = "$key" ] && "$venv/bin/python" -c "" 2>/dev/null && return
        rm -rf "$venv"
    fi
    if [ ! -e "$venv" ]; then
        mkdir "$venv" && echo unfinished >"$venv/.made-from"
        "$python" -m venv "$venv" || return 1
    fi
    [ -t 1 ] || verbosity=(--quiet)
    echo "Setting up $venv: some minutes, once"
    "$venv/bin/python" -m pip install "${verbosity[@]}" \
        --constraint "$repo/scripts/constraints.txt" --editable "${repo}[dev]" || return 1
    # OpenVINO is faster than torch on most CPUs, but has no wheels for some machines
    "$venv/bin/python" -m pip install "${verbosity[@]}" --only-binary :all: \
        --constraint "$repo/scripts/constraints.txt" openvino onnx onnxruntime ||
        echo "OpenVINO has no wheel for this machine: torch will compute."
    echo "$key" >"$venv/.made-from"
}

make_venv || exit 1
# shellcheck source=/dev/null
source "$venv/bin/activate"
