"""Recharging hotspots."""

from typing import Any

import strawberry

from ispgraph.domain import hotspot as domain
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id
from ispgraph.resolvers.base import action
from ispgraph.resolvers.customer_actions import chosen
from ispgraph.schema.context import Info
from ispgraph.schema.onboarding import Credentials
from ispgraph.schema.vouchers import HotspotRechargeInput, HotspotRechargePayload


async def recharge(info: Info, input: HotspotRechargeInput) -> HotspotRechargePayload:
    """Let a hotspot service go on, by a voucher or by a payment: its time from where it ends, its data and time on line
    by what is left of them. A customer who has no service gets one."""
    done = await domain.recharge(
        info.context.session,
        chosen(input),
        domain.Wish(
            voucher_code=input.voucher_code,
            package_id=optional_id("pkg", input.package_id, "input", "packageId"),
            method=input.method,
            reference=input.reference,
        ),
        network_key=info.context.settings.network_key,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    customer: Any = done.customer
    payment: Any = done.payment
    voucher: Any = done.voucher
    jobs: Any = list(done.jobs)
    login = None if done.login is None else Credentials(username=done.login.username, password=done.login.password)
    return HotspotRechargePayload(customer=customer, payment=payment, voucher=voucher, credentials=login, jobs=jobs)


@strawberry.type
class HotspotMutations:
    customer_hotspot_recharge = action(recharge, Permission.HOTSPOT_RECHARGE)
