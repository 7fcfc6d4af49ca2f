"""Limits of speed, time and volume, and fair use."""

import strawberry

from ispgraph.domain import fair_usage, limits
from ispgraph.domain.permissions import Permission
from ispgraph.resolvers.base import action
from ispgraph.resolvers.customer_actions import chosen, payload
from ispgraph.schema.context import Info
from ispgraph.schema.service_limits import ServiceRef, SpeedLimitInput, TimeLimitInput, VolumeLimitInput
from ispgraph.schema.services import CustomerActionPayload


async def set_speed_limit(info: Info, input: SpeedLimitInput) -> CustomerActionPayload:
    """Give a service rates of its own, for good or for a time. Who is on line stays so and gets them at once."""
    done = await limits.set_speed(
        info.context.session,
        chosen(input),
        download_kbps=input.download_kbps,
        upload_kbps=input.upload_kbps,
        expires_at=input.expires_at,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


async def clear_speed_limit(info: Info, input: ServiceRef) -> CustomerActionPayload:
    """Take away the speed limits of a service, the temporary and the permanent one: its package counts again."""
    return await _clear(info, limits.SPEED, input)


async def set_time_limit(info: Info, input: TimeLimitInput) -> CustomerActionPayload:
    """Limit how long, and when, a service may be used."""
    windows = [limits.Window(each.days, each.from_, each.to) for each in input.windows or ()]
    done = await limits.set_time(
        info.context.session,
        chosen(input),
        limits.TimeLimits(
            input.session_seconds, input.daily_seconds, input.weekly_seconds, input.monthly_seconds, windows
        ),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


async def clear_time_limit(info: Info, input: ServiceRef) -> CustomerActionPayload:
    """Take away the time limit of a service."""
    return await _clear(info, limits.TIME, input)


async def set_volume_limit(info: Info, input: VolumeLimitInput) -> CustomerActionPayload:
    """Limit how much a service may carry in a day, in a billing period, or both."""
    done = await limits.set_volume(
        info.context.session,
        chosen(input),
        daily_bytes=input.daily_bytes,
        monthly_bytes=input.monthly_bytes,
        rollover=input.rollover,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


async def clear_volume_limit(info: Info, input: ServiceRef) -> CustomerActionPayload:
    """Take away the volume limit of a service."""
    return await _clear(info, limits.VOLUME, input)


async def activate_fup(info: Info, input: ServiceRef) -> CustomerActionPayload:
    """Have fair use begin now for a service that has reached the threshold, before it is noticed by itself."""
    done = await fair_usage.activate(
        info.context.session,
        chosen(input),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


async def reset_fup(info: Info, input: ServiceRef) -> CustomerActionPayload:
    """Count fair use anew from now on: full speed again. What was used stays in the books."""
    done = await fair_usage.reset(
        info.context.session,
        chosen(input),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


async def _clear(info: Info, kind: str, input: ServiceRef) -> CustomerActionPayload:
    done = await limits.clear(
        info.context.session,
        kind,
        chosen(input),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


@strawberry.type
class LimitMutations:
    customer_set_speed_limit = action(set_speed_limit, Permission.EDIT_SPEED_LIMIT)
    customer_clear_speed_limit = action(clear_speed_limit, Permission.EDIT_SPEED_LIMIT)
    customer_set_time_limit = action(set_time_limit, Permission.EDIT_TIME_LIMIT)
    customer_clear_time_limit = action(clear_time_limit, Permission.EDIT_TIME_LIMIT)
    customer_set_volume_limit = action(set_volume_limit, Permission.EDIT_VOLUME_LIMIT)
    customer_clear_volume_limit = action(clear_volume_limit, Permission.EDIT_VOLUME_LIMIT)
    customer_activate_fup = action(activate_fup, Permission.ACTIVATE_FUP)
    customer_reset_fup = action(reset_fup, Permission.ACTIVATE_FUP)
