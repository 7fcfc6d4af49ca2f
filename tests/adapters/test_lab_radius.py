"""Disconnect and CoA against the lab's listener, which is as strict as RouterOS about signatures and identities."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ispgraph.adapters import radius_client
from ispgraph.adapters.radius_client import Identity, Outcome, change, changes, disconnect
from ispgraph.lab.agenda import Agenda
from ispgraph.lab.nas import Nas
from ispgraph.lab.rates import parse_rate
from ispgraph.lab.routeros import RouterOS
from ispgraph.lab.session import Caller, Grant, Session

SECRET = "a secret between the two"


@pytest.fixture
async def lab() -> AsyncIterator[Nas]:
    router = RouterOS("border")
    nas = await Nas.start(router, Agenda(router.clock), "127.0.0.1")
    nas.incoming.faults.require_signature = True
    router.create("/radius", {"address": "127.0.0.1", "secret": SECRET, "service": "ppp,hotspot"})
    (incoming,) = router.table("/radius/incoming")
    router.table("/radius/incoming").change(incoming, {"accept": "true"})
    servers = router.table("/interface/pppoe-server/server")
    if not len(servers):
        router.create(servers.menu.path, {"interface": "ether1", "service-name": "lab"})
    for server in servers:
        servers.change(server, {"disabled": "false"})
    yield nas
    await nas.stop()


@pytest.fixture
def to(lab: Nas) -> radius_client.Nas:
    return radius_client.Nas("127.0.0.1", lab.coa_port, SECRET.encode())


@pytest.fixture
async def anna(lab: Nas, monkeypatch: pytest.MonkeyPatch) -> Session:
    """On line, as RADIUS would have let her in."""

    async def granted(session: Session, caller: Caller) -> Grant:
        return Grant(radius=True, profile="default", address="10.0.0.7", rate=parse_rate("1M/5M"))

    monkeypatch.setattr(lab.sessions, "_ask", granted)
    return await lab.sessions.dial(Caller("anna", "x"))


def identity(session: Session) -> Identity:
    return Identity("anna", session.session_id, "10.0.0.7", session.mac, "127.0.0.1")


async def test_a_change_and_a_disconnect_take_effect(lab: Nas, to: radius_client.Nas, anna: Session) -> None:
    queues = lab.router.table("/queue/simple")
    who = identity(anna).attributes()
    answer = await change(to, who | changes(rate_limit="2M/10M", session_timeout=3600))
    assert (answer.outcome, answer.error_cause, answer.sends) == (Outcome.ACK, None, 1)
    assert [queues.get(queue, "max-limit") for queue in queues] == ["2000000/10000000"]
    assert anna.timeout_at is not None
    answer = await disconnect(to, who)
    await asyncio.sleep(0.02)
    assert (answer.outcome, len(lab.sessions)) == (Outcome.ACK, 0)
    answer = await disconnect(to, who)
    assert (answer.outcome, answer.error_cause) == (Outcome.NAK, 503)
    counters = lab.incoming.counters
    assert (counters.requests, counters.bad_requests, counters.acks, counters.naks) == (3, 0, 2, 1)


async def test_what_the_router_refuses(lab: Nas, to: radius_client.Nas, anna: Session) -> None:
    for who, more, cause in (
        (Identity("anna"), changes(rate_limit="1M/1M"), 402),
        (replace(identity(anna), nas_ip="127.0.0.9"), changes(rate_limit="1M/1M"), 403),
        (replace(identity(anna), acct_session_id="81ffffff"), changes(rate_limit="1M/1M"), 503),
        (identity(anna), changes(rate_limit="fast"), 407),
    ):
        answer = await change(to, who.attributes() | more)
        assert (answer.outcome, answer.error_cause) == (Outcome.NAK, cause)
    lab.incoming.faults.nak = 0
    answer = await disconnect(to, identity(anna).attributes())
    assert (answer.outcome, answer.error_cause) == (Outcome.NAK, None)
    assert len(lab.sessions) == 1


async def test_silence_and_lateness(lab: Nas, to: radius_client.Nas, anna: Session) -> None:
    who = identity(anna).attributes()
    answer = await disconnect(replace(to, secret=b"another"), who, sends=2, interval=0.05)
    assert (answer.outcome, answer.sends) == (Outcome.TIMEOUT, 2)
    assert lab.incoming.counters.bad_requests == 2
    answer = await disconnect(replace(to, source="127.0.0.8"), who, sends=1, interval=0.05)
    assert answer.outcome is Outcome.TIMEOUT
    assert len(lab.sessions) == 1
    # Done at once, told late: what is sent meanwhile is seen to be the same request.
    lab.incoming.faults.late_seconds = 0.15
    answer = await disconnect(to, who, interval=0.1)
    assert (answer.outcome, answer.sends) == (Outcome.ACK, 2)
    assert (lab.incoming.counters.repeated, lab.incoming.counters.acks) == (1, 1)
