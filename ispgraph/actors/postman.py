"""Handing messages to gateways. The rows are the promise: there are no jobs of it."""

import asyncio
import logging
from functools import partial
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from ispgraph import jobs as queue
from ispgraph import traces
from ispgraph.adapters import outbound
from ispgraph.adapters.carriers import Accepted, Carrier, Letter, Report, open_carrier
from ispgraph.adapters.errors import AdapterError, Refused
from ispgraph.db import Database
from ispgraph.domain.gateways import Opened
from ispgraph.domain.messaging import sending
from ispgraph.domain.messaging.sending import Parcel
from ispgraph.domain.models import MessageStatus
from ispgraph.settings import Settings

# An exchange with a gateway has a shorter deadline of its own: this one is for what nobody foresaw.
_SEND_SECONDS = 30.0
# After so many the turn of a tenant is over, so that one with a hundred thousand does not hold up the others.
_MOST_BATCHES = 20
_LISTEN_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Postman:
    """Sends the messages of tenants, in one event loop. Any number may do so at once, here and elsewhere.

    Connections to gateways are kept: over some of them delivery reports come in.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._client: outbound.Client | None = None
        self._carriers: dict[UUID, tuple[Opened, Carrier]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._stopping = False

    async def deliver(self, tenant: str, _subject: str) -> None:
        """Send what is due."""
        tenant_id = UUID(hex=tenant)
        await queue.claimed(tenant_id)
        for _ in range(_MOST_BATCHES):
            if self._stopping:
                return
            with traces.span("deliver messages", "CONSUMER", parent=traces.ROOT) as span:
                parcels, more = await self._database.run(
                    tenant_id, lambda session: sending.take(session, self._settings.network_key)
                )
                span.tell({"messaging.batch.message_count": len(parcels)})
                await asyncio.gather(*(self._send(tenant_id, parcel) for parcel in parcels))
            if not more:
                break
        if self._carriers and (self._listening is None or self._listening.done()):
            self._listening = asyncio.create_task(self._listen())

    async def read(self) -> None:
        """Keep what has come in over the connections that are open."""
        for account, carrier in list(self._carriers.values()):
            await self._read(account, carrier)

    def stop(self) -> None:
        """Begin nothing any more; what is being sent goes on."""
        self._stopping = True

    async def close(self) -> None:
        """End the connections."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        carriers, self._carriers = list(self._carriers.values()), {}
        for _, carrier in carriers:
            await carrier.close()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _listen(self) -> None:
        while not self._stopping:
            await asyncio.sleep(_LISTEN_SECONDS)
            try:
                await self.read()
            except (SQLAlchemyError, OSError) as error:
                _log.warning("reports wait: %s", type(error).__name__)

    async def _send(self, tenant_id: UUID, parcel: Parcel) -> None:
        letter = Letter(
            reference=parcel.reference,
            to=parcel.to,
            body=parcel.body,
            subject=parcel.subject,
            html=parcel.html,
            report_url=f"{self._settings.origin}/delivery/{tenant_id.hex}/{parcel.account.id.hex}",
        )
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                accepted = await (await self._carrier(parcel.account)).send(letter)
        except AdapterError as error:
            await self._not_sent(tenant_id, parcel, error)
        except Exception as error:
            # Whether anything was sent before it happened cannot be told. The text may hold what nobody should read.
            _log.exception("message %s", parcel.message_id)
            reason = "no answer in time" if isinstance(error, TimeoutError) else f"unexpected {type(error).__name__}"
            await self._database.run(tenant_id, lambda session: sending.in_doubt(session, parcel, reason))
        else:
            await self._sent(tenant_id, parcel, accepted)

    async def _sent(self, tenant_id: UUID, parcel: Parcel, accepted: Accepted) -> None:
        theirs, segments = accepted.provider_reference, accepted.segments
        await self._database.run(tenant_id, lambda session: sending.sent(session, parcel, theirs, segments))

    async def _not_sent(self, tenant_id: UUID, parcel: Parcel, error: AdapterError) -> None:
        if error.outcome_unknown:
            await self._database.run(tenant_id, lambda session: sending.in_doubt(session, parcel, error.text))
            return
        # What was refused once is refused again.
        again = not isinstance(error, Refused)
        await self._database.run(tenant_id, lambda session: sending.not_taken(session, parcel, error.text, again=again))

    async def _carrier(self, account: Opened) -> Carrier:
        known = self._carriers.get(account.id)
        if known is not None and known[0] == account:
            return known[1]
        if self._client is None:
            self._client = outbound.client(private=self._settings.private_gateways)
        made = open_carrier(account, self._client)
        self._carriers[account.id] = (account, made)
        if known is not None:
            await known[1].close()
        return made

    async def _read(self, account: Opened, carrier: Carrier) -> None:
        try:
            reports = await carrier.reports()
        except AdapterError as error:
            _log.warning("gateway %s: reports: %s", account.id, error.text)
            return
        for report in reports:
            await self._database.run(
                account.tenant_id, partial(sending.reported, gateway_id=account.id, told=_told(report))
            )


def _told(report: Report) -> sending.Told:
    return sending.Told(report.provider_reference, report.reference, MessageStatus[report.fate.name], report.reason)
