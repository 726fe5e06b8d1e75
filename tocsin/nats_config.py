"""The broker's accounts: one NKEY user a service, each allowed only its own subjects."""

import secrets
from collections.abc import Mapping, Sequence

import nkeys

from shared.topology import permissions

__all__ = ["new_nkey_seed", "public_key", "render_authorization"]


def new_nkey_seed() -> str:
    """Return a new private seed of a NATS user (``SU…``)."""
    return bytes(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)).decode()


def public_key(seed: str) -> str:
    """Return the public key (``U…``) that belongs to *seed*."""
    return bytes(nkeys.from_seed(bytearray(seed.encode())).public_key).decode()


def _list(subjects: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{s}"' for s in subjects) + "]"


def render_authorization(public_keys: Mapping[str, str]) -> str:
    """Return the ``authorization`` block for a nats-server.conf: identity → public key.

    Nobody may do anything that is not listed (`shared.topology.permissions`); an identity replies
    to nobody and listens only under its own inbox.
    """
    users = []
    for identity, key in public_keys.items():
        allowed = permissions(identity)
        users.append(
            f"    # {identity}\n"
            f"    {{ nkey: {key}\n"
            f"      permissions: {{\n"
            f"        publish: {{ allow: {_list(allowed.publish)} }}\n"
            f"        subscribe: {{ allow: {_list(allowed.subscribe)} }}\n"
            f"      }}\n"
            f"    }}"
        )
    return "authorization {\n  timeout: 3\n  users: [\n" + "\n".join(users) + "\n  ]\n}\n"
