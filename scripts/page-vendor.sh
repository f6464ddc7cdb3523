#!/usr/bin/env bash
# Puts <model-viewer> (Apache-2.0), which has the page show models in AR, from npm into workers/gateway/page/vendor.
# The page does without, by our own viewer. Whatever is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

version=4.4.0
sha512=f33d52079b0f9732a86a4e66771fc3df56eb05a90f626dd08b7d447c0b9c1c052bb6b1c709b69bca990abd2c11798854a4f6b1c89e3aa13e3bb9613f86bb3567  # of the package

folder=workers/gateway/page/vendor
[ "$(cat "$folder/version" 2>/dev/null)" != "$version" ] || exit 0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
npm pack --silent --pack-destination "$scratch" "@google/model-viewer@$version" >/dev/null
package=$(echo "$scratch"/*.tgz)
if ! echo "$sha512  $package" | sha512sum --check --status; then
    echo "@google/model-viewer $version is not what it was when it was chosen: its SHA-512 differs." >&2
    exit 1
fi
tar -xzf "$package" -C "$scratch" package/dist/model-viewer.min.js package/LICENSE
mkdir -p "$folder"
cp "$scratch/package/dist/model-viewer.min.js" "$scratch/package/LICENSE" "$folder/"
echo "$version" >"$folder/version"
