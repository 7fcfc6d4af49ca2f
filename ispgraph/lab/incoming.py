"""Dynamic authorization (RFC 5176) as a router takes it: CoA-Request and Disconnect-Request from its RADIUS servers.

A request from another address, or made with another secret, gets no answer; so does every request while
``/radius/incoming accept=no``. A session is found by what the request says of it, all of which must be true:

* hotspot: User-Name and Framed-IP-Address are needed;
* PPP: two of User-Name, Acct-Session-Id, Framed-IP-Address and Calling-Station-Id are needed;
* who came in by a local user has no session here.

A CoA may carry the attributes in ``_CHANGES`` and no others: address, pool, address list and total limit of a running
session cannot be changed.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import cast

import structlog

from ispgraph.lab import packets
from ispgraph.lab.grants import BadGrant, profile_of, wide
from ispgraph.lab.packets import Attribute, Key, Packet, PacketError
from ispgraph.lab.radius import RadiusClient
from ispgraph.lab.rates import BadRate, parse_rate
from ispgraph.lab.routeros import RouterOS
from ispgraph.lab.session import Limits, Session
from ispgraph.lab.sessions import Sessions

log = structlog.get_logger("ispgraph.lab")

UNSUPPORTED, MISSING, NAS_MISMATCH, INVALID_VALUE = 401, 402, 403, 407
NO_SESSION, MANY_SESSIONS = 503, 508

_ANSWERS = {
    packets.COA_REQUEST: (packets.COA_ACK, packets.COA_NAK),
    packets.DISCONNECT_REQUEST: (packets.DISCONNECT_ACK, packets.DISCONNECT_NAK),
}
_WHO: frozenset[Key] = frozenset(
    (packets.USER_NAME, packets.ACCT_SESSION_ID, packets.FRAMED_IP, packets.CALLING_STATION)
)
_ABOUT: frozenset[Key] = _WHO | frozenset(
    (
        packets.NAS_IP,
        packets.NAS_IDENTIFIER,
        packets.NAS_PORT,
        packets.NAS_PORT_ID,
        packets.NAS_PORT_TYPE,
        packets.CALLED_STATION,
        packets.SERVICE_TYPE,
        packets.FRAMED_PROTOCOL,
        packets.CLASS,
        packets.EVENT_TIMESTAMP,
        packets.MESSAGE_AUTHENTICATOR,
        packets.PROXY_STATE,
    )
)
_CHANGES: frozenset[Key] = frozenset(
    (
        packets.GROUP,
        packets.RECV_LIMIT,
        packets.RECV_GIGAWORDS,
        packets.XMIT_LIMIT,
        packets.XMIT_GIGAWORDS,
        packets.RATE_LIMIT,
        packets.ASCEND_DATA_RATE,
        packets.ASCEND_XMIT_RATE,
        packets.MARK_ID,
        packets.FILTER_ID,
        packets.ADVERTISE_URL,
        packets.ADVERTISE_INTERVAL,
        packets.SESSION_TIMEOUT,
        packets.IDLE_TIMEOUT,
        packets.PORT_LIMIT,
    )
)
_REMEMBERED_SECONDS = 30.0
_REMEMBERED = 10_000


class Nak(Exception):
    """The request is refused with this Error-Cause."""

    def __init__(self, cause: int) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(slots=True)
class IncomingCounters:
    """What /radius/incoming/monitor shows, and the answers given from memory."""

    requests: int = 0
    bad_requests: int = 0
    acks: int = 0
    naks: int = 0
    repeated: int = 0


@dataclass(slots=True)
class CoaFaults:
    """``silent``: no answer and no effect. ``nak``: this Error-Cause to everything (0: a NAK without one).

    ``no_effect``: ACK, but nothing changes. ``late_seconds``: the effect at once, the answer so much later.
    ``require_signature``: requests without Message-Authenticator are dropped.
    """

    silent: bool = False
    nak: int | None = None
    no_effect: bool = False
    late_seconds: float = 0.0
    require_signature: bool = False


class Incoming(asyncio.DatagramProtocol):
    """The listener of one router."""

    def __init__(self, router: RouterOS, address: str, client: RadiusClient, sessions: Sessions) -> None:
        self._router = router
        self._address = address
        self._client = client
        self._sessions = sessions
        self._answers: OrderedDict[object, tuple[float, bytes | None]] = OrderedDict()
        self._transport: asyncio.DatagramTransport | None = None
        self.counters = IncomingCounters()
        self.faults = CoaFaults()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A listener that moves to another port leaves the old one when it has the new.
        self.close()
        self._transport = cast(asyncio.DatagramTransport, transport)

    def close(self) -> None:
        """Listen no more."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        table = self._router.table("/radius/incoming")
        accepts = any(table.get(item, "accept") == "true" for item in table)
        if not accepts or self._router.down or self.faults.silent:
            return
        self.counters.requests += 1
        secret = self._client.known(addr[0])
        request = None if secret is None else self._read(data, secret)
        if secret is None or request is None:
            self.counters.bad_requests += 1
            return
        now = asyncio.get_running_loop().time()
        while self._answers and next(iter(self._answers.values()))[0] < now:
            self._answers.popitem(last=False)
        # RFC 5080 section 2.2.2: a repetition has the source, identifier and authenticator of the first.
        key = (addr[:2], data[1], request.authenticator)
        if key in self._answers:
            self.counters.repeated += 1
            self._send(self._answers[key][1], addr)
            return
        if len(self._answers) >= _REMEMBERED:
            self._answers.popitem(last=False)
        answer, ending = self._decide(request, secret)
        self._answers[key] = (now + _REMEMBERED_SECONDS + self.faults.late_seconds, None)
        if self.faults.late_seconds:
            asyncio.get_running_loop().call_later(self.faults.late_seconds, self._answer, key, answer, addr)
        else:
            self._answer(key, answer, addr)
        if ending is not None:
            # RFC 5176 section 2.1: the answer first, then the Stop.
            asyncio.get_running_loop().call_soon(self._sessions.end, ending, "Admin-Reset")

    def _answer(self, key: object, answer: bytes, addr: tuple[str, int]) -> None:
        if key in self._answers:
            self._answers[key] = (self._answers[key][0], answer)
        self._send(answer, addr)

    def _send(self, answer: bytes | None, addr: tuple[str, int]) -> None:
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)

    def _read(self, data: bytes, secret: bytes) -> Packet | None:
        try:
            request = packets.decode(data)
        except PacketError:
            return None
        if request.code not in _ANSWERS or not packets.is_keyed(request, secret):
            return None
        if request.all(packets.MESSAGE_AUTHENTICATOR):
            # Computed before the request had an authenticator (RFC 5176 section 3.4).
            return request if packets.sealed(request, secret, bytes(16)) else None
        return None if self.faults.require_signature else request

    def _decide(self, request: Packet, secret: bytes) -> tuple[bytes, Session | None]:
        ack, nak = _ANSWERS[request.code]
        ending: Session | None = None
        attributes: list[Attribute] = [(packets.PROXY_STATE, value) for value in request.all(packets.PROXY_STATE)]
        try:
            if self.faults.nak is not None:
                raise Nak(self.faults.nak)
            session = self._find(request)
            if request.code == packets.COA_REQUEST:
                self._change(request, session)
            elif not self.faults.no_effect:
                ending = session
            code = ack
            self.counters.acks += 1
        except (Nak, PacketError) as error:
            code = nak
            cause = error.cause if isinstance(error, Nak) else INVALID_VALUE
            if cause:
                attributes.append((packets.ERROR_CAUSE, packets.number(cause)))
            self.counters.naks += 1
        if request.all(packets.MESSAGE_AUTHENTICATOR):
            attributes.insert(0, (packets.MESSAGE_AUTHENTICATOR, bytes(16)))
        data = packets.encode(code, request.identifier, request.authenticator, attributes)
        if request.all(packets.MESSAGE_AUTHENTICATOR):
            data = packets.seal(data, secret, request.authenticator)
        return packets.keyed(data, secret, request.authenticator), ending

    def _find(self, request: Packet) -> Session:
        nas, identifier = request.address(packets.NAS_IP), request.text(packets.NAS_IDENTIFIER)
        if nas not in (None, self._address) or identifier not in (None, self._router.identity):
            raise Nak(NAS_MISMATCH)
        name, session_id = request.text(packets.USER_NAME), request.text(packets.ACCT_SESSION_ID)
        address, mac = request.address(packets.FRAMED_IP), request.text(packets.CALLING_STATION)
        given = sum(value is not None for value in (name, session_id, address, mac))
        if given < 2:
            raise Nak(MISSING)
        if name is not None:
            candidates = self._sessions.by_name(name)
        elif session_id is not None:
            found = self._sessions.by_id(session_id)
            candidates = [found] if found else []
        else:
            candidates = list(self._sessions)
        matching = [
            session
            for session in candidates
            if session.grant.radius
            and session_id in (None, session.session_id)
            and address in (None, session.address)
            and mac in (None, session.mac)
            and (session.service == "pppoe" or (name is not None and address is not None))
        ]
        if not matching:
            raise Nak(NO_SESSION)
        if len(matching) > 1:
            raise Nak(MANY_SESSIONS)
        return matching[0]

    def _change(self, request: Packet, session: Session) -> None:
        """Apply all of it or nothing. Raises Nak or PacketError."""
        present = {key for key, _ in request.attributes}
        if present - _ABOUT - _CHANGES:
            raise Nak(UNSUPPORTED)
        if not present & _CHANGES:
            raise Nak(MISSING)
        timeout, idle = request.number(packets.SESSION_TIMEOUT), request.number(packets.IDLE_TIMEOUT)
        limits = self._limits(request, session)
        rate_text, group = request.text(packets.RATE_LIMIT), request.text(packets.GROUP)
        try:
            rate = parse_rate(rate_text) if rate_text else None
            if group:
                profile_of(self._router, session.service, group)
        except (BadRate, BadGrant) as error:
            raise Nak(INVALID_VALUE) from error
        if self.faults.no_effect:
            return
        grant = session.grant
        grant.limits = limits
        grant.profile = group or grant.profile
        if timeout is not None:
            # Counted from now, as in an Access-Accept; 0 takes it away.
            session.timeout_at = self._router.now() + timeout if timeout else None
        if idle is not None:
            grant.idle = idle or None
        if rate is not None:
            self._sessions.set_rate(session, rate)
        self._sessions.plan(session)

    def _limits(self, request: Packet, session: Session) -> Limits:
        limits = session.grant.limits or Limits()
        recv, xmit = limits.recv, limits.xmit
        if request.first(packets.RECV_LIMIT) is not None:
            recv = wide(request, packets.RECV_LIMIT, packets.RECV_GIGAWORDS)
        if request.first(packets.XMIT_LIMIT) is not None:
            xmit = wide(request, packets.XMIT_LIMIT, packets.XMIT_GIGAWORDS)
        return Limits(recv, xmit, limits.total)
