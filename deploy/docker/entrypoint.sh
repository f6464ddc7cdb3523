#!/bin/sh
# Numba takes a cache that it cannot write to for none at all, and the image cannot be written to: so a copy.
set -eu
export NUMBA_CACHE_DIR="${TMPDIR:-/tmp}/numba"
[ -d "$NUMBA_CACHE_DIR" ] || cp -r "${PHOTOTWIN_HOME:-/opt/phototwin}/numba" "$NUMBA_CACHE_DIR"
exec phototwin "$@"
