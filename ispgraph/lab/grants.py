"""What a login is given: by an Access-Accept, or by a user of the router itself. A profile fills in the rest."""

from ispgraph.lab import packets
from ispgraph.lab.items import Item, Table
from ispgraph.lab.kinds import milliseconds
from ispgraph.lab.packets import Key, Packet, PacketError
from ispgraph.lab.rates import BadRate, parse_rate
from ispgraph.lab.routeros import RouterOS
from ispgraph.lab.session import Grant, Limits

_SHORTEST_INTERIM = 60
_PROFILES = {"pppoe": "/ppp/profile", "hotspot": "/ip/hotspot/user/profile"}
_POOL_PROPERTY = {"pppoe": "remote-address", "hotspot": "address-pool"}
# RFC 2865 section 5.8: the subscriber may choose, or the NAS shall.
_CHOOSE = ("255.255.255.255", "255.255.255.254")


class BadGrant(Exception):
    """What was given cannot be applied; the message is what the router's log would say."""


def from_accept(router: RouterOS, service: str, default_profile: str, accept: Packet) -> Grant:
    """Read an Access-Accept. Raises BadGrant."""
    try:
        address = accept.address(packets.FRAMED_IP)
        grant = Grant(
            radius=True,
            profile=accept.text(packets.GROUP) or default_profile,
            address=None if address in _CHOOSE else address,
            pool=accept.text(packets.FRAMED_POOL),
            lists=tuple(value.decode(errors="replace") for value in accept.all(packets.ADDRESS_LIST)),
            timeout=accept.number(packets.SESSION_TIMEOUT) or None,
            idle=accept.number(packets.IDLE_TIMEOUT) or None,
            interim=_interim(router, service, accept.number(packets.INTERIM_INTERVAL)),
            limits=Limits(
                recv=wide(accept, packets.RECV_LIMIT, packets.RECV_GIGAWORDS),
                xmit=wide(accept, packets.XMIT_LIMIT, packets.XMIT_GIGAWORDS),
                # /ppp/active has no total: that PPP obeys it is not documented, so it does not here.
                total=wide(accept, packets.TOTAL_LIMIT, packets.TOTAL_GIGAWORDS) if service == "hotspot" else 0,
            ),
            port_limit=accept.number(packets.PORT_LIMIT),
            classes=tuple(accept.all(packets.CLASS)),
        )
        rate = accept.text(packets.RATE_LIMIT)
        grant.rate = parse_rate(rate) if rate else None
    except (PacketError, BadRate) as error:
        raise BadGrant(str(error)) from error
    _fill_in(router, service, grant)
    return grant


def from_local(router: RouterOS, service: str, user: Item) -> Grant:
    """Read an item of /ppp/secret or /ip/hotspot/user. Raises BadGrant."""
    table = router.table("/ppp/secret" if service == "pppoe" else "/ip/hotspot/user")
    fixed = _given(table, user, "remote-address" if service == "pppoe" else "address")
    grant = Grant(
        radius=False,
        profile=table.get(user, "profile") or "default",
        limits=Limits(
            _count(table, user, "limit-bytes-in"),
            _count(table, user, "limit-bytes-out"),
            _count(table, user, "limit-bytes-total"),
        ),
        timeout=_seconds(table, user, "limit-uptime"),
    )
    _take_address(grant, fixed)
    _fill_in(router, service, grant)
    return grant


def wide(packet: Packet, low: Key, high: Key) -> int:
    """A byte limit in two words of 32 bits. Raises PacketError."""
    return (packet.number(low) or 0) + ((packet.number(high) or 0) << 32)


def profile_of(router: RouterOS, service: str, name: str) -> Item:
    """The profile with this name. Raises BadGrant."""
    found = router.table(_PROFILES[service]).find(name=name)
    if not found:
        raise BadGrant(f"no profile {name}")
    return found[0]


def profile_value(router: RouterOS, service: str, grant: Grant, name: str) -> str | None:
    """A property of the grant's profile, None when it is not set there."""
    return _given(router.table(_PROFILES[service]), profile_of(router, service, grant.profile), name)


def _fill_in(router: RouterOS, service: str, grant: Grant) -> None:
    item = profile_of(router, service, grant.profile)
    table = router.table(_PROFILES[service])
    if grant.address is None and grant.pool is None:
        _take_address(grant, _given(table, item, _POOL_PROPERTY[service]))
    rate = _given(table, item, "rate-limit")
    if grant.rate is None and rate:
        try:
            grant.rate = parse_rate(rate)
        except BadRate as error:
            raise BadGrant(str(error)) from error
    if not grant.lists and (named := _given(table, item, "address-list")):
        grant.lists = tuple(named.split(","))
    grant.timeout = grant.timeout or _seconds(table, item, "session-timeout")
    grant.idle = grant.idle or _seconds(table, item, "idle-timeout")


def _take_address(grant: Grant, text: str | None) -> None:
    if text and text.count(".") == 3 and text.replace(".", "").isdigit():
        grant.address = text
    else:
        grant.pool = text


def _interim(router: RouterOS, service: str, received: int | None) -> int | None:
    """The router's own interval wins; RFC 2869 section 2.1 allows none below a minute."""
    if service == "pppoe":
        table, name = router.table("/ppp/aaa"), "interim-update"
    else:
        table, name = router.table("/ip/hotspot/profile"), "radius-interim-update"
    own = next((milliseconds(table.get(item, name) or "") for item in table), None)
    chosen = own // 1000 if own else received
    return max(_SHORTEST_INTERIM, chosen) if chosen else None


def _given(table: Table, item: Item, name: str) -> str | None:
    value = table.get(item, name)
    return None if value in (None, "", "none", "0.0.0.0") else value  # noqa: S104


def _seconds(table: Table, item: Item, name: str) -> int | None:
    return (milliseconds(table.get(item, name) or "") or 0) // 1000 or None


def _count(table: Table, item: Item, name: str) -> int:
    text = table.get(item, name) or "0"
    return int(text) if text.isdigit() else 0
