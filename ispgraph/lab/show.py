"""What a router shows of running sessions: properties that are worked out when somebody looks."""

from collections.abc import Callable

from ispgraph.lab.hosts import Hosts
from ispgraph.lab.items import Item
from ispgraph.lab.kinds import duration
from ispgraph.lab.printing import Rates
from ispgraph.lab.routeros import RouterOS
from ispgraph.lab.session import Session
from ispgraph.lab.traffic import PACKET_DOWN, PACKET_UP

_Shown = Callable[[Session, float], str]


def show(router: RouterOS, hosts: Hosts) -> None:
    """Let the tables of this router compute counters, rates and times of the sessions that own their items, and of the
    simple queues of hosts.
    """

    def compute(path: str, name: str, shown: _Shown) -> None:
        table = router.table(path)

        def computed(item: Item) -> str | None:
            if isinstance(item.owner, Session):
                return shown(item.owner, router.now())
            return item.values.get(name, table.menu.properties[name].default)

        table.compute(name, computed)

    compute("/ppp/active", "uptime", _uptime)
    compute("/interface", "rx-byte", lambda session, now: str(session.meter.read(now)[0]))
    compute("/interface", "tx-byte", lambda session, now: str(session.meter.read(now)[1]))
    router.interface_rates = _rates
    compute("/ip/hotspot/active", "uptime", _uptime)
    compute("/ip/hotspot/active", "bytes-in", lambda session, now: str(session.meter.read(now)[0]))
    compute("/ip/hotspot/active", "bytes-out", lambda session, now: str(session.meter.read(now)[1]))
    compute("/ip/hotspot/active", "session-time-left", _time_left)
    queues = router.table("/queue/simple")

    def total(item: Item) -> str:
        now = router.now()
        return _pair(item.owner.meter.read(now) if isinstance(item.owner, Session) else hosts.counted(item, now))

    def speed(item: Item) -> str:
        if isinstance(item.owner, Session):
            return _pair((item.owner.meter.rate_up, item.owner.meter.rate_down))
        return _pair(hosts.speed(item))

    queues.compute("bytes", total)
    queues.compute("rate", speed)


def _pair(values: tuple[int, int]) -> str:
    return f"{values[0]}/{values[1]}"


def _rates(item: Item) -> Rates:
    if not isinstance(item.owner, Session):
        return 0.0, 0.0, 0.0, 0.0
    up, down = item.owner.meter.rate_up, item.owner.meter.rate_down
    return up, down, up / PACKET_UP / 8, down / PACKET_DOWN / 8


def _uptime(session: Session, now: float) -> str:
    return duration(int(now - session.started))


def _time_left(session: Session, now: float) -> str:
    return duration(max(0, int(session.timeout_at - now))) if session.timeout_at is not None else ""
