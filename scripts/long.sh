#!/usr/bin/env bash
# Installs what the long suite opens models with: Blender, for which Debian only recommends NumPy, and assimp.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/debian.sh
if command -v blender >/dev/null && command -v assimp >/dev/null && /usr/bin/python3 -c 'import numpy' 2>/dev/null; then
    exit
fi
if ! can_install; then
    echo "The long suite needs Blender 3.4 or newer and assimp (Debian: apt-get install blender assimp-utils python3-numpy)." >&2
    exit 1
fi
install_packages blender assimp-utils python3-numpy
