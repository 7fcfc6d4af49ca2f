"""PPPoE and hotspot sessions of one router: from the dial to the Stop."""

import asyncio
from collections.abc import Iterator
from functools import partial
from sys import intern

from ispgraph.lab import packets
from ispgraph.lab.accounting import Accounting
from ispgraph.lab.agenda import Agenda
from ispgraph.lab.credentials import Credential
from ispgraph.lab.grants import BadGrant, from_accept, from_local, profile_value
from ispgraph.lab.items import Change, Item
from ispgraph.lab.pools import NoAddress, Pools
from ispgraph.lab.radius import RadiusClient
from ispgraph.lab.rates import Rate
from ispgraph.lab.routeros import RouterOS
from ispgraph.lab.session import Caller, Grant, Limits, Session

# A router works on so many logins at once; the others wait their turn.
_AT_ONCE = 50
_SOON = 0.01


class DialFailed(Exception):
    """The session did not come up. ``refused`` tells a clear no from silence; ``message`` is the Reply-Message."""

    def __init__(self, reason: str, *, refused: bool = True, message: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused
        self.message = message


class Sessions:
    """The sessions of a router, found by id, by name and by what the API shows of them."""

    def __init__(self, router: RouterOS, address: str, client: RadiusClient, accounting: Accounting, agenda: Agenda):
        self._router = router
        self._nas_ip = address
        self._client = client
        self._accounting = accounting
        self._agenda = agenda
        self._numbers = 0
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._live: dict[str, Session] = {}
        self._by_name: dict[str, set[Session]] = {}
        self._pools = Pools(router)
        self.dials = 0
        router.before_reboot.append(self._power_cut)
        for path in ("/ppp/active", "/ip/hotspot/active", "/ip/hotspot/host"):
            router.table(path).watch(self._removed)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    def by_name(self, name: str) -> list[Session]:
        """The live sessions of a user."""
        return list(self._by_name.get(name, ()))

    def by_id(self, session_id: str) -> Session | None:
        """The live session with exactly this Acct-Session-Id."""
        return self._live.get(session_id)

    # Beginning

    async def dial(self, caller: Caller) -> Session:
        """Bring up a session. Raises DialFailed."""
        async with self._room:
            self.dials += 1
            boot = self._router.reboots
            self._numbers += 1
            session = Session(
                self._router, caller.service, intern(caller.name), intern(caller.mac), self._numbers, caller
            )
            if caller.service == "pppoe":
                self._offered(caller)
            try:
                session.grant = self._local(caller) or await self._ask(session, caller)
                if self._router.reboots != boot:
                    raise DialFailed("the router went away", refused=False)
                self._admit(session)
                session.address = self._take_address(session, caller)
            except (BadGrant, NoAddress) as error:
                raise DialFailed(str(error)) from error
            self._begin(session, caller)
            return session

    def _offered(self, caller: Caller) -> None:
        table = self._router.table("/interface/pppoe-server/server")
        servers = [item for item in table if table.get(item, "disabled") != "true"]
        if not servers:
            raise DialFailed("no PPPoE server answers", refused=False)
        if caller.protocol not in (table.get(servers[0], "authentication") or "").split(","):
            raise DialFailed(f"the server does not offer {caller.protocol}")
        if table.get(servers[0], "one-session-per-host") == "true":
            for other in [other for other in self._live.values() if other.mac == caller.mac]:
                self.end(other, "NAS-Request")

    def _local(self, caller: Caller) -> Grant | None:
        """The grant of a user of the router itself, who is preferred to RADIUS whatever RADIUS would say."""
        ppp = caller.service == "pppoe"
        table = self._router.table("/ppp/secret" if ppp else "/ip/hotspot/user")
        for user in table.find(name=caller.name):
            if table.get(user, "disabled") == "true":
                continue
            if ppp and table.get(user, "service") not in ("any", "pppoe"):
                continue
            bound = table.get(user, "caller-id" if ppp else "mac-address")
            if (table.get(user, "password") or "") != caller.password:
                raise DialFailed("invalid password of the router's own user")
            if bound and bound.upper() not in (caller.mac, "00:00:00:00:00:00"):
                raise DialFailed("the router's own user is bound to another MAC address")
            return from_local(self._router, caller.service, user)
        return None

    async def _ask(self, session: Session, caller: Caller) -> Grant:
        ppp = caller.service == "pppoe"
        table = self._router.table("/ppp/aaa" if ppp else "/ip/hotspot/profile")
        if not any(table.get(item, "use-radius") == "true" for item in table):
            raise DialFailed("unknown user")
        credential = Credential(caller.protocol, caller.name.encode(), caller.password)
        request = [
            *session.identity(),
            (packets.ACCT_SESSION_ID, session.session_id.encode()),
            (packets.NAS_IDENTIFIER, self._router.identity.encode()),
            (packets.NAS_IP, packets.address(self._nas_ip)),
        ]
        answer = await self._client.authenticate(session.kind, request, credential)
        if answer is None:
            raise DialFailed("RADIUS server is not responding", refused=False)
        message = answer.text(packets.REPLY_MESSAGE)
        if answer.code != packets.ACCESS_ACCEPT:
            raise DialFailed("rejected by RADIUS", message=message)
        if not credential.convinced(answer):
            raise DialFailed("the server could not prove that it knows the password", message=message)
        return from_accept(self._router, caller.service, self._default_profile(ppp), answer)

    def _default_profile(self, ppp: bool) -> str:
        if not ppp:
            return "default"
        table = self._router.table("/interface/pppoe-server/server")
        return next((table.get(item, "default-profile") for item in table), None) or "default"

    def _admit(self, session: Session) -> None:
        """How many sessions of the name may there be? Raises DialFailed."""
        others = [other for other in self.by_name(session.name) if other.service == session.service]
        if session.service == "pppoe":
            if others and profile_value(self._router, "pppoe", session.grant, "only-one") == "yes":
                raise DialFailed(f"user {session.name} is already active")
            return
        shared = profile_value(self._router, "hotspot", session.grant, "shared-users") or "1"
        allowed = session.grant.port_limit or (int(shared) if shared.isdigit() else None)
        if allowed is not None and len(others) >= allowed:
            raise DialFailed("simultaneous session limit reached")

    def _take_address(self, session: Session, caller: Caller) -> str:
        grant = session.grant
        fixed = grant.address or (caller.address if session.service == "hotspot" and not grant.pool else None)
        if fixed:
            self._pools.hold(fixed)
            return fixed
        if not grant.pool:
            raise NoAddress("no address for the subscriber: neither given nor in the profile")
        return self._pools.take(grant.pool)

    def _begin(self, session: Session, caller: Caller) -> None:
        now = self._router.now()
        grant = session.grant
        session.live = True
        session.started = session.quiet_since = now
        session.meter.reset(now)
        self._live[session.session_id] = session
        self._by_name.setdefault(session.name, set()).add(session)
        self._show(session)
        session.meter.load(now, caller.load_up, caller.load_down)
        if grant.rate:
            session.meter.cap(now, grant.rate.up, grant.rate.down)
        if grant.timeout:
            session.timeout_at = now + grant.timeout
        if grant.radius and self._accounts(session):
            self._accounting.report(session, "Start")
            if grant.interim:
                session.interim_at = now + grant.interim
        self.plan(session)

    def _accounts(self, session: Session) -> bool:
        path, name = ("/ppp/aaa", "accounting")
        if session.service == "hotspot":
            path, name = "/ip/hotspot/profile", "radius-accounting"
        table = self._router.table(path)
        return any(table.get(item, name) == "true" for item in table)

    def _show(self, session: Session) -> None:
        grant, limits = session.grant, session.grant.limits or Limits()
        if session.service == "pppoe":
            name = self._free_name(f"<pppoe-{session.name}>")
            self._put(session, "/interface", {"name": name, "type": "pppoe-in", "running": "true"})
            self._put(
                session,
                "/ppp/active",
                {
                    "name": session.name,
                    "service": "pppoe",
                    "caller-id": session.mac,
                    "address": session.address,
                    "session-id": f"0x{session.session_id}",
                    "limit-bytes-in": str(limits.recv),
                    "limit-bytes-out": str(limits.xmit),
                    "radius": "true" if grant.radius else "false",
                },
            )
        else:
            name = f"<hotspot-{session.name}>"
            where = {"address": session.address, "mac-address": session.mac, "server": "hotspot1"}
            self._put(session, "/ip/hotspot/host", where)
            self._put(
                session,
                "/ip/hotspot/active",
                {
                    **where,
                    "user": session.name,
                    "login-by": "http-chap" if session.caller.protocol == "chap" else "http-pap",
                    "limit-bytes-in": str(limits.recv),
                    "limit-bytes-out": str(limits.xmit),
                    "limit-bytes-total": str(limits.total),
                    "radius": "true" if grant.radius else "false",
                },
            )
        for entry in grant.lists:
            self._put(session, "/ip/firewall/address-list", {"list": entry, "address": session.address})
        if grant.rate:
            self._shape(session, grant.rate, name)

    def _shape(self, session: Session, rate: Rate, name: str) -> None:
        target = name if session.service == "pppoe" else f"{session.address}/32"
        values = {"name": name, "target": target, **rate.queue()}
        session.queue = self._put(session, "/queue/simple", values)

    def _put(self, session: Session, path: str, values: dict[str, str]) -> Item:
        table = self._router.table(path)
        item = table.add(values, dynamic=True, owner=session)
        session.items.append((table, item))
        return item

    def _free_name(self, name: str) -> str:
        table = self._router.table("/interface")
        number, free = 0, name
        while table.find(name=free):
            number += 1
            free = f"{name[:-1]}-{number}>"
        return intern(free)

    # Going on

    def set_rate(self, session: Session, rate: Rate) -> None:
        """Another speed for a running session; its counters go on."""
        now = self._router.now()
        session.grant.rate = rate
        session.meter.cap(now, rate.up, rate.down)
        if session.queue is not None:
            self._router.table("/queue/simple").change(session.queue, rate.queue())
        else:
            self._shape(session, rate, self._queue_name(session))
        self.plan(session)

    def _queue_name(self, session: Session) -> str:
        if session.service == "hotspot":
            return f"<hotspot-{session.name}>"
        table = self._router.table("/interface")
        return next(table.get(item, "name") or "" for owner, item in session.items if owner is table)

    def set_load(self, session: Session, up: int, down: int) -> None:
        """The subscriber wants more or less from now on."""
        now = self._router.now()
        session.meter.load(now, up, down)
        session.quiet_since = now
        self.plan(session)

    def plan(self, session: Session) -> None:
        """Find out when something must happen next. To be called after a change of what it depends on."""
        now, grant = self._router.now(), session.grant
        dues = [due for due in (session.timeout_at, session.interim_at) if due is not None]
        if grant.idle and not session.meter.rate_up and not session.meter.rate_down:
            dues.append(session.quiet_since + grant.idle)
        if grant.limits and (wait := self._to_limit(session, grant.limits)) is not None:
            dues.append(now + wait)
        due = min(dues, default=None)
        if due is not None and due != session.due:
            self._agenda.at(due, partial(self._wake, session))
        session.due = due

    def _to_limit(self, session: Session, limits: Limits) -> float | None:
        return session.meter.seconds_until(self._router.now(), up=limits.recv, down=limits.xmit, total=limits.total)

    def _wake(self, session: Session, due: float) -> None:
        if not session.live or due != session.due:
            return
        session.due = None
        now, grant = self._router.now(), session.grant
        quiet = not session.meter.rate_up and not session.meter.rate_down
        limit = self._to_limit(session, grant.limits) if grant.limits else None
        if session.timeout_at is not None and session.timeout_at <= now:
            self.end(session, "Session-Timeout")
        elif limit is not None and limit < _SOON:
            self.end(session, "NAS-Request")
        elif grant.idle and quiet and session.quiet_since + grant.idle <= now:
            self.end(session, "Idle-Timeout")
        else:
            if session.interim_at is not None and session.interim_at <= now and grant.interim:
                self._accounting.report(session, "Interim")
                missed = (now - session.interim_at) // grant.interim
                session.interim_at += grant.interim * (missed + 1)
            self.plan(session)

    # Ending

    def end(self, session: Session, cause: str, *, silent: bool = False) -> None:
        """End a session; again does nothing. ``silent``: no Stop is sent, as when the power fails."""
        if not session.live:
            return
        session.live = False
        del self._live[session.session_id]
        mine = self._by_name[session.name]
        mine.discard(session)
        if not mine:
            del self._by_name[session.name]
        for table, item in session.items:
            table.remove(item)
        session.items.clear()
        self._pools.give_back(session.address)
        if not silent and session.grant.radius and self._accounts(session):
            self._accounting.report(session, "Stop", cause)
        session.caller.ended(session, cause)

    def _removed(self, change: Change) -> None:
        if change.kind == "removed" and isinstance(change.item.owner, Session):
            self.end(change.item.owner, "Admin-Reset")

    def _power_cut(self) -> None:
        for session in self:
            self.end(session, "Lost-Carrier", silent=True)
        self._numbers = 0
