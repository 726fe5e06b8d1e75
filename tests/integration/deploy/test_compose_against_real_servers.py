"""What docker-compose.yml starts, started without containers: its variables, files and broker."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
import yaml

from shared.topology import SERVICES, STREAMS
from tests.support.manifests import ROOT
from tests.support.waiting import until
from tocsin.compose_secrets import write_secrets
from tocsin.embedded.binaries import find_nats
from tocsin.embedded.ports import claim_port
from tocsin.embedded.postgres import EmbeddedPostgres

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Deployment:
    """The compose project's secrets, and where its two servers really are."""

    secrets: Path
    nats_url: str

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables of a compose service, its secrets being the generated files."""
        project: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
        service = project["services"][name]
        files = {}
        for each in service["secrets"]:
            source = each if isinstance(each, str) else each["source"]
            target = each if isinstance(each, str) else each["target"]
            files[f"/run/secrets/{target}"] = str(self.secrets / source)
        given = {k: files.get(v, v) for k, v in service["environment"].items()}
        if "TOCSIN_NATS_URL" in given:
            given["TOCSIN_NATS_URL"] = self.nats_url
        return {"PATH": os.environ["PATH"], **given}


async def run(*arguments: str, environment: dict[str, str]) -> str:
    """Run `python -m …` as the image does; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, cwd=ROOT, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def deployment() -> AsyncIterator[Deployment]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tocsin-compose-")))
        folder.chmod(0o711)  # PostgreSQL's user must get to its data
        secrets = folder / "secrets"
        write_secrets(secrets)
        password = (secrets / "postgres.password").read_text().strip()
        postgres = EmbeddedPostgres(folder / "postgres", password=password, durable=False)
        stack.push_async_callback(postgres.stop)
        await postgres.start()
        admin = await asyncpg.connect(postgres.dsn)
        await admin.execute("CREATE DATABASE tocsin")
        await admin.close()
        write_secrets(secrets, f"127.0.0.1:{postgres.port}/tocsin")

        port = claim_port(None, "NATS")
        config = (ROOT / "deploy" / "compose" / "nats.conf").read_text("utf-8")
        (folder / "nats.conf").write_text(
            config.replace("0.0.0.0:4222", f"127.0.0.1:{port}")
            .replace("http: 127.0.0.1:8222", "")
            .replace("/data", str(folder / "jetstream"))
        )
        (folder / "authorization.conf").write_text(
            (secrets / "nats.authorization.conf").read_text()
        )
        broker = await asyncio.create_subprocess_exec(
            str(find_nats()), "-c", str(folder / "nats.conf"), "-l", str(folder / "nats.log")
        )
        stack.push_async_callback(broker.wait)
        stack.callback(broker.terminate)
        log = folder / "nats.log"
        await until(lambda: log.exists() and "Server is ready" in log.read_text())
        yield Deployment(secrets, f"nats://127.0.0.1:{port}")


async def test_bootstrap_declares_every_stream(deployment: Deployment) -> None:
    said = await run("tocsin", "bootstrap", environment=deployment.environment("bootstrap"))
    assert set(said.split()) >= {stream.name for stream in STREAMS}


async def test_nobody_gets_in_without_a_seed(deployment: Deployment) -> None:
    """In NATS' own protocol: its client leaves a refused connection open."""
    host, _, port = deployment.nats_url.removeprefix("nats://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        assert b'"auth_required":true' in await asyncio.wait_for(reader.readline(), 60)
        writer.write(b'CONNECT {"verbose":false}\r\nSUB tocsin.v1.> 1\r\nPING\r\n')
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer == b"-ERR 'Authorization Violation'\r\n"
    finally:
        writer.close()
        await writer.wait_closed()


async def test_migrate_gives_every_service_the_role_that_it_logs_in_with(
    deployment: Deployment,
) -> None:
    await run("tocsin", "migrate", environment=deployment.environment("migrate"))
    for service in SERVICES:
        url = (deployment.secrets / f"{service}.database-url").read_text().strip()
        connection = await asyncpg.connect(url)
        version = f"SELECT version_num FROM {service}.migrations"  # noqa: S608 - our own name
        try:
            assert await connection.fetchval(version)
            powers = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = user"
            assert await connection.fetchval(powers) is False
        finally:
            await connection.close()
        await becomes_ready(deployment, service)


async def becomes_ready(deployment: Deployment, service: str) -> None:
    """Start the service with exactly what compose gives it; notify needs its inventory too."""
    if not (ROOT / "services" / service / "__main__.py").exists():
        return
    port = claim_port(None, service)
    environment = {
        **deployment.environment(service), "TOCSIN_HOST": "127.0.0.1", "TOCSIN_PORT": str(port),
    }  # fmt: skip
    for variable, value in environment.items():
        if value.startswith("/etc/tocsin/"):  # where compose mounts what lies beside its secrets
            here = ROOT / "deploy" / "compose" / value.removeprefix("/etc/tocsin/")
            environment[variable] = str(here)
    log = deployment.secrets.parent / f"{service}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"services.{service}",
            cwd=ROOT, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        async with httpx.AsyncClient(trust_env=False) as client:

            async def ready() -> bool:
                assert process.returncode is None, log.read_text()
                try:
                    answer = await client.get(f"http://127.0.0.1:{port}/readyz")
                except httpx.HTTPError:
                    return False
                return answer.status_code == 200

            await until(ready, every=0.2)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
