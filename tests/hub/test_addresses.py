"""Addresses: what clients count as, and which of them are of no client."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quart_sse.hub.addresses import counted_as, is_local


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:207", "192.0.2.7"),
        ("2002:c000:207:1::1", "192.0.2.7"),  # 6to4, with 65,536 networks for each address
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:0DB8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::", "2001:db8:0:1::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("192.0.2.7:5678", "192.0.2.7"),
        ('"[2001:db8:cafe::17]:4711"', "2001:db8:cafe::/64"),
        ("[2001:db8:cafe::17]", "2001:db8:cafe::/64"),
    ],
)
def test_address_counts_as_its_network(address: str, counted: str) -> None:
    """One of IPv4 is a client's own, however it is written; of IPv6 a client has the whole /64."""
    assert counted_as(address) == counted


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "<local>", "unix:/x.sock", "192.0.2", "192.0.2.256", "1", "a:b", "unknown"),
        *("[::1", f"fe80::1%{'x' * 80}"),
    ],
)
def test_text_that_is_no_address_counts_as_none(text: str | None) -> None:
    """Such as that of a Unix socket or of a test client."""
    assert counted_as(text) is None


@pytest.mark.parametrize(
    ("address", "local"),
    [
        *((address, True) for address in ("127.0.0.1", "127.255.255.255", "10.0.0.1", "::1")),
        *((address, True) for address in ("172.16.0.1", "172.31.255.255", "192.168.255.255")),
        *((address, True) for address in ("169.254.1.1", "100.64.0.1", "fc00::1", "fdff::1")),
        *((address, True) for address in ("fe80::1", "febf::1", "::ffff:10.0.0.1", "0.0.0.0")),
        *((address, False) for address in ("172.15.255.255", "172.32.0.0", "192.169.0.0")),
        *((address, False) for address in ("8.8.8.8", "11.0.0.0", "100.128.0.0", "192.0.2.7")),
        *((address, False) for address in ("2001:db8::1", "2606:4700::1111", "::ffff:8.8.8.8")),
        *((address, False) for address in ("2002:808:808::1", "fec0::1")),
    ],
)
def test_local_networks_are_those_of_no_client_on_the_internet(address: str, local: bool) -> None:
    """Loopback, private and link-local ones, of IPv4 and of IPv6."""
    counted = counted_as(address)
    assert counted is not None
    assert is_local(counted) is local


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.ip_addresses() | st.text(max_size=40) | st.from_regex(r"[\d.:\[\]a-f%\"]{1,40}"))
def test_no_text_is_an_error(given_: object) -> None:
    """What a proxy hands on may be anything; what is an address is found again."""
    counted = counted_as(str(given_))

    if isinstance(given_, ipaddress.IPv4Address | ipaddress.IPv6Address):
        assert counted is not None
    if counted is not None:
        assert isinstance(is_local(counted), bool)
        assert counted_as(counted.partition("/")[0]) == counted
