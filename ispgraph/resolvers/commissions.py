"""Commission rates, and the wallets of operators."""

from datetime import date
from typing import Annotated, Any

import strawberry

from ispgraph.domain import models
from ispgraph.domain.billing import commission_rates, operator_wallets
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import SIGNED_IN, action, query
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.commissions import (
    CommissionRate,
    CommissionRateEndInput,
    CommissionRateInput,
    CommissionRatePayload,
    OperatorAdjustmentInput,
    OperatorPaymentInput,
    OperatorPaymentPayload,
    OperatorStatement,
)
from ispgraph.schema.compiler.reading import RowOf, page_of
from ispgraph.schema.context import Info
from ispgraph.schema.operators import OperatorCreditLimitInput, OperatorPayload
from ispgraph.schema.pages import Connection


async def rates(
    info: Info,
    operator_id: strawberry.ID | None = None,
    package_id: strawberry.ID | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[CommissionRate]:
    """What was said about commission, the latest first: of the viewer and of the operators below; of everybody with the
    permission VIEW_REPORTS and the whole tenant in view."""
    wanted = {
        "operator": optional_id("opr", operator_id, "operatorId"),
        "package": optional_id("pkg", package_id, "packageId"),
    }
    found: Connection[CommissionRate] = page_of(
        roots.COMMISSION_RATES, wanted, first=first, after=after, last=last, before=before
    )
    return found


async def statement(
    info: Info,
    operator_id: strawberry.ID | None = None,
    from_: Annotated[date | None, strawberry.argument(name="from")] = None,
    to: date | None = None,
) -> OperatorStatement | None:
    """The wallet of an operator, by default the viewer's own, from one day to another, both within: by default from the
    beginning of the month until today. Of the operators below too; of everybody with the permission VIEW_REPORTS and
    the whole tenant in view. Null for others."""
    viewer = info.context.viewer_or_refuse()
    key = optional_id("opr", operator_id, "operatorId") or viewer.operator_id
    async with info.context.read() as session:
        found: Any = await operator_wallets.statement(session, key, from_, to, by=viewer)
    shown: OperatorStatement | None = found
    return shown


async def set_rate(info: Info, input: CommissionRateInput) -> CommissionRatePayload:
    """Have an operator earn by the payments of the customers in the operator's tree. What was earned before stays."""
    row: Any = await commission_rates.set_rate(
        info.context.session,
        commission_rates.Rate(
            operator_id=typed_id("opr", input.operator_id, "input", "operatorId"),
            package_id=optional_id("pkg", input.package_id, "input", "packageId"),
            percent=input.percent,
            fixed=input.fixed,
            valid_from=input.valid_from,
        ),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return CommissionRatePayload(commission_rate=row)


async def end_rate(info: Info, input: CommissionRateEndInput) -> CommissionRatePayload:
    """End a rate: after that for a package the general one counts, after the general one none. A rate that was said to
    begin later still does."""
    row: Any = await commission_rates.end(
        info.context.session,
        commission_rates.Rate(
            operator_id=typed_id("opr", input.operator_id, "input", "operatorId"),
            package_id=optional_id("pkg", input.package_id, "input", "packageId"),
            percent=None,
            fixed=None,
            valid_from=input.valid_from,
        ),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return CommissionRatePayload(commission_rate=row)


async def record_payment(info: Info, input: OperatorPaymentInput) -> OperatorPaymentPayload:
    """Record money that an operator pays into the wallet, or is paid from it."""
    row = await operator_wallets.record(
        info.context.session,
        typed_id("opr", input.operator_id, "input", "operatorId"),
        operator_wallets.Given(input.kind, input.amount, input.method, input.reference, input.notes),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(row)


async def adjust_wallet(info: Info, input: OperatorAdjustmentInput) -> OperatorPaymentPayload:
    """Put something into an operator's wallet or take it out, without money changing hands."""
    row = await operator_wallets.adjust(
        info.context.session,
        typed_id("opr", input.operator_id, "input", "operatorId"),
        amount=input.amount,
        reason=input.reason,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(row)


@once()
async def set_credit_limit(info: Info, input: OperatorCreditLimitInput) -> OperatorPayload:
    """Let the wallet of an operator below go below zero by the vouchers that are bought from it, as far as this."""
    changed: Any = await operator_wallets.set_credit_limit(
        info.context.session,
        typed_id("opr", input.operator_id, "input", "operatorId"),
        input.amount,
        by=info.context.viewer_or_refuse(),
    )
    return OperatorPayload(operator=changed)


def _payload(row: Any) -> OperatorPaymentPayload:
    operator: Any = RowOf(models.Operator, row.operator_id, if_visible=True)
    return OperatorPaymentPayload(payment=row, operator=operator)


@strawberry.type
class CommissionQueries:
    commission_rates = query(rates, SIGNED_IN)
    operator_statement = query(statement, SIGNED_IN)


@strawberry.type
class CommissionMutations:
    commission_rate_set = action(set_rate, Permission.MANAGE_OPERATORS)
    commission_rate_end = action(end_rate, Permission.MANAGE_OPERATORS)
    operator_record_payment = action(record_payment, Permission.MANAGE_OPERATORS)
    operator_adjust_wallet = action(adjust_wallet, Permission.MANAGE_OPERATORS)
    operator_set_credit_limit = action(set_credit_limit, Permission.MANAGE_OPERATORS)
