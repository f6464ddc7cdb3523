#!/bin/sh
# What the image is made of, step by step, into a folder that works without the sources:
#   install.sh TARGET dependencies   TARGET/venv: all that pyproject.toml asks for, at constraints.txt's versions
#   install.sh TARGET phototwin      TARGET/app: phototwin itself; TARGET/numba: its kernels, compiled for this machine's
#                                    CPU (another kind of CPU compiles them again); TARGET/sbom.json
# Two steps, for two layers: what is large changes seldom. EXTRAS: extras of pyproject.toml, such as `onnx,video` (see
# there for their licences). NVDIFFRAST: what pip is to install nvdiffrast from; needs nvcc.
set -eu
target=$1 step=$2
source=$(cd "$(dirname "$0")/../.." && pwd)
python=$target/venv/bin/python

install_dependencies() {
    python3 -m venv "$target/venv"
    EXTRAS=${EXTRAS:-} python3 - "$source/pyproject.toml" >"$target/requirements.txt" <<'PYTHON'
import os, sys, tomllib
with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
wanted = list(project["dependencies"])
for extra in filter(None, os.environ["EXTRAS"].split(",")):
    wanted += project["optional-dependencies"][extra]
print("\n".join(wanted))
PYTHON
    "$python" -m pip install -q --no-cache-dir --requirement "$target/requirements.txt" \
        --constraint "$source/constraints.txt"
    if [ -n "${NVDIFFRAST:-}" ]; then
        # Against the torch that is there, compiled now: the image's file system is read-only later.
        "$python" -m pip install -q --no-cache-dir --no-build-isolation --no-deps "$NVDIFFRAST"
    fi
    echo "$target/app" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/phototwin.pth"
}

install_phototwin() {
    "$python" -m pip install -q --no-cache-dir --no-deps --target "$target/app" "$source"
    # From elsewhere than the sources, so that it is the installed package which is checked and compiled.
    cd "$target"
    "$python" -m pip check
    # shellcheck disable=SC2046  # each extra is a word
    "$python" "$source/deploy/docker/inventory.py" sbom $(echo "${EXTRAS:-}" | tr , ' ') ${NVDIFFRAST:+nvdiffrast} \
        >"$target/sbom.json"
    NUMBA_CACHE_DIR=$target/numba "$python" -m workers.warm
}

case $step in
    dependencies) install_dependencies ;;
    phototwin) install_phototwin ;;
    *)
        echo "install.sh: $step is no step" >&2
        exit 2
        ;;
esac
