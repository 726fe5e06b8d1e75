"""rsyslog and syslog-ng, unmodified, through the doors that their users would choose."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from services.ingest.app import create_app
from services.ingest.keys import ApiKey
from services.ingest.settings import Settings
from services.ingest.sources import Source
from tests.integration.ingest.test_syslog_listener import free_port
from tests.support import shippers
from tests.support.authority import Authority
from tests.support.ingest import Stored, is_ready, make_key
from tests.support.waiting import until
from tests.support.world import World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
COUNT = 300
LINES = [f"Failed password for user{n} from 10.0.0.{n % 256} port 22 ssh2" for n in range(COUNT)]


class Place:
    """A running ingest that all of them may send to."""

    def __init__(self, client: httpx.AsyncClient, key: ApiKey, ca: Authority, s: Settings) -> None:
        self.client, self.key, self.ca, self.settings = client, key, ca, s
        self.port = client.base_url.port


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    ca = Authority(tmp_path_factory.mktemp("ca"), "root")
    key = await make_key(world, Source(id="host", tenant="t1"))
    settings = world.settings(
        Settings,
        syslog_tls_port=free_port(),
        syslog_tcp_port=free_port(),
        syslog_tls_certificate=ca.issue("server"),
        syslog_tls_client_ca=ca.path,
        syslog_senders={"127.0.0.1": "host", "cn:sender": "host"},
    )
    async with world.running(create_app(settings)) as client:
        await until(lambda: is_ready(client))
        yield Place(client, key, ca, settings)


@pytest.fixture
def logfile(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_text("\n".join(LINES) + "\n")
    return path


# rsyslog -----------------------------------------------------------------------------------------


async def rsyslog(
    stored: Stored, tmp_path: Path, logfile: Path, module: str, head: str, action: str
) -> None:
    shipper = shippers.find("rsyslogd", module)
    config = tmp_path / "rsyslog.conf"
    config.write_text(
        f"""{head}
module(load="imfile")
global(workDirectory="{tmp_path}")
template(name="json" type="list") {{
  constant(value="{{\\"message\\":\\"") property(name="msg" format="json")
  constant(value="\\",\\"host\\":\\"") property(name="hostname" format="json")
  constant(value="\\"}}") }}
input(type="imfile" file="{logfile}" tag="sshd:" ruleset="out")
ruleset(name="out") {{ {action} }}
"""
    )
    checked = ["-N1", "-f", str(config), "-M", str(shipper.modules)]
    async with shipper.running(*checked, log=tmp_path / "check.txt"):
        await until(lambda: "End of config validation" in (tmp_path / "check.txt").read_text())
    arguments = ["-n", "-f", str(config), "-i", str(tmp_path / "pid"), "-M", str(shipper.modules)]
    async with shipper.running(*arguments, log=tmp_path / "rsyslog.txt"):
        await stored.wait_for(COUNT, 60)


async def sent(stored: Stored) -> list[str]:
    """Return the messages stored since the test began."""
    events = await stored.events()
    return sorted(
        e["raw"]["message"] if isinstance(e["raw"], dict) else e["fields"]["message"]
        for e in events
    )


async def test_rsyslog_omelasticsearch(
    world: World, place: Place, tmp_path: Path, logfile: Path
) -> None:
    stored = await Stored.now(world)
    action = f"""action(type="omelasticsearch" server="127.0.0.1" serverport="{place.port}"
      template="json" searchIndex="logs" bulkmode="on" uid="any" pwd="{place.key}"
      errorfile="{tmp_path}/errors")"""
    load = 'module(load="omelasticsearch")'
    await rsyslog(stored, tmp_path, logfile, "omelasticsearch.so", load, action)
    assert await sent(stored) == sorted(LINES)
    assert not (tmp_path / "errors").exists()


@pytest.mark.parametrize("framing", ["traditional", "octet-counted"])
async def test_rsyslog_omfwd_tcp(
    world: World, place: Place, tmp_path: Path, logfile: Path, framing: str
) -> None:
    stored = await Stored.now(world)
    action = f"""action(type="omfwd" target="127.0.0.1" port="{place.settings.syslog_tcp_port}"
      protocol="tcp" TCP_Framing="{framing}" template="RSYSLOG_SyslogProtocol23Format")"""
    await rsyslog(stored, tmp_path, logfile, "imfile.so", "", action)
    assert await sent(stored) == sorted(LINES)
    events = await stored.events()
    assert {e["fields"]["program"] for e in events} == {"sshd"}


async def test_rsyslog_omfwd_tls(world: World, place: Place, tmp_path: Path, logfile: Path) -> None:
    stored = await Stored.now(world)
    leaf = place.ca.issue("sender")
    head = f"""global(defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{place.ca.path}"
      defaultNetstreamDriverCertFile="{leaf}" defaultNetstreamDriverKeyFile="{leaf}")"""
    action = f"""action(type="omfwd" target="127.0.0.1" port="{place.settings.syslog_tls_port}"
      protocol="tcp" StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/certvalid"
      TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format")"""
    await rsyslog(stored, tmp_path, logfile, "lmnsd_ossl.so", head, action)
    assert await sent(stored) == sorted(LINES)


# syslog-ng ---------------------------------------------------------------------------------------


async def syslog_ng(
    stored: Stored, tmp_path: Path, logfile: Path, destination: str, include: str = ""
) -> None:
    shipper = shippers.find("syslog-ng", "libhttp.so", "usr/share/syslog-ng/include")
    if include and not (shipper.includes / include).exists():
        pytest.skip(f"syslog-ng lacks {include} (see tests/support/shippers.py)")
    config = tmp_path / "syslog-ng.conf"
    config.write_text(
        f"""@version: 3.35
{f'@include "{shipper.includes / include}"' if include else ""}
source s {{ file("{logfile}" flags(no-parse)); }};
destination d {{ {destination} }};
log {{ source(s); destination(d); }};
"""
    )
    arguments = [
        "-F", "--no-caps", "-f", str(config), "-R", str(tmp_path / "persist"),
        "-c", str(tmp_path / "ctl"), "-p", str(tmp_path / "pid"), "-e",
        f"--module-path={shipper.modules}",
    ]  # fmt: skip
    async with shipper.running(*arguments, log=tmp_path / "syslog-ng.txt"):
        await stored.wait_for(COUNT, 60)


async def test_syslog_ng_elasticsearch_http(
    world: World, place: Place, tmp_path: Path, logfile: Path
) -> None:
    stored = await Stored.now(world)
    destination = f"""elasticsearch-http(url("{place.client.base_url}/_bulk") index("logs") type("")
      user("any") password("{place.key}") batch-lines(100) batch-timeout(500)
      template("$(format-json message=$MSG host=$HOST)"));"""
    await syslog_ng(stored, tmp_path, logfile, destination, "scl/elasticsearch/elastic-http.conf")
    assert await sent(stored) == sorted(LINES)


async def test_syslog_ng_hec(world: World, place: Place, tmp_path: Path, logfile: Path) -> None:
    stored = await Stored.now(world)
    destination = f"""http(url("{place.client.base_url}/services/collector/event")
      method("POST") headers("Authorization: Splunk {place.key}") batch-lines(100)
      batch-timeout(500) delimiter("")
      body('$(format-json event=$MSG host=$HOST time=$S_UNIXTIME)'));"""
    await syslog_ng(stored, tmp_path, logfile, destination)
    assert await sent(stored) == sorted(LINES)
