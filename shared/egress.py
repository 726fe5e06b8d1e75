"""Where a webhook may go (§5.3 SSRF): one look-up, every address global, and only that address.

Whatever is checked here is the very object that is connected to: the host is resolved once, the
connection goes to the address that was checked, and the name serves for SNI and Host alone.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

import httpx

__all__ = [
    "AllowList", "Destination", "EgressError", "Resolver", "client_to_outside", "destination",
    "system_resolver",
]  # fmt: skip

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host; OSError when it cannot."""

# Python 3.11 calls these global; none of them is a place for a customer's endpoint.
_REFUSED_4 = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4")))
_GLOBAL_6 = IPv6Network("2000::/3")
_REFUSED_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_NAT64 = IPv6Network("64:ff9b::/96")
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)\.?")


class EgressError(Exception):
    """The URL may not be connected to; ``transient`` where its name only could not be resolved."""

    def __init__(self, reason: str, *, transient: bool = False) -> None:
        super().__init__(reason)
        self.transient = transient


@dataclass(frozen=True, slots=True)
class AllowList:
    """What is open besides the public internet over https: named ends, and networks."""

    ends: frozenset[tuple[str, int]] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, entries: Sequence[str]) -> Self:
        """Return the list; ValueError for an entry that is neither host:port nor CIDR."""
        ends, networks = set(), []
        for entry in entries:
            if "/" in entry:
                networks.append(ip_network(entry))
                continue
            host, _, port = entry.rpartition(":")
            if not host or not port.isdecimal():
                raise ValueError(f"{entry!r} is neither host:port nor a network in CIDR form")
            ends.add((host.strip("[]").lower(), int(port)))
        return cls(frozenset(ends), tuple(networks))

    def has(self, host: str, port: int, addresses: Sequence[Address]) -> bool:
        """Tell whether this end is open as it is: named itself, or wholly inside the networks."""
        return (host, port) in self.ends or all(
            any(address in network for network in self.networks) for address in addresses
        )


@dataclass(frozen=True, slots=True)
class Destination:
    """A checked end: connect to *address* and no other; *url* has it in place of the host."""

    url: httpx.URL
    host: str
    host_header: str
    address: str


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """Return the addresses of *host* as the operating system knows them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def client_to_outside(
    tls: ssl.SSLContext, timeout: float, limits: httpx.Limits = _LIMITS
) -> httpx.AsyncClient:
    """Return a client that connects nowhere else than it is told: a redirect would lead, and a
    proxy from the environment connect, to what nobody checked."""
    return httpx.AsyncClient(
        verify=tls,
        trust_env=False,
        follow_redirects=False,
        timeout=timeout,
        limits=limits,
    )


async def destination(url: str, allow: AllowList, resolve: Resolver) -> Destination:
    """Return where *url* leads; EgressError when that is not a public https end or allowed."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise EgressError(f"not a URL: {error}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise EgressError("only https URLs are sent to")
    if parsed.userinfo:
        raise EgressError("a URL with a user name or password is not sent to")
    host = parsed.raw_host.decode("ascii").lower()  # as it goes on the wire, not as displayed
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    addresses = await _addresses(host, port, resolve)
    if not allow.has(host, port, addresses):
        if parsed.scheme != "https":
            raise EgressError("only https URLs are sent to")
        for address in addresses:
            if not is_public(address):
                raise EgressError(f"{host} leads to {address}, which is not a public address")
    chosen = str(addresses[0])
    return Destination(
        url=parsed.copy_with(host=chosen),
        host=host,
        host_header=parsed.netloc.decode("ascii"),
        address=chosen,
    )


async def _addresses(host: str, port: int, resolve: Resolver) -> tuple[Address, ...]:
    literal = _literal(host)
    if literal is not None:
        return (literal,)
    # "127.1", "0x7f000001", "017700000001": a name whose last label is a number is an address in
    # disguise (WHATWG URL, "ends in a number"); no public host is called that.
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise EgressError(f"{host} is an address in disguise")
    try:
        found = await resolve(host, port)
    except OSError as error:
        raise EgressError(f"{host} cannot be resolved: {error}", transient=True) from error
    addresses = tuple(a for text in found if (a := _literal(text)) is not None)
    if not addresses or len(addresses) != len(found):
        raise EgressError(f"{host} has no usable address", transient=True)
    return addresses


def _literal(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Tell whether *address* is one on the public internet, seen through every IPv6 disguise."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _REFUSED_4)
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(inner)
    return (
        address.scope_id is None
        and address.is_global
        and address in _GLOBAL_6
        and not any(address in network for network in _REFUSED_6)
    )
