"""CVE-2024-5526, CVE-2026-9813, GHSA-jp9j-jr97-w9pj: a webhook never reaches what is not public."""

from collections.abc import Sequence

import pytest

from shared.egress import AllowList, EgressError, destination

pytestmark = pytest.mark.unit


class Names:
    """A resolver that knows what it is told, and counts."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known = {name.replace("_", "."): found for name, found in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.known:
            raise OSError(f"{host} is unknown")
        return self.known[host]


NOTHING = AllowList()
REFUSED = [
    "http://hooks.example/",  # not https
    "ftp://hooks.example/",
    "https://user:pw@hooks.example/",
    "https:///nohost",
    "https://",
    "not a url",
    "https://127.0.0.1/",
    "https://127.8.9.1/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",  # carrier-grade NAT
    "https://169.254.169.254/latest/meta-data/",  # cloud metadata
    "https://192.0.0.192/opc/v2/",  # Oracle's metadata
    "https://168.63.129.16.nip.example/",  # unknown name
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://198.18.0.1/",
    "https://192.88.99.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::127.0.0.1]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",  # AWS metadata
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[64:ff9b::7f00:1]/",  # NAT64 of 127.0.0.1
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",  # 6to4 of 127.0.0.1
    "https://[2002:a00:1::1]/",
    "https://[2001:db8::1]/",
    "https://[2001::1]/",  # Teredo
    "https://[3fff::1]/",
    "https://2130706433/",  # 127.0.0.1 in decimal
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.0.1./",
    "https://localhost/",
    "https://private.example/",
    "https://mixed.example/",
    "https://mapped.example/",
    "https://strange.example/",
]


@pytest.mark.parametrize("url", REFUSED)
async def test_what_is_not_public_is_refused(url: str) -> None:
    names = Names(
        localhost=["127.0.0.1"],
        private_example=["10.1.2.3"],
        mixed_example=["93.184.215.14", "192.168.0.1"],  # one private address is enough
        mapped_example=["::ffff:127.0.0.1"],
        strange_example=["fe80::1%eth0"],
    )
    with pytest.raises(EgressError):
        await destination(url, NOTHING, names)


async def test_a_public_end_is_resolved_once_and_its_address_pinned() -> None:
    names = Names(hooks_example=["93.184.215.14", "2606:2800:21f::1"])
    end = await destination("https://Hooks.Example:8443/a?b=c", NOTHING, names)
    assert str(end.url) == "https://93.184.215.14:8443/a?b=c"
    assert (end.host, end.host_header) == ("hooks.example", "hooks.example:8443")
    assert names.asked == ["hooks.example"]


async def test_an_ipv6_end_keeps_its_brackets() -> None:
    end = await destination("https://[2606:4700::1111]/x", NOTHING, Names())
    assert str(end.url) == "https://[2606:4700::1111]/x"


async def test_an_unresolvable_name_may_be_tried_again_a_private_one_not() -> None:
    with pytest.raises(EgressError) as unknown:
        await destination("https://gone.example/", NOTHING, Names())
    assert unknown.value.transient
    with pytest.raises(EgressError) as private:
        await destination("https://10.0.0.1/", NOTHING, Names())
    assert not private.value.transient


async def test_the_allow_list_opens_what_it_names_and_nothing_beside() -> None:
    allow = AllowList.parse(["127.0.0.1:9000", "10.1.0.0/16", "in.example:80"])
    names = Names(in_example=["10.2.0.1"], inside_example=["10.1.2.3"], half_example=["10.1.0.1"])
    await destination("http://127.0.0.1:9000/x", allow, names)
    await destination("http://in.example/", allow, names)
    await destination("http://inside.example/", allow, names)
    for url in (
        "http://127.0.0.1:9001/x",
        "http://127.0.0.1/",
        "https://in.example/",
        "http://10.2.0.1/",
        "http://in.example.evil.example/",
    ):
        with pytest.raises(EgressError):
            await destination(url, allow, names)


@pytest.mark.parametrize("entry", ["host", "host:", ":80", "10.0.0.1/8", "host:http"])
def test_an_allow_list_entry_that_is_not_understood_is_refused(entry: str) -> None:
    with pytest.raises(ValueError):
        AllowList.parse([entry])
