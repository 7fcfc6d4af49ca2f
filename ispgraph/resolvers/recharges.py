"""Some days more for a service: what they cost, and buying them."""

import strawberry

from ispgraph.domain import recharges
from ispgraph.domain.permissions import Permission
from ispgraph.domain.recharges import Paid, Wish
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.domain.services import Chosen
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.customer_actions import chosen, payload
from ispgraph.resolvers.package_changes import shown
from ispgraph.schema.context import Info
from ispgraph.schema.quotes import DailyRechargeInput, Quote
from ispgraph.schema.services import CustomerActionPayload


async def daily_recharge_quote(
    info: Info, customer_id: strawberry.ID, days: int, package_id: strawberry.ID | None = None, hours: int = 0
) -> Quote:
    """What some days, and hours where the package allows part of a day, more of the primary service, or of the only
    one, would cost."""
    whose = Chosen(typed_id("cus", customer_id, "customerId"), None, ())
    wish = Wish(days, optional_id("pkg", package_id, "packageId"), hours)
    async with info.context.read() as session:
        secret, by = info.context.settings.token_key, info.context.viewer_or_refuse()
        return shown(info, await recharges.quote(session, whose, wish, token_key=secret, by=by))


async def daily_recharge(info: Info, input: DailyRechargeInput) -> CustomerActionPayload:
    """Let a service go on for some days from its end, or from now when that is over; invoiced and paid at once. A
    service whose time was over is on line again."""
    done = await recharges.recharge(
        info.context.session,
        chosen(input),
        Wish(input.days, optional_id("pkg", input.package_id, "input", "packageId"), input.hours),
        Paid(input.method, input.reference),
        auto_renew=input.auto_renew,
        quote_token=input.quote_token,
        idempotency_key=input.idempotency_key,
        token_keys=info.context.settings.token_keys,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


@strawberry.type
class RechargeQueries:
    daily_recharge_quote = query(daily_recharge_quote, Permission.DAILY_RECHARGE)


@strawberry.type
class RechargeMutations:
    customer_daily_recharge = action(daily_recharge, Permission.DAILY_RECHARGE)
