"""Where webhooks may go, as far as an address says by itself."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.gateway.problems import AddressRefused
from workers.gateway.webhooks.guard import check, is_public

PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:53aa:64c:0:0:80ff:fffe",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "172.15.0.1",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "2a00:1450::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_only_we_can_reach_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(AddressRefused):
        check(f"https://[{address}]/" if ":" in address else f"https://{address}/")


@pytest.mark.parametrize("address", PUBLIC)
def test_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))
    check(f"https://[{address}]:8443/" if ":" in address else f"https://{address}/")


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_nothing_is_public_that_python_knows_to_be_private(address: IPv4Address | IPv6Address) -> None:
    odd = not address.is_global or address.is_multicast or address.is_reserved or address.is_link_local
    assert not (odd and is_public(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://example.com:80/",
        "https://example.com:22/",
        "https://example.com:0/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "example.com",
        "",
        "https://",
        "https:///hook",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://:password@example.com/",
        "https://localhost/",
        "https://LOCALHOST:8443/",
        "https://localhost./",
        "https://rabbitmq/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://1.2.3.4.5/",
        "https://8.8.8.08/",
        "https://134744072/",  # 8.8.8.8, but let them say so
        "https://①②⑦.⓪.⓪.①/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://exa mple.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example..com/",
        f"https://example.com/{'a' * 2000}",
    ],
)
def test_an_address_that_cannot_be_right_is_refused_at_once(url: str) -> None:
    with pytest.raises(AddressRefused):
        check(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/a?b=c",
        "https://bücher.example/",
        "https://a-b.example./",
    ],
)
def test_a_public_name_is_fine(url: str) -> None:
    assert check(url).scheme == "https"


def test_ones_own_networks_may_be_called_by_http_and_on_any_port() -> None:
    own = (ip_network("10.1.0.0/16"), ip_network("fd12::/16"))
    for good in ("http://10.1.2.3:9000/", "https://10.1.2.3/", "http://[fd12::1]/", "http://backend:9000/"):
        check(good, own)
    for bad in ("http://10.2.0.1/", "http://8.8.8.8/", "https://8.8.8.8:9000/", "https://[fd13::1]/"):
        with pytest.raises(AddressRefused):
            check(bad, own)
