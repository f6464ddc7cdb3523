#!/usr/bin/env bash
# Installs what the tests run for real besides Python: RabbitMQ, the Ceph object gateway, PostgreSQL, Prometheus,
# Chromium, and from npm what drives it, the glTF validator, AsyncAPI's schema, what a backend in JavaScript is made with, and
# what the gateway's page shows models with; and kustomize with the schemas that deploy/ is judged by.
# Whatever is there already is left alone, and so is a server that the environment points the tests to.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/debian.sh

# need SENTENCE COMMAND... -- PACKAGE...: installs the packages unless all commands exist; where that cannot
# be done, says the sentence and fails.
need() {
    local sentence=$1 missing=
    shift
    while [ "$1" != -- ]; do
        command -v "$1" >/dev/null || missing=$1
        shift
    done
    shift
    [ -n "$missing" ] || return 0
    if ! can_install; then
        echo "$missing is missing and cannot be installed here: $sentence" >&2
        exit 1
    fi
    install_packages "$@"
}

# Debian's server commands are in sbin, which is not on everyone's path.
export PATH="$PATH:/usr/sbin"

if [ -z "${PHOTOTWIN_TEST_AMQP_URL:-}" ] && ! command -v rabbitmq-server >/dev/null; then
    need "set PHOTOTWIN_TEST_AMQP_URL to a RabbitMQ that the tests may use." \
        rabbitmq-server -- rabbitmq-server
    # The tests start their own; the distribution's would start at every boot.
    [ ! -d /run/systemd/system ] || systemctl disable rabbitmq-server
fi

if [ -z "${PHOTOTWIN_TEST_S3_URL:-}" ]; then
    variables="PHOTOTWIN_TEST_S3_URL, PHOTOTWIN_TEST_S3_KEY and PHOTOTWIN_TEST_S3_SECRET"
    need "set $variables to an S3 that the tests may use." \
        radosgw ceph-mon ceph-osd ceph -- radosgw ceph-mon ceph-osd ceph-common
fi

if [ -z "${PHOTOTWIN_TEST_POSTGRES_URL:-}" ] && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    need "set PHOTOTWIN_TEST_POSTGRES_URL to a PostgreSQL where the tests may make databases." \
        initdb -- postgresql
    # As above.
    [ ! -d /run/systemd/system ] || systemctl disable postgresql
fi

need "install Node.js 18 or newer with npm." node npm -- nodejs npm
need "install Chromium." chromium -- chromium
if ! command -v promtool >/dev/null; then
    need "install Prometheus, with promtool." prometheus promtool -- prometheus
    # As above.
    [ ! -d /run/systemd/system ] || systemctl disable prometheus
fi
if ! cmp --silent tests/package-lock.json tests/node_modules/.installed; then
    npm ci --prefix tests --no-audit --no-fund --loglevel=error
    cp tests/package-lock.json tests/node_modules/.installed
fi
scripts/page-vendor.sh
