"""Where webhooks may go: whoever registers one chooses an address that we then call from inside our network,
so that it must not be one that only we can reach."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from yarl import URL

from workers.gateway.problems import AddressRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
PORTS = (443, 8443)
LENGTH = 2000

# https://www.iana.org/assignments/iana-ipv4-special-registry, and what clouds have put elsewhere.
_NOT_PUBLIC_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's own services, for its machines only
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
# https://www.iana.org/assignments/ipv6-unicast-address-assignments: no unicast address outside of it is
# public, be it an IPv4 address in another form (mapped, NAT64), link-local or of a private network.
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # of protocols: Teredo, which has IPv4 addresses in it, and others
            "2001:db8::/32",
            "2002::/16",  # 6to4: IPv4 addresses too
            "3fff::/20",
        ),
    )
)
_NUMBER = re.compile(r"\d+|0[xX][0-9a-fA-F]*")
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


def is_public(address: Address) -> bool:
    """Whether it is on the internet, for everyone."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def is_own(address: Address, networks: Sequence[Network]) -> bool:
    """Whether it is in one of these."""
    return any(address in network for network in networks)


def is_plain(url: URL) -> bool:
    """Whether it is of the kind that may go to public addresses."""
    return url.scheme == "https" and url.port in PORTS


def check(url: str, networks: Sequence[Network] = ()) -> URL:
    """What can be said of a URL before its name is looked up; `networks`: where our own webhooks may go, by
    http too and to any port. Raises AddressRefused."""
    try:
        parsed = URL(url)
        host, port = parsed.raw_host, parsed.port
    except ValueError:
        raise AddressRefused("that is no URL") from None
    if parsed.scheme not in ("http", "https") or not host or not port or len(url) > LENGTH:
        raise AddressRefused("webhooks go to https://HOST/...")
    if parsed.raw_user is not None or parsed.raw_password is not None:
        raise AddressRefused("there must be no user or password in the URL: calls are signed instead")
    if not is_plain(parsed) and not networks:
        raise AddressRefused("webhooks go by https, to port 443 or 8443")
    address = literal(host)
    if address is not None and not is_allowed(address, networks, plain=is_plain(parsed)):
        raise AddressRefused(f"{host} is no public address")
    if address is None and not networks and "." not in host.rstrip("."):
        raise AddressRefused(f"{host} is no public name")
    return parsed


def is_allowed(address: Address, networks: Sequence[Network], *, plain: bool) -> bool:
    return is_own(address, networks) or (plain and is_public(address))


def literal(host: str) -> Address | None:
    """The address that a host is, None for a name. Raises AddressRefused for what some would take for an
    address and others for a name, such as 0x7f.1 or 2130706433."""
    if ":" in host or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        try:
            if "%" in host:
                raise ValueError("of one interface only")
            return ip_address(host)
        except ValueError:
            raise AddressRefused(f"{host} is no host") from None
    if not _NAME.fullmatch(host):
        raise AddressRefused(f"{host} is no host")
    return None
