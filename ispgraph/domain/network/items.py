"""What a router itself should hold for a service, and how that differs from what is found there. Pure.

Only items that carry our comment are ours. Of an item that somebody else made under the same name we keep our hands,
and say that it is in the way.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from ispgraph import ids
from ispgraph.domain.models import ConnectionType, RouterMode
from ispgraph.domain.network.desired import Admission, Desired

MARK = "ispgraph:"
SECRETS, PROFILES, ACTIVE = "/ppp/secret", "/ppp/profile", "/ppp/active"
HOTSPOT_USERS, HOTSPOT_PROFILES = "/ip/hotspot/user", "/ip/hotspot/user/profile"
HOTSPOT_ACTIVE, HOTSPOT_COOKIES = "/ip/hotspot/active", "/ip/hotspot/cookie"
# What a profile gives its users beside a rate.
ADDRESSES = ("local-address", "remote-address", "dns-server")
QUEUES, ADDRESS_LISTS, CONNECTIONS = "/queue/simple", "/ip/firewall/address-list", "/ip/firewall/connection"

_WALLED = "ispgraph-walled"
_RATE = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)")
_FACTORS = {"": 1, "k": 1000, "M": 1_000_000, "G": 1_000_000_000}
_TRUTH = {"yes": "true", "no": "false"}
# Properties that are rates, upload/download; RouterOS writes them in full.
_RATES = ("max-limit", "rate-limit")
# What a user of the router's own is bound to; it can hold one address.
DEVICE = ("caller-id", "mac-address")
_NO_DEVICE = "00:00:00:00:00:00"
# Of what RouterOS shows to nobody: written when the rest differs, and never compared.
_UNSEEN = ("password",)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One item that should be there: found by `key`, with `values`. With `absent`, none of ours should be."""

    path: str
    key: Mapping[str, str]
    values: Mapping[str, str]
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Drift:
    """One property that is not as it should be; without a property the whole item."""

    path: str
    property: str | None
    expected: str | None
    observed: str | None

    def as_row(self) -> dict[str, str | None]:
        """As it is kept in the database, which takes no NUL."""
        observed = None if self.observed is None else self.observed.replace("\0", "")
        return {"path": self.path, "property": self.property, "expected": self.expected, "observed": observed}


def mark(service_id: UUID) -> str:
    """The comment that makes an item ours."""
    return MARK + ids.encode("svc", service_id)


def ours(item: Mapping[str, str]) -> bool:
    """Whether an item carries our comment."""
    return item.get("comment", "").startswith(MARK)


def rate(desired: Desired) -> str:
    """What a service's packets pass at, upload/download."""
    if desired.admission is Admission.FULL:
        return f"{desired.upload_kbps}k/{desired.download_kbps}k"
    return f"{desired.wall.kbps}k/{desired.wall.kbps}k"


def wanted(
    desired: Desired, mode: RouterMode, password: str | None, base: Mapping[str, str] | None = None
) -> list[Wanted]:
    """The items of a service, those that others refer to first. `password` is for a router that keeps its users, and
    `base` its profile whose addresses they get."""
    if desired.connection_type is ConnectionType.STATIC_IP:
        return _static(desired)
    if mode is RouterMode.RADIUS or password is None:
        return []
    if desired.connection_type is ConnectionType.PPPOE:
        return _secret(desired, password, base or {})
    if desired.connection_type is ConnectionType.HOTSPOT:
        return _hotspot_user(desired, password)
    return []


def _static(desired: Desired) -> list[Wanted]:
    if desired.ip_address is None:
        return []
    comment, full = mark(desired.service_id), desired.admission is Admission.FULL
    queue = {
        "name": f"ispgraph-{desired.username}",
        "target": f"{desired.ip_address}/32",
        "max-limit": rate(desired),
        "disabled": "no",
        "comment": comment,
    }
    entry = {"list": desired.wall.address_list, "address": desired.ip_address, "disabled": "no", "comment": comment}
    listed = {"list": desired.wall.address_list, "address": desired.ip_address}
    return [
        Wanted(QUEUES, {"comment": comment}, queue),
        Wanted(ADDRESS_LISTS, listed, entry, absent=full),
    ]


def _secret(desired: Desired, password: str, base: Mapping[str, str]) -> list[Wanted]:
    profile = _profile(desired, PROFILES, base)
    secret = {
        "name": desired.username,
        "password": password,
        "service": "pppoe",
        "profile": profile.values["name"],
        "caller-id": _device(desired, ""),
        "disabled": "yes" if desired.admission is Admission.NONE else "no",
        "comment": mark(desired.service_id),
    }
    if desired.ip_address is not None and desired.admission is Admission.FULL:
        secret["remote-address"] = desired.ip_address
    return [profile, Wanted(SECRETS, {"name": desired.username}, secret)]


def _hotspot_user(desired: Desired, password: str) -> list[Wanted]:
    profile = _profile(desired, HOTSPOT_PROFILES, {})
    user = {
        "name": desired.username,
        "password": password,
        "profile": profile.values["name"],
        "mac-address": _device(desired, _NO_DEVICE),
        "disabled": "yes" if desired.admission is Admission.NONE else "no",
        "comment": mark(desired.service_id),
    }
    return [profile, Wanted(HOTSPOT_USERS, {"name": desired.username}, user)]


def _device(desired: Desired, none: str) -> str:
    return desired.macs[0] if len(desired.macs) == 1 else none


def _profile(desired: Desired, path: str, base: Mapping[str, str]) -> Wanted:
    """The profile of a rate, shared by all who have it; profiles of ours are known by their names."""
    addresses = {name: base[name] for name in ADDRESSES if base.get(name)}
    if desired.admission is Admission.WALLED:
        wall = desired.wall
        values = {"name": _WALLED, "rate-limit": rate(desired), "address-list": wall.address_list, **addresses}
        if wall.pool is not None:
            values["remote-address" if path == PROFILES else "address-pool"] = wall.pool
    else:
        # Whoever is refused has no use for a rate: the usual profile stays, so that nothing but `disabled` changes.
        kbps = f"{desired.upload_kbps}-{desired.download_kbps}"
        name = f"ispgraph-{desired.profile}-{kbps}" if desired.profile else f"ispgraph-{kbps}"
        # Without a rate of its own a profile leaves it to the router.
        limit = f"{desired.upload_kbps}k/{desired.download_kbps}k" if desired.download_kbps else ""
        values = {"name": name, "rate-limit": limit, **addresses}
    return Wanted(path, {"name": values["name"]}, values)


def differences(item: Wanted, found: Sequence[Mapping[str, str]]) -> list[Drift]:
    """What is not as it should be; nothing when it is right. Passwords are never told."""
    if item.absent:
        return [
            Drift(item.path, None, None, _named(each)) for each in found if ours(each) and not _true(each, "disabled")
        ]
    if not found:
        return [Drift(item.path, None, _named(item.values), None)]
    held = found[0]
    return [
        Drift(item.path, name, value, held.get(name))
        for name, value in item.values.items()
        if name not in _UNSEEN and _plain(name, value) != _plain(name, held.get(name, ""))
    ]


def in_the_way(item: Wanted, found: Sequence[Mapping[str, str]]) -> bool:
    """Whether somebody else's item stands where ours should be."""
    return "comment" in item.values and not item.absent and any(not ours(each) for each in found)


def _plain(name: str, value: str) -> str:
    """A value in the one form in which it is compared: RouterOS writes 2M as 2000000 and yes as true."""
    if name in _RATES:
        return "/".join(_bits(part) for part in value.split(" ")[0].split("/"))
    if name == "target" and value.endswith("/32"):
        return value.removesuffix("/32")
    if name in DEVICE:
        return "" if value == _NO_DEVICE else value.upper()
    return _TRUTH.get(value, value)


def _bits(rate: str) -> str:
    match = _RATE.fullmatch(rate)
    return str(int(Decimal(match[1]) * _FACTORS[match[2]])) if match else rate


def _true(item: Mapping[str, str], name: str) -> bool:
    return item.get(name, "false") in ("true", "yes")


def _named(item: Mapping[str, str]) -> str:
    return item.get("name") or " ".join(filter(None, (item.get("list"), item.get("address")))) or item.get(".id", "")
