"""Addresses by which clients are counted: one of IPv4, or a network of IPv6."""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

#: Length of the prefix of IPv6 that counts as one address: providers give each client a /64 or more
#: (RFC 6177), so that a client has all addresses in it.
PREFIX = 64
#: Longest text that is looked at, in characters; with a zone and a port none is longer.
MAX_LENGTH = 80
#: Networks from which no client on the internet comes, but proxies and this machine: loopback,
#: private (RFC 1918, 6598 and 4193) and link-local ones. ``is_private`` of Python has further ones,
#: which differ from version to version.
_LOCAL = [
    ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("100.64.0.0/10", "::1/128", "fc00::/7", "fe80::/10"),
    )
]
#: As proxies write an address with its port (RFC 7239): ``1.2.3.4:80``, ``"[2001:db8::1]:80"``.
_WITH_PORT = re.compile(r'"?\[?([\d.]+|(?<=\[)[\da-f:.]+(?=\]))\]?(?::\d+)?"?', re.IGNORECASE)


def counted_as(address: str | None) -> str | None:
    """Return what a client counts as: its IPv4 address, or its /64 network of IPv6.

    An IPv4 address that is written as one of IPv6 (``::ffff:1.2.3.4``) counts as that of IPv4.

    Args:
        address: The client's address, as the server or a proxy says it.

    Returns:
        The same text for all clients that count as one; None for text that is no address, such as
        that of a Unix socket.

    Example:
        ``counted_as("2001:db8::1") == counted_as("2001:db8::2") == "2001:db8::/64"``
    """
    # Some servers hand on what a header says, which may be long.
    return None if not address or len(address) > MAX_LENGTH else _counted(address)


@lru_cache(1000)
def _counted(address: str) -> str | None:
    ip = _parse(address)
    if ip is None or isinstance(ip, IPv4Address):
        return None if ip is None else str(ip)
    return str(IPv6Network((int(ip) >> (128 - PREFIX) << (128 - PREFIX), PREFIX)))


@lru_cache(1000)
def is_local(counted: str) -> bool:
    """Whether what :func:`counted_as` gave is of a loopback, private or link-local network.

    Such a peer is a proxy, with all of its clients, or a program of the operator's.
    """
    ip = ip_address(counted.partition("/")[0])
    # ::/64 holds ::1 and no other address that anyone has.
    return int(ip) == 0 or any(ip in network for network in _LOCAL)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    found = _WITH_PORT.fullmatch(address)
    try:
        ip = ip_address(found[1] if found else address)
    except ValueError:
        return None
    inner = None if isinstance(ip, IPv4Address) else ip.ipv4_mapped or ip.sixtofour
    return ip if inner is None else inner
