"""Attempts to pay with a gateway: begun, answered, reported on, asked about. What follows on what is in
`gateway_payments`; here it meets the rows.

Whoever changes an attempt holds its lock first, then its customer's. Nothing here asks a gateway: what has to be asked
is promised as a job, and what was answered comes back by `heard` or `unanswered`, each in a transaction of its own.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, String, any_, func, select, type_coerce
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, jobs
from ispgraph.domain import gateway_payments as rules
from ispgraph.domain.billing import income
from ispgraph.domain.gateway_payments import BANK_TRANSFER, OPEN, Standing, Word
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import (
    Customer,
    Gateway,
    GatewayEvent,
    GatewayPayment,
    GatewayPaymentState,
    GatewayVerdict,
    Invoice,
    Job,
    JobStatus,
    Payment,
)
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer

NEWEST = newest_first("gateway-payments", GatewayPayment.id)
FILTERS = {
    "state": Filter(ARRAY(String()), lambda value, by: type_coerce(GatewayPayment.state, String()) == any_(value))
}
CHUNK = 100
"""How many attempts are looked at in one transaction."""
# Without letters and digits that are taken for one another: a bank transfer has it typed by hand.
_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
_STARTS = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Report:
    """An authentic report of a gateway. `word` is None when it is about no payment."""

    event_id: str
    at: datetime | None
    word: Word | None
    reference: str | None
    provider_reference: str | None
    ask: bool
    """Whether the gateway has to be asked before any of it is believed."""
    digest: bytes
    meant: str | None = None
    """Our reference in the address that it came to, which anybody may have written there."""


async def begin(
    session: AsyncSession,
    *,
    gateway: Gateway,
    customer_id: UUID,
    amount_minor: int,
    currency: str,
    link_id: UUID | None = None,
    invoice_id: UUID | None = None,
    form_key: str | None = None,
) -> GatewayPayment:
    """An attempt that the gateway is still to be asked for."""
    transfer = gateway.provider == BANK_TRANSFER
    attempt = GatewayPayment(
        tenant_id=gateway.tenant_id,
        gateway_id=gateway.id,
        link_id=link_id,
        customer_id=customer_id,
        invoice_id=invoice_id,
        reference="".join(secrets.choice(_LETTERS) for _ in range(12)),
        form_key=form_key,
        amount_minor=amount_minor,
        currency=currency,
        state=GatewayPaymentState.PENDING if transfer else GatewayPaymentState.STARTED,
        next_check_at=clock.now() + (rules.GIVE_UP_TRANSFER if transfer else _STARTS),
    )
    session.add(attempt)
    await session.flush()
    return attempt


async def of_form(session: AsyncSession, link_id: UUID, form_key: str) -> GatewayPayment | None:
    """What was begun when this form was sent off before."""
    rows = select(GatewayPayment).where(GatewayPayment.link_id == link_id, GatewayPayment.form_key == form_key)
    return await session.scalar(rows)


async def answered(
    session: AsyncSession, attempt_id: UUID, provider_reference: str, redirect_url: str | None, instructions: str | None
) -> GatewayPayment:
    """The gateway has made it ready for its payer."""
    attempt = await _locked(session, attempt_id)
    attempt.provider_reference = attempt.provider_reference or provider_reference
    attempt.redirect_url, attempt.instructions = redirect_url, instructions
    if attempt.state is GatewayPaymentState.STARTED:
        attempt.state = GatewayPaymentState.PENDING
        attempt.next_check_at = clock.now() + rules.wait(0)
    return attempt


async def not_answered(session: AsyncSession, attempt_id: UUID, reason: str, *, unknown: bool) -> GatewayPayment:
    """The gateway did not make it ready; `unknown` when it may have, all the same."""
    attempt = await _locked(session, attempt_id)
    if attempt.state is GatewayPaymentState.STARTED:
        attempt.state = GatewayPaymentState.IN_DOUBT if unknown else GatewayPaymentState.FAILED
        attempt.reason = reason
        attempt.next_check_at = clock.now() + rules.wait(0) if unknown else None
    return attempt


async def heard(
    session: AsyncSession, attempt_id: UUID, word: Word, *, reference: str | None, provider_reference: str | None
) -> GatewayPayment:
    """What the gateway answered when it was asked about this attempt, which is the truth."""
    attempt = await _locked(session, attempt_id)
    attempt.checks += 1
    if reference is not None and reference != attempt.reference:
        attempt.reason = "The gateway answered about another payment."
    else:
        attempt.provider_reference = attempt.provider_reference or provider_reference
        await _follow(session, attempt, word)
    _plan(attempt)
    return attempt


async def unanswered(session: AsyncSession, attempt_id: UUID, reason: str) -> GatewayPayment:
    """The gateway was asked, and did not say: it is asked again, later each time, for some days."""
    attempt = await _locked(session, attempt_id)
    attempt.checks += 1
    if attempt.state in OPEN:
        attempt.reason = reason
    _plan(attempt)
    return attempt


async def reported(session: AsyncSession, gateway: Gateway, report: Report) -> GatewayVerdict | None:
    """What a gateway says without being asked; the verdict, or None for what it has said before."""
    event_id = report.event_id
    if len(event_id) > 255:
        event_id = hashlib.sha256(event_id.encode()).hexdigest()
    attempt = await _meant(session, gateway.id, report)
    before = select(GatewayEvent.id).where(GatewayEvent.gateway_id == gateway.id, GatewayEvent.event_id == event_id)
    if await session.scalar(before) is not None:
        if attempt is not None and report.ask and attempt.state is not GatewayPaymentState.PAID:
            # Anybody may have said it before whom nobody asks for a proof.
            await promise_check(session, attempt)
        return None
    if attempt is not None and gateway.provider in rules.BY_PHONE:
        await _note_receipt(session, attempt, report.word)
    verdict = await _judged(session, attempt, report)
    word = report.word
    event = {
        "id": ids.uuid7(),
        "tenant_id": gateway.tenant_id,
        "gateway_id": gateway.id,
        "event_id": event_id,
        "gateway_payment_id": attempt.id if attempt else None,
        "verdict": verdict,
        "state": word.state.value if word else None,
        "amount_minor": word.amount_minor if word else None,
        "currency": word.currency[:3] if word and word.currency else None,
        "receipt": word.receipt[:255] if word and word.receipt else None,
        "body_digest": report.digest,
        "sent_at": report.at,
    }
    made = insert(GatewayEvent).values(event).on_conflict_do_nothing().returning(GatewayEvent.id)
    return verdict if await session.scalar(made) is not None else None


async def _judged(session: AsyncSession, attempt: GatewayPayment | None, report: Report) -> GatewayVerdict:
    word = report.word
    if attempt is None or word is None:
        return GatewayVerdict.UNKNOWN if word is not None else GatewayVerdict.NOTED
    if attempt.state is GatewayPaymentState.PAID:
        return GatewayVerdict.NOTED
    if report.ask or not rules.believed(word, attempt.amount_minor, attempt.currency):
        await promise_check(session, attempt)
        return GatewayVerdict.ASKED
    await _follow(session, attempt, word)
    _plan(attempt)
    return GatewayVerdict.APPLIED if attempt.payment_id is not None else GatewayVerdict.NOTED


async def _note_receipt(session: AsyncSession, attempt: GatewayPayment, word: Word | None) -> None:
    """Keep the receipt that the payer's phone shows, which the gateway tells in its report and not when it is asked.

    The report alone moves no money; what it names the money by goes with the money, before or after that has come.
    """
    told = word.receipt if word is not None and word.state is GatewayPaymentState.PAID else None
    if told is None or attempt.told_receipt is not None or (attempt.provider_reference or "").startswith(told):
        return
    attempt.told_receipt = told[:255]
    await session.flush()
    if attempt.payment_id is not None:
        payment = await session.get_one(Payment, attempt.payment_id)
        if payment.reference == attempt.receipt:
            payment.reference = attempt.told_receipt


async def promise_check(session: AsyncSession, attempt: GatewayPayment, by: UUID | None = None) -> Job:
    """Have the gateway asked about a locked attempt: by a job that waits already, or by a new one."""
    if attempt.check_job_id is not None:
        waiting = await session.get(Job, attempt.check_job_id, populate_existing=True)
        if waiting is not None and waiting.status is JobStatus.QUEUED:
            return waiting
    job = await jobs.enqueue(
        session,
        jobs.GATEWAY_CHECK,
        tenant_id=attempt.tenant_id,
        customer_id=attempt.customer_id,
        by=by,
        arguments={"gateway_payment": str(attempt.id)},
    )
    attempt.check_job_id = job.id
    if attempt.state in OPEN:
        # Should the job come to nothing.
        attempt.next_check_at = clock.now() + rules.wait(attempt.checks)
    return job


async def look(session: AsyncSession) -> int:
    """Promise to ask about the attempts whose time has come, and give up on transfers that nobody confirms; how many
    were looked at. Two who look at once take different ones."""
    now = clock.now()
    rows = select(GatewayPayment, Gateway.provider).join(Gateway, Gateway.id == GatewayPayment.gateway_id)
    rows = rows.where(GatewayPayment.next_check_at <= now).order_by(GatewayPayment.next_check_at).limit(CHUNK)
    found = (await session.execute(rows.with_for_update(of=GatewayPayment, skip_locked=True))).all()
    for attempt, provider in found:
        if provider == BANK_TRANSFER:
            _give_up(attempt, "Nobody has confirmed the transfer.")
        else:
            await promise_check(session, attempt)
    return len(found)


async def claim_check(session: AsyncSession, attempt_id: UUID, every: timedelta) -> bool:
    """Whether somebody who waits may have the gateway asked now: of many at once one may, and no oftener than this."""
    now = clock.now()
    attempt = await _locked(session, attempt_id)
    if attempt.state not in OPEN or (attempt.asked_at is not None and attempt.asked_at > now - every):
        return False
    attempt.asked_at = now
    return True


def _plan(attempt: GatewayPayment) -> None:
    """When the gateway is asked next."""
    now = clock.now()
    attempt.asked_at = now
    if attempt.state not in OPEN or (attempt.state is GatewayPaymentState.IN_DOUBT and attempt.receipt is not None):
        attempt.next_check_at = None
    elif now - attempt.started_at > rules.GIVE_UP:
        _give_up(attempt, attempt.reason or "It was not paid.")
    else:
        attempt.next_check_at = now + rules.wait(attempt.checks)


def _give_up(attempt: GatewayPayment, reason: str) -> None:
    attempt.next_check_at = None
    if attempt.state in OPEN:
        attempt.state, attempt.reason = GatewayPaymentState.EXPIRED, reason


async def _follow(session: AsyncSession, attempt: GatewayPayment, word: Word) -> None:
    """Bring a locked attempt from where it stands to where this word takes it."""
    if word.state is GatewayPaymentState.PAID:
        receipt = (word.receipt or attempt.provider_reference or attempt.reference)[:255]
        word = Word(word.state, word.amount_minor, word.currency, receipt, word.reason)
        if await receipt_taken(session, attempt, receipt):
            attempt.state = GatewayPaymentState.IN_DOUBT
            attempt.reason = f"The receipt {receipt} is that of another payment."
            return
    now = Standing(attempt.state, attempt.receipt, attempt.reason)
    then = rules.after(now, word, asked_minor=attempt.amount_minor, currency=attempt.currency)
    if then.applied_minor is not None and then.standing.receipt is not None:
        await apply(session, attempt, then.applied_minor, then.standing.receipt, by=None)
        attempt.reason = then.standing.reason
    elif then.standing != now:
        attempt.state, attempt.receipt = then.standing.state, then.standing.receipt
        attempt.reason = then.standing.reason
        if attempt.state is GatewayPaymentState.IN_DOUBT:
            details = {"reference": attempt.reference, "receipt": attempt.receipt, "reason": attempt.reason}
            audit.noticed(session, attempt.tenant_id, "gateway.doubt", attempt.customer_id, details)


async def receipt_taken(session: AsyncSession, attempt: GatewayPayment, receipt: str) -> bool:
    """Whether money with this receipt is another attempt's."""
    other = select(GatewayPayment.id).where(
        GatewayPayment.gateway_id == attempt.gateway_id,
        GatewayPayment.receipt == receipt,
        GatewayPayment.id != attempt.id,
    )
    return await session.scalar(other) is not None


async def apply(
    session: AsyncSession, attempt: GatewayPayment, minor: int, receipt: str, *, by: Viewer | None
) -> Payment:
    """The money of a locked attempt has come: it is PAID, and the customer's as money at the desk would be."""
    gateway = await session.get_one(Gateway, attempt.gateway_id)
    lock = select(Customer).where(Customer.id == attempt.customer_id).with_for_update(key_share=True)
    customer = (await session.scalars(lock, execution_options={"populate_existing": True})).one()
    first = None if attempt.invoice_id is None else await session.get(Invoice, attempt.invoice_id)
    payment = await income.receive(
        session,
        customer,
        minor,
        method=rules.method_of(gateway.provider),
        reference=receipt if by is not None else attempt.told_receipt or receipt,
        notes=f"{gateway.name}, {attempt.reference}",
        first=first,
        by=by,
    )
    attempt.state = GatewayPaymentState.PAID
    attempt.received_minor, attempt.receipt, attempt.payment_id = minor, receipt, payment.id
    attempt.settled_at, attempt.next_check_at = clock.now(), None
    await session.flush()
    return payment


async def find(session: AsyncSession, link_id: UUID, reference: str) -> GatewayPayment | None:
    """An attempt that was begun by this link."""
    rows = select(GatewayPayment).where(GatewayPayment.link_id == link_id, GatewayPayment.reference == reference)
    return await session.scalar(rows)


async def recent(session: AsyncSession, link_id: UUID, within: timedelta) -> int:
    """How many attempts were begun by this link of late."""
    rows = select(func.count()).select_from(GatewayPayment)
    rows = rows.where(GatewayPayment.link_id == link_id, GatewayPayment.started_at > clock.now() - within)
    return (await session.scalars(rows)).one()


async def said_paid(session: AsyncSession, attempt_id: UUID, note: str) -> GatewayPayment:
    """The payer says that a transfer is on its way: an operator will see."""
    attempt = await _locked(session, attempt_id)
    if attempt.state is GatewayPaymentState.PENDING:
        attempt.payer_note = note
    return attempt


async def _locked(session: AsyncSession, attempt_id: UUID) -> GatewayPayment:
    return await session.get_one(
        GatewayPayment, attempt_id, with_for_update={"key_share": True}, populate_existing=True
    )


async def _meant(session: AsyncSession, gateway_id: UUID, report: Report) -> GatewayPayment | None:
    """The attempt that a report is about, locked."""
    of_gateway = select(GatewayPayment.id).where(GatewayPayment.gateway_id == gateway_id)
    ways: Sequence[ColumnElement[bool]] = [
        column == given
        for column, given in (
            (GatewayPayment.reference, report.reference),
            (GatewayPayment.provider_reference, report.provider_reference),
        )
        if given is not None
    ]
    for way in ways:
        found = await session.scalar(of_gateway.where(way).limit(1))
        if found is not None:
            theirs = await _locked(session, found)
            # Where the gateway's answer to our asking for it was lost, this is the name that it has there.
            theirs.provider_reference = theirs.provider_reference or report.provider_reference
            return theirs
    if report.meant is None or not report.ask:
        return None
    found = await session.scalar(of_gateway.where(GatewayPayment.reference == report.meant))
    named = None if found is None else await _locked(session, found)
    if named is None or named.provider_reference is not None:
        return None
    # Anybody may have written that: it is asked about by this name, and by none that the gateway has given us.
    named.provider_reference = report.provider_reference
    return named
