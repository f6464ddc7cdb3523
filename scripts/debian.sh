# Sourced by the scripts beside it: Debian packages, unattended.

# Succeeds where this user can install Debian packages.
can_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

# Installs the named packages without starting any service they bring.
install_packages() (
    set -e
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"  # 101: the maintainer scripts may not start services
        chmod +x "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "$@"
)
