"""ocf:hafailover:vip: what may be configured. What it does is tried on a real Ethernet in test_vip_network.py."""

from __future__ import annotations

import pytest
from hafailover.agents import journal, ocf
from hafailover.agents.ocf import OcfError
from hafailover.agents.vip import agent
from hafailover.agents.vip.netlink import same_network
from hafailover.agents.vip.place import Wanted, parse, prefix_length
from hypothesis import given
from hypothesis import strategies as st

RECURRING = {"OCF_RESKEY_CRM_meta_interval": "10000"}


@pytest.fixture(autouse=True)
def no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "NATIVE", "/nonexistent")
    monkeypatch.setattr(journal, "SYSLOG", "/nonexistent")


@pytest.mark.parametrize(
    ("text", "ip", "prefix"),
    [
        ("192.0.2.10", bytes([192, 0, 2, 10]), None),
        ("192.0.2.10/24", bytes([192, 0, 2, 10]), 24),
        ("::ffff:1/128", b"\0" * 12 + b"\xff\xff\0\1", 128),
        ("2001:db8::1", b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\1", None),
    ],
)
def test_addresses(text: str, ip: bytes, prefix: int | None) -> None:
    assert parse(text) == (ip, prefix)


@pytest.mark.parametrize(
    "text",
    [
        "db.example.com", "192.0.2", "192.0.2.256", "192.0.2.10/33", "192.0.2.10/0", "192.0.2.10/", "192.0.2.10/x",
        "2001:db8::1/129", "2001:::1", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "192.0.2.10 ; id",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"OCF_RESKEY_ip": text}
    assert agent.run(["validate-all"], environ) == ocf.ERR_CONFIGURED
    assert "ocf-exit-reason:parameter ip: " in capsys.readouterr().err
    assert agent.run(["monitor"], environ) == ocf.NOT_RUNNING
    assert agent.run(["monitor"], {**environ, **RECURRING}) == ocf.ERR_CONFIGURED
    assert agent.run(["stop"], environ) == ocf.SUCCESS


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_reason(text: str) -> None:
    try:
        ip, prefix = parse(text)
    except ValueError as error:
        assert str(error)
    else:
        assert len(ip) in (4, 16)
        assert prefix is None or 1 <= prefix <= len(ip) * 8


@given(st.integers(1, 32))
def test_netmasks(bits: int) -> None:
    mask = (0xFFFFFFFF << (32 - bits)) & 0xFFFFFFFF
    assert prefix_length(".".join(str(mask >> shift & 255) for shift in (24, 16, 8, 0))) == bits
    assert prefix_length(str(bits)) == bits


@pytest.mark.parametrize("text", ["0", "129", "255.0.255.0", "0.0.0.0", "ffff::", "/24", "24 bits"])
def test_what_is_no_netmask(text: str) -> None:
    with pytest.raises(ValueError, match="prefix length"):
        prefix_length(text)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 31))
def test_networks(number: int, prefix: int, bit: int) -> None:
    one = number.to_bytes(4, "big")
    other = (number ^ 1 << bit).to_bytes(4, "big")
    assert same_network(one, one, prefix)
    assert same_network(one, other, prefix) == (prefix <= 31 - bit)
    assert not same_network(one, b"\0" * 16, 0), "of another family"


def wanted(ip: str, netmask: str | None = None, nic: str | None = None) -> Wanted:
    return Wanted({"ip": ip, "cidr_netmask": netmask, "nic": nic})


def test_prefix_beside_the_address_and_in_it() -> None:
    assert wanted("192.0.2.10", "24").prefix == 24
    assert wanted("192.0.2.10/25", "24").prefix == 25
    assert wanted("192.0.2.10").prefix is None


def test_parameters_that_contradict_one_another() -> None:
    with pytest.raises(OcfError, match=r"cidr_netmask 64 is too long for 192\.0\.2\.10") as caught:
        wanted("192.0.2.10", "64")
    assert caught.value.rc == ocf.ERR_CONFIGURED
    with pytest.raises(OcfError, match="link-local address, which every interface can have; set nic"):
        wanted("fe80::1")
    assert wanted("fe80::1", nic="eth0").nic == "eth0"


@pytest.mark.parametrize(("name", "value"), [("dad", "51ms"), ("dad", "1"), ("repeats", "11"), ("repeats", "-1")])
def test_limits(name: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert agent.run(["start"], {"OCF_RESKEY_ip": "192.0.2.1", f"OCF_RESKEY_{name}": value}) == ocf.ERR_CONFIGURED
    assert "allowed: 0 to " in capsys.readouterr().err
