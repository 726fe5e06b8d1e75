"""Secrets of a containerised platform: one folder of files, made once, for compose and Kubernetes.

The folder is 0700, which is what keeps others on the host out. The files that containers get are
0444: a container reads them as a user that the host does not know (65532), and a mount keeps the
mode of the file.
"""

from pathlib import Path

from shared.topology import SERVICES, role_name
from tocsin.case_keys import MASTER_KEY, new_master_key
from tocsin.embedded.secret_files import SecretFiles
from tocsin.stack import authorization
from tocsin.tokens import LocalIssuer

__all__ = ["ADMIN", "DATABASE", "write_secrets"]

ADMIN = "tocsin_admin"
DATABASE = "postgres:5432/tocsin"
"""Where the services find PostgreSQL: host, port, database and what of libpq's query is needed."""


def write_secrets(folder: Path, database: str = DATABASE) -> list[Path]:
    """Write what is not there yet, bring what is derived up to date, and return every file.

    Passwords, NKEY seeds, the pepper and the issuer's key are made once and never changed; the
    database URLs and the broker's permissions follow *database* and this program's version.
    """
    secrets = SecretFiles(folder)
    admin = secrets.get("postgres.password")
    secrets.put("postgres.url", f"postgresql://{ADMIN}:{admin}@{database}")
    for service in SERVICES:
        password = secrets.get(f"{service}.database-password")
        secrets.put(
            f"{service}.database-url", f"postgresql://{role_name(service)}:{password}@{database}"
        )
    secrets.get("ingest.key-pepper")
    if not secrets.path(MASTER_KEY).exists():
        secrets.put(MASTER_KEY, new_master_key())
    secrets.put("nats.authorization.conf", authorization(secrets).rstrip("\n"))
    issuer = LocalIssuer(folder)
    written = sorted(path for path in folder.iterdir() if path.is_file())
    for path in written:
        # The key that signs tokens is for no container.
        path.chmod(0o400 if path == issuer.private_file else 0o444)
    folder.chmod(0o700)
    return written
