"""Single values: what is accepted in which spelling, and that nothing else gets through."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispgraph.domain import values
from ispgraph.domain.errors import ErrorCode, Faults


@pytest.mark.parametrize(
    ("function", "arguments", "wanted"),
    [
        (values.email, (" Jane.Doe@Example.NET ",), "jane.doe@example.net"),
        (values.phone, ("01712-345678", "BD"), "+8801712345678"),
        (values.phone, ("+44 20 7946 0018", "BD"), "+442079460018"),
        (values.mac, ("aabb.ccdd.eeff",), "AA:BB:CC:DD:EE:FF"),
        (values.mac, ("aa-bb-cc-dd-ee-ff",), "AA:BB:CC:DD:EE:FF"),
        (values.ip_address, ("2001:DB8:0::1",), "2001:db8::1"),
        (values.ip_network, ("10.0.0.0/24",), "10.0.0.0/24"),
        (values.username, (" O'Hara+1@isp.example ",), "o'hara+1@isp.example"),
        (values.text, ("  Cafe\u0301  ", 4), "Café"),
        (values.network_password, (" p@ss wörd ",), " p@ss wörd "),
    ],
)
def test_fit(function: object, arguments: tuple[object, ...], wanted: str) -> None:
    assert function(*arguments) == wanted  # type: ignore[operator]


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        *(
            (values.email, (raw,))
            for raw in ("jane", "jane@", "@x.net", "a b@x.net", "a@x", f"{'a' * 60}@{'b' * 250}.net")
        ),
        *(
            (values.phone, (raw, "BD"))
            for raw in ("12", "017123456789012", "abc", "+8801712345678 ext 5", "9" * 10_000)
        ),
        *(
            (values.mac, (raw,))
            for raw in ("00:00:00:00:00:00", "01:00:5e:00:00:01", "AA:BB-CC:DD:EE:FF", "AABBCCDDEE")
        ),
        *(
            (values.ip_address, (raw,))
            for raw in ("0.0.0.0", "224.0.0.1", "255.255.255.255", "fe80::1%eth0", "10.0.0.01")
        ),
        (values.ip_address, ("2001:db8::1", 4)),
        (values.ip_network, ("10.0.0.1/24",)),
        (values.ip_network, ("fe80::%eth0/64",)),
        *(
            (values.username, (raw,))
            for raw in ("", "a b", "a..b", ".a", "a.", "a@b", "@isp.net", "a@b@c.net", "x" * 65, "é")
        ),
        *((values.text, (raw, 5)) for raw in ("", "  ", "abcdef", "a\x00b", "a\nb", "a\ud800", "a\u202eb")),
        *((values.network_password, (raw,)) for raw in ("", "a\x7f", "x" * 64, "é" * 32)),
    ],
)
def test_unfit(function: object, arguments: tuple[object, ...]) -> None:
    with pytest.raises(values.Unfit):
        function(*arguments)  # type: ignore[operator]


def test_every_fault_is_collected_at_its_path() -> None:
    faults = Faults("input")
    assert values.checked(faults, values.email, None, at=("basics", "email")) is None
    assert values.checked(faults, values.text, " ", 5, at=("name",)) is None
    assert values.checked(faults, values.mac, "x", at=("mac",)) is None
    assert values.checked(faults, values.text, "fine", 5, at=("city",)) == "fine"
    assert [(fault.code, fault.field) for fault in faults.found] == [
        (ErrorCode.REQUIRED, ("input", "basics", "email")),
        (ErrorCode.REQUIRED, ("input", "name")),
        (ErrorCode.INVALID, ("input", "mac")),
    ]


@given(st.binary(min_size=6, max_size=6), st.sampled_from([":", "-", "."]), st.booleans())
def test_any_unicast_mac_in_any_spelling(octets: bytes, separator: str, upper: bool) -> None:
    octets = bytes([octets[0] & 0xFE]) + octets[1:-1] + bytes([octets[-1] | 1])
    raw = octets.hex(separator, 2 if separator == "." else 1)
    found = values.mac(raw.upper() if upper else raw)
    assert bytes.fromhex(found.replace(":", "")) == octets
    assert values.mac(found) == found


@given(st.text(max_size=80))
def test_whatever_is_typed_is_refused_or_one_stable_spelling(raw: str) -> None:
    for function, extra in (
        (values.email, ()),
        (values.phone, ("BD",)),
        (values.mac, ()),
        (values.ip_address, ()),
        (values.ip_network, ()),
        (values.username, ()),
        (values.text, (40,)),
        (values.network_password, ()),
    ):
        try:
            found = function(raw, *extra)  # type: ignore[operator]
        except values.Unfit:
            continue
        assert function(found, *extra) == found  # type: ignore[operator]
        assert "\x00" not in found
        found.encode()


@given(st.text(alphabet="ab.@+'-_ A9é%\"\\", max_size=70))
def test_usernames_need_no_quoting_anywhere(raw: str) -> None:
    try:
        found = values.username(raw)
    except values.Unfit:
        return
    assert re.fullmatch(r"[a-z0-9._@+'-]{1,64}", found)
    assert not re.search(r"\.\.|\.$|^\.|@[^.]*$|@\.|@.*@", found)


@given(st.ip_addresses())
def test_addresses_are_canonical(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = getattr(address, "ipv4_mapped", None) is not None
    ours = address.is_loopback or address.is_link_local or address.is_unspecified or mapped
    if ours or address.is_multicast or (address.version == 4 and (address.packed[0] == 0 or address.packed[0] >= 240)):
        with pytest.raises(values.Unfit):
            values.ip_address(address.exploded)
    else:
        assert values.ip_address(address.exploded) == str(address)
