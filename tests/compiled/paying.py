"""Payment links and attempts to pay of the furnished tenant."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from ispgraph import ids
from ispgraph.domain import models, secrets
from ispgraph.domain.models import GatewayKind, GatewayPaymentState, GatewayRefundState, JobStatus
from ispgraph.domain.payment_links import hashed
from tests.factories import NETWORK_KEY, House


async def furnish(house: House, customers: list[models.Customer], now: datetime) -> list[Any]:
    """Links in every state, attempts in every state, and jobs that ask about some of them."""
    async with house.database.read(house.tenant.id) as session:
        invoices = (await session.scalars(select(models.Invoice).order_by(models.Invoice.id))).all()
        payments = (await session.scalars(select(models.Payment).order_by(models.Payment.id))).all()
    gateways = [
        models.Gateway(kind=kind, provider="stripe", name=f'Card "{number}" রহিম\\', secrets=b"", active=number != 2)
        for number, kind in enumerate([*[GatewayKind.PAYMENT] * 4, GatewayKind.SMS])
    ]
    for number, row in enumerate(gateways):
        row.position = number % 3
    await house.add(*gateways)
    of_invoices = [*invoices[:12], *[None] * 12]
    links = [_link(house, number, invoice, customers, gateways, now) for number, invoice in enumerate(of_invoices)]
    await house.add(*links)
    states = list(GatewayPaymentState)
    attempts = []
    for number in range(28):
        link, payment = links[number % 16], payments[number] if states[number % 7] is GatewayPaymentState.PAID else None
        attempts.append(
            models.GatewayPayment(
                gateway_id=gateways[number % 4].id,
                link_id=link.id if number % 5 else None,
                customer_id=link.customer_id,
                invoice_id=link.invoice_id,
                reference=f"R{number}",
                amount_minor=1_000 + number,
                currency=house.tenant.currency,
                state=states[number % 7],
                provider_reference='cs_"1"' if number % 3 else None,
                payer_note="gestern\nbezahlt" if number % 4 == 0 else None,
                received_minor=payment.amount_minor if payment else None,
                receipt=f"pi_{number}" if payment else None,
                told_receipt=f"SFF{number}" if payment and number % 2 else None,
                payment_id=payment.id if payment else None,
                reason="no \\ answer" if number % 2 else None,
                started_at=now - timedelta(minutes=number),
                settled_at=now if payment else None,
                next_check_at=now if number % 7 == 1 else None,
            )
        )
    jobs = [
        models.Job(
            id=ids.uuid7(),
            kind="gateway.check",
            status=list(JobStatus)[number % 5],
            customer_id=attempt.customer_id,
            arguments={"gateway_payment": "x"},
            next_attempt_at=now,
            created_at=now - timedelta(minutes=number),
        )
        for number, attempt in enumerate(attempts[:6])
    ]
    await house.add(*jobs)
    for attempt, job in zip(attempts[:5], jobs, strict=False):
        attempt.check_job_id = job.id
    await house.add(*attempts)
    return [*links, *attempts, *jobs, *await _refunds(house, attempts, now)]


async def _refunds(house: House, attempts: list[models.GatewayPayment], now: datetime) -> list[Any]:
    """Refunds of what was paid, in every state, one undone; and those that nobody asked a gateway for."""
    states = list(GatewayRefundState)
    found: list[Any] = []
    for number, attempt in enumerate(each for each in attempts for _ in range(3) if each.payment_id):
        refund = models.Refund(
            id=ids.uuid7(),
            payment_id=attempt.payment_id,
            amount_minor=1 + number,
            reason='moved "away" \\ রহিম',
            at=now - timedelta(minutes=number),
            by_id=house.admin.id if number % 3 else None,
        )
        await house.add(refund)
        if number % 4 == 3:
            continue
        state = states[number % 5]
        job = models.Job(
            id=ids.uuid7(),
            kind="gateway.refund",
            status=JobStatus.QUEUED,
            customer_id=attempt.customer_id,
            arguments={"gateway_refund": "x"},
            next_attempt_at=now,
            created_at=now,
        )
        theirs = models.GatewayRefund(
            refund_id=refund.id,
            gateway_payment_id=attempt.id,
            customer_id=attempt.customer_id,
            state=state,
            provider_reference=f're_"{number}"' if number % 2 or state is GatewayRefundState.ACCEPTED else None,
            reason="no \n answer" if number % 2 else None,
            tries=number,
            started_at=now - timedelta(minutes=number),
            settled_at=now if state in (GatewayRefundState.DONE, GatewayRefundState.FAILED) else None,
            next_try_at=now if state in (GatewayRefundState.PENDING, GatewayRefundState.ACCEPTED) else None,
            job_id=job.id,
        )
        undone = models.Refund(payment_id=refund.payment_id, amount_minor=-refund.amount_minor, reason="No", at=now)
        undone.undoes_id = refund.id
        await house.add(job, theirs, *([undone] if state is GatewayRefundState.FAILED else []))
        found += [theirs, job]
    return found


def _link(
    house: House,
    number: int,
    invoice: models.Invoice | None,
    customers: list[models.Customer],
    gateways: list[models.Gateway],
    now: datetime,
) -> models.PaymentLink:
    key = ids.uuid7()
    token = f"token-{key.hex}"
    return models.PaymentLink(
        id=key,
        token_hash=hashed(token),
        token_sealed=secrets.seal(NETWORK_KEY, token, secrets.payment_link(house.tenant.id, key)),
        customer_id=invoice.customer_id if invoice else customers[number % 7].id,
        invoice_id=invoice.id if invoice else None,
        amount_minor=None if invoice or number % 2 else 1_015,
        gateway_ids=[gateways[place].id for place in range(number % 4)],
        expires_at=now + timedelta(days=number % 5 - 2),
        cancelled_at=now if number % 6 == 5 else None,
        open_count=number,
        last_opened_at=now if number % 2 else None,
        created_at=now - timedelta(hours=number),
        created_by_id=house.admin.id,
    )
