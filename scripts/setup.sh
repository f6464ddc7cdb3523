#!/usr/bin/env bash
# Makes .venv with phototwin and its tools at the versions in constraints.txt, and compiles its kernels.
# Running it again does only what changed since.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/debian.sh

# Prints the first Python that is new enough and can make virtual environments; fails where there is none.
find_python() {
    local python
    for python in python3 python3.11 python3.12 python3.13 python3.14; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

make_venv() {
    local python
    if ! python=$(find_python) && can_install; then
        install_packages python3-venv
        python=$(find_python) || true
    fi
    if [ -z "$python" ]; then
        echo "phototwin needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv)." >&2
        exit 1
    fi
    "$python" -m venv --clear .venv
}

# meshoptimizer comes as source.
find_compiler() {
    .venv/bin/python - <<'PYTHON' || return 1
import pathlib, shutil, sys, sysconfig
header = pathlib.Path(sysconfig.get_path("include"), "Python.h")
sys.exit(not (shutil.which("g++") or shutil.which("c++")) or not header.exists())
PYTHON
}

need_compiler() {
    find_compiler && return
    if can_install; then
        install_packages g++ python3-dev
    fi
    if ! find_compiler; then
        echo "phototwin needs a C++ compiler and Python's headers (Debian: apt-get install g++ python3-dev)." >&2
        exit 1
    fi
}

install_python_packages() {
    # A broken or foreign .venv is made anew; a sound one is only brought up to date.
    .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || make_venv
    need_compiler
    echo "Installing phototwin's Python packages into .venv: a minute or a few."
    .venv/bin/python -m pip install -qq --editable '.[dev]' --constraint constraints.txt
    # CarveKit's networks need nothing more. What else it asks for is a web server and a second OpenCV, which
    # needs libGL and overwrites the one that is there.
    .venv/bin/python -m pip install -qq --no-deps carvekit --constraint constraints.txt
}

warm_kernels() {
    .venv/bin/python -m workers.warm
}

# once STAMP STEP FILE...: runs the step unless it succeeded before in this place with the same files.
once() {
    local stamp=.venv/$1 step=$2 inputs
    shift 2
    inputs=$({ pwd; cat "$@"; } | sha256sum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$inputs" ] || ! .venv/bin/python -c '' 2>/dev/null; then
        "$step"
        echo "$inputs" >"$stamp"
    fi
}

once installed install_python_packages pyproject.toml constraints.txt
mapfile -t sources < <(find workers -name '*.py' | sort)
once warmed warm_kernels constraints.txt "${sources[@]}"
