"""Asking payment gateways: to make a payment ready, how one stands, and to give one back. Never within a transaction:
what is asked was committed before, and what was answered is committed after."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from ispgraph import clock
from ispgraph.adapters import outbound
from ispgraph.adapters.errors import AdapterError, Refusal, Refused
from ispgraph.adapters.payments import open_gateway
from ispgraph.adapters.payments.base import Intent, Notice, PaymentGateway, Returned, Status, Unsupported
from ispgraph.db import Database
from ispgraph.domain import gateway_refunds, gateways, money, paying, secrets
from ispgraph.domain.gateway_payments import BANK_TRANSFER, Word
from ispgraph.domain.gateway_refunds import Try
from ispgraph.domain.models import (
    Customer,
    Gateway,
    GatewayKind,
    GatewayPayment,
    GatewayPaymentState,
    GatewayRefund,
    GatewayRefundState,
    Invoice,
    PaymentLink,
    Tenant,
)
from ispgraph.settings import Settings

_SHORTEST, _LONGEST = timedelta(minutes=40), timedelta(hours=23)
_CLOSED = "The account with this gateway cannot be opened: its secrets were sealed with another key."


class Checkout:
    """One for a program, or for a job: it keeps the connections. To be closed."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._made: outbound.Client | None = None

    async def aclose(self) -> None:
        """Close what is open."""
        if self._made is not None:
            await self._made.aclose()
            self._made = None

    def gateway(self, row: Gateway) -> PaymentGateway:
        """The adapter of an account. Raises AdapterError, BadSecret."""
        return open_gateway(gateways.opened(self._settings.network_key, row), self._client)

    def notice(
        self,
        row: Gateway,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        currency: str,
    ) -> tuple[Notice, tuple[str, bytes]]:
        """What a gateway reports, verified, and what it wants to read. Raises AdapterError, BadSecret."""
        adapter = self.gateway(row)
        found = adapter.notice(method, query, headers, body, clock.now(), money.exponent(currency))
        return found, adapter.acknowledgement()

    async def start(
        self, tenant_id: UUID, attempt_id: UUID, *, back_url: str, cancel_url: str, mobile: str | None
    ) -> GatewayPayment:
        """Have the gateway make an attempt ready for its payer, whose browser comes back to `back_url`; the attempt
        as it stands then."""
        async with self._database.read(tenant_id) as session:
            attempt = await session.get_one(GatewayPayment, attempt_id)
            row = await session.get_one(Gateway, attempt.gateway_id)
            customer = await session.get_one(Customer, attempt.customer_id)
            tenant = await session.get_one(Tenant, tenant_id)
            invoice = None if attempt.invoice_id is None else await session.get(Invoice, attempt.invoice_id)
            link = None if attempt.link_id is None else await session.get(PaymentLink, attempt.link_id)
        now = clock.now()
        until = now + _LONGEST if link is None else min(link.expires_at, now + _LONGEST)
        about = f"Invoice {invoice.number}" if invoice is not None else f"Account {customer.account_number}"
        origin = self._settings.origin
        intent = Intent(
            reference=attempt.reference,
            amount_minor=attempt.amount_minor,
            currency=attempt.currency,
            exponent=money.exponent(attempt.currency),
            description=f"{tenant.name}: {about}",
            customer_name=customer.name,
            customer_email=customer.email,
            customer_mobile=mobile or customer.mobile,
            return_url=back_url,
            cancel_url=cancel_url,
            callback_url=f"{origin}/callbacks/{tenant_id.hex}/{row.id.hex}/{attempt.reference}",
            expires_at=max(until, now + _SHORTEST),
        )
        try:
            async with asyncio.timeout(self._settings.gateway_seconds):
                started = await self.gateway(row).start(intent)
        except (AdapterError, TimeoutError, secrets.BadSecret) as error:
            async with self._database.transaction(tenant_id) as session:
                return await paying.not_answered(session, attempt_id, _text(error), unknown=_unknown(error))
        async with self._database.transaction(tenant_id) as session:
            return await paying.answered(
                session, attempt_id, started.provider_reference, started.redirect_url, started.instructions
            )

    async def ask(self, tenant_id: UUID, attempt_id: UUID, *, most: float = 60.0) -> GatewayPayment:
        """Ask the gateway how an attempt stands, and note what it says; the attempt as it stands then. `most` is how
        many seconds whoever waits for it would wait."""
        async with self._database.read(tenant_id) as session:
            attempt = await session.get_one(GatewayPayment, attempt_id)
            row = await session.get_one(Gateway, attempt.gateway_id)
        if attempt.state is GatewayPaymentState.PAID or row.provider == BANK_TRANSFER:
            return attempt
        exponent = money.exponent(attempt.currency)
        try:
            async with asyncio.timeout(min(most, self._settings.gateway_seconds)):
                adapter = self.gateway(row)
                status = await adapter.check(attempt.provider_reference or "", attempt.reference, exponent=exponent)
        except (AdapterError, TimeoutError, secrets.BadSecret) as error:
            reason = _text(error)
            return await self._database.run(tenant_id, lambda session: paying.unanswered(session, attempt_id, reason))
        return await self._database.run(
            tenant_id,
            lambda session: paying.heard(
                session,
                attempt_id,
                word_of(status),
                reference=status.reference,
                provider_reference=status.provider_reference,
            ),
        )

    async def give_back(self, tenant_id: UUID, refund_id: UUID) -> GatewayRefund | None:
        """Have the gateway give back what was booked, or ask what has become of that; the refund as it stands then,
        None when there was nothing to ask."""
        asked = await self._database.run(tenant_id, lambda session: gateway_refunds.begin(session, refund_id))
        if asked is None:
            return None
        try:
            async with asyncio.timeout(self._settings.gateway_seconds):
                said = await self._given_back(asked)
        except (AdapterError, TimeoutError, secrets.BadSecret) as error:
            return await self._not_given_back(tenant_id, asked, error)
        failed = said.failed
        if failed is not None:
            return await self._database.run(
                tenant_id, lambda session: gateway_refunds.refused(session, asked, failed, for_sure=True)
            )
        return await self._database.run(
            tenant_id,
            lambda session: gateway_refunds.given(session, refund_id, said.refund_reference, done=said.done),
        )

    async def _given_back(self, asked: Try) -> Returned:
        adapter, attempt = self.gateway(asked.gateway), asked.attempt
        theirs = attempt.provider_reference or ""
        if asked.refund.provider_reference is not None:
            return await adapter.refund_status(theirs, attempt.receipt, asked.refund.provider_reference)
        return await adapter.refund(
            theirs,
            attempt.receipt,
            asked.amount_minor,
            attempt.currency,
            money.exponent(attempt.currency),
            asked.refund.id.hex,
            again=asked.again,
            others=asked.others,
        )

    async def _not_given_back(self, tenant_id: UUID, asked: Try, error: Exception) -> GatewayRefund:
        reason = _text(error)
        no = isinstance(error, Refused | Unsupported) and not error.outcome_unknown
        if no and asked.refund.provider_reference is None:
            # Of one that the gateway knows of already nobody can say that it was not done because it is not done now.
            there = isinstance(error, Refused) and error.kind is Refusal.ALREADY_EXISTS
            sure = asked.refund.state is GatewayRefundState.PENDING and not asked.again and not there
            return await self._database.run(
                tenant_id, lambda session: gateway_refunds.refused(session, asked, reason, for_sure=sure)
            )
        unknown = _unknown(error)
        return await self._database.run(
            tenant_id, lambda session: gateway_refunds.unanswered(session, asked, reason, unknown=unknown)
        )

    @property
    def _client(self) -> outbound.Client:
        if self._made is None:
            settings = self._settings
            self._made = outbound.client(private=settings.private_gateways, seconds=settings.gateway_seconds)
        return self._made


async def account(database: Database, tenant_id: UUID, gateway_id: UUID) -> tuple[Gateway, Tenant] | None:
    """An account that takes money, in use or not: what was begun with it is still reported on."""
    async with database.read(tenant_id) as session:
        row = await session.get(Gateway, gateway_id)
        if row is None or row.kind is not GatewayKind.PAYMENT or row.provider == BANK_TRANSFER:
            return None
        return row, await session.get_one(Tenant, tenant_id)


def word_of(status: Status) -> Word:
    """What a gateway said, in our words."""
    state = GatewayPaymentState[status.state.value]
    return Word(state, status.amount_minor, status.currency, status.receipt, status.reason)


def _text(error: Exception) -> str:
    if isinstance(error, AdapterError):
        return error.text
    return _CLOSED if isinstance(error, secrets.BadSecret) else "The gateway did not answer in time."


def _unknown(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or (isinstance(error, AdapterError) and error.outcome_unknown)
