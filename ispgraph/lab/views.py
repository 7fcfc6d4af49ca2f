"""What the control API shows of routers and subscribers."""

from dataclasses import asdict
from typing import Any

from ispgraph.lab.nas import Nas
from ispgraph.lab.network import Lab
from ispgraph.lab.subscribers import Subscriber

Json = dict[str, Any]


def summary(lab: Lab) -> Json:
    """The whole lab in figures."""
    states = dict.fromkeys(("offline", "dialing", "online", "refused"), 0)
    for one in lab.subscribers.values():
        states[one.state] += 1
    return {
        "speed": lab.clock.speed,
        "time": lab.clock.now(),
        "routers": sorted(lab.routers),
        "sessions": sum(len(nas.sessions) for nas in lab.routers.values()),
        "subscribers": states,
    }


def router(nas: Nas) -> Json:
    """A router: where it listens and what has happened on it."""
    made = nas.router
    return {
        "name": made.name,
        "identity": made.identity,
        "address": nas.address,
        "version": made.version_text,
        "serial": made.serial,
        "api_port": made.port,
        "tls_port": made.tls_port,
        "fingerprint": made.fingerprint,
        "coa_port": nas.coa_port,
        "reboots": made.reboots,
        "down": made.down,
        "sessions": len(nas.sessions),
        "dials": nas.sessions.dials,
        "api": asdict(made.counters),
        "radius": asdict(nas.client.counters),
        "coa": asdict(nas.incoming.counters),
        "accounting": asdict(nas.accounting.counters),
    }


def subscriber(one: Subscriber) -> Json:
    """A subscriber and his session. Bytes count from the beginning of the session; rates are bits per second.

    ``address_lists`` are those of his address: a walled customer is seen by them.
    """
    found: Json = {
        "name": one.key,
        "username": one.caller.name,
        "router": one.nas.router.name,
        "service": one.caller.service,
        "mac": one.caller.mac,
        "state": one.state,
        "seconds": one.nas.router.now() - one.since,
        "reason": one.reason,
        "reply_message": one.message,
        "dials": one.dials,
        "wanted": one.wanted,
        "session_id": None,
        "address": None,
        "address_lists": [],
        "rate": None,
        "local": None,
        "bytes_up": 0,
        "bytes_down": 0,
        "up_bps": 0,
        "down_bps": 0,
        "connections": None,
    }
    now = one.nas.router.now()
    if (session := one.session) is not None:
        rate = session.grant.rate
        up, down = session.meter.read(now)
        found |= {
            "session_id": session.session_id,
            "address": session.address,
            "address_lists": one.nas.hosts.lists(session.address),
            "rate": None if rate is None else {"up": rate.up, "down": rate.down},
            "local": not session.grant.radius,
            "bytes_up": up,
            "bytes_down": down,
            "up_bps": session.meter.rate_up,
            "down_bps": session.meter.rate_down,
        }
    if (host := one.host) is not None:
        up, down = host.meter.read(now)
        found |= {
            "address": host.address,
            "address_lists": one.nas.hosts.lists(host.address),
            "bytes_up": up,
            "bytes_down": down,
            "up_bps": host.meter.rate_up,
            "down_bps": host.meter.rate_down,
            "connections": len(host.connections),
        }
    return found
