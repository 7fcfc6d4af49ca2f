"""What a router's counters say about lines."""

from typing import Any
from uuid import uuid4

import pytest

from ispgraph import clock, ids
from ispgraph.domain.live import readings
from ispgraph.domain.live.lines import Line, Update, told
from ispgraph.domain.live.readings import LiveUsageSource
from ispgraph.domain.models import ConnectionType
from ispgraph.live import counters
from ispgraph.live.counters import Speed, sample, speed


def line(kind: ConnectionType = ConnectionType.PPPOE, username: str = "Jane", **fields: Any) -> Line:
    given = {"router_id": uuid4(), "mac": None, "session_id": uuid4(), "update": None, "service_id": uuid4()} | fields
    return Line(customer_id=uuid4(), operator_id=uuid4(), kind=kind, username=username, **given)


def interfaces(at: float, up: str, down: str, key: str = "*1", name: str = "<pppoe-jane>") -> counters.Sample:
    return sample(at, {"/interface": [{".id": key, "name": name, "rx-byte": up, "tx-byte": down}]})


def test_what_a_customer_sends_is_what_the_router_receives() -> None:
    before, now = interfaces(10.0, "1000", "5000"), interfaces(12.0, "1250", "9000")
    assert speed(line(), now, before) == Speed(up_bps=1000, down_bps=16_000, up_bytes=1250, down_bytes=9000)


@pytest.mark.parametrize(
    "now",
    [interfaces(12.0, "999", "9000"), interfaces(12.0, "2000", "4999"), interfaces(12.0, "2000", "9000", key="*2")],
    ids=["upload fell", "download fell", "another session"],
)
def test_of_counters_that_began_anew_nothing_is_said(now: counters.Sample) -> None:
    before = interfaces(10.0, "1000", "5000")
    assert speed(line(), now, before) is None
    assert speed(line(), now, None) is None
    later = interfaces(13.0, "3000", "10000", key="*2" if now.counts["p jane"][0].key == "*2" else "*1")
    assert speed(line(), later, now) is not None


def test_who_has_no_session_passes_nothing() -> None:
    assert speed(line(username="joe"), interfaces(1.0, "5", "5"), None) == Speed(0, 0, 0, 0)
    # Another user's name may end like a second session of the first.
    assert not counters.found(line(), interfaces(1.0, "5", "5", name="<pppoe-jane-1>"))
    named = sample(1.0, {"/interface": [{"name": "to-jane"}], "/ppp/active": [{"name": "JANE"}]})
    assert counters.unnamed(line(), named)
    assert not counters.unnamed(line(username="joe"), named)


def test_hotspots_and_static_addresses() -> None:
    static = line(ConnectionType.STATIC_IP, session_id=None)
    guest = line(ConnectionType.HOTSPOT, username="02-00-5e-00-00-01", mac="02:00:5E:00:00:01")
    assert static.service_id is not None

    def tables(at: float, up: int, down: int) -> counters.Sample:
        device = {".id": "*7", "user": "02:00:5e:00:00:01", "mac-address": "02:00:5E:00:00:01"}
        queue = {".id": "*9", "comment": f"ispgraph:{ids.encode('svc', static.service_id)}", "bytes": f"{up}/{down}"}
        hosts = [device | {"bytes-in": str(up), "bytes-out": str(down)}]
        return sample(at, {"/ip/hotspot/active": hosts, "/queue/simple": [queue]})

    for each in (static, guest):
        assert speed(each, tables(2.0, 200, 900), tables(1.0, 100, 400)) == Speed(800, 4000, 200, 900)
    assert [menu[0] for menu in counters.menus([static, guest])] == ["/ip/hotspot/active", "/queue/simple"]


def test_the_books_tell_the_average_since_the_update_before() -> None:
    at = clock.now()
    update = Update(at, 600, 60_000_000, 600_000_000)
    whole = told(line(update=update), at)
    assert (whole.online, whole.upload_bps, whole.download_bps) == (True, 800_000, 8_000_000)
    assert (whole.source, whole.at) == (LiveUsageSource.ACCOUNTING, readings.printed(at))
    since = told(line(update=update), at, Update(at, 300, 0, 562_500_000))
    assert (since.upload_bps, since.download_bps) == (1_600_000, 1_000_000)
    begun = told(line(update=Update(at, 0, 0, 0)), at)
    assert (begun.online, begun.download_bps) == (True, 0)


def test_readings_travel_as_they_are() -> None:
    some = [
        told(line(update=Update(clock.now(), 5, 2**40, 2**41)), clock.now()),
        told(line(router_id=None), clock.now()),
    ]
    assert list(readings.decoded(readings.encoded(some))) == some
