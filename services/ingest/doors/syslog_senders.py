"""Whose syslog is it? By client certificate or by address, to the id of a source (settings)."""

import hashlib
import ipaddress
from collections.abc import Mapping
from typing import Any

__all__ = ["Senders", "SendersError"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SendersError(ValueError):
    """The table of senders names something that is neither an address nor a certificate."""


class Senders:
    """The table of senders, read once; the narrowest network that holds an address wins."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._certificates: dict[str, str] = {}
        networks: list[tuple[Network, str]] = []
        for name, source in table.items():
            kind, colon, rest = name.partition(":")
            if colon and kind in {"cn", "san", "sha256"}:
                plain = rest.replace(":", "").lower() if kind == "sha256" else rest.lower()
                self._certificates[f"{kind}:{plain}"] = source
                continue
            try:
                networks.append((ipaddress.ip_network(name), source))
            except ValueError as error:
                raise SendersError(f"syslog_senders: {name}: {error}") from error
        self._networks = sorted(networks, key=lambda pair: -pair[0].prefixlen)

    def by_address(self, address: str) -> str | None:
        """Return the source that sends from *address*, or None."""
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return None
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        return next((s for n, s in self._networks if found in n), None)

    def by_certificate(self, der: bytes, certificate: Mapping[str, Any]) -> str | None:
        """Return the source whose certificate that is: by fingerprint, alternative name, name.

        *certificate* is what `ssl.SSLSocket.getpeercert()` returns of one that was verified.
        """
        names = [f"sha256:{hashlib.sha256(der).hexdigest()}"]
        names += [f"san:{value.lower()}" for _, value in certificate.get("subjectAltName", ())]
        names += [
            f"cn:{value.lower()}"
            for part in certificate.get("subject", ())
            for key, value in part
            if key == "commonName"
        ]
        return next((self._certificates[n] for n in names if n in self._certificates), None)
