"""Telling those who look after routers that one does not answer, and that it answers again."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import messages
from ispgraph.domain.models import Operator, Router, RouterStatus, Tenant
from ispgraph.domain.permissions import Permission

PATIENCE = timedelta(minutes=3)
"""A router that is away for less is nobody's business."""
CHUNK = 100
_ANSWERS = (RouterStatus.ONLINE, RouterStatus.DEGRADED)


async def look(session: AsyncSession) -> int:
    """Tell of the tenant's routers whose state is not what was told last; how many there were."""
    now = clock.now()
    down = and_(Router.status == RouterStatus.OFFLINE, Router.unreachable_since <= now - PATIENCE)
    told = Router.told_down_at.is_not(None)
    news = or_(and_(~told, down), and_(told, Router.status.in_(_ANSWERS)))
    # Whoever has its turn on a router holds it: then it is told of a little later.
    rows = select(Router).where(news).order_by(Router.id).limit(CHUNK).with_for_update(key_share=True, skip_locked=True)
    found = (await session.scalars(rows)).all()
    for router in found:
        await _tell(session, router)
        router.told_down_at = None if router.told_down_at else now
    return len(found)


async def _tell(session: AsyncSession, router: Router) -> None:
    zone = ZoneInfo((await session.get_one(Tenant, router.tenant_id)).time_zone)
    may = Operator.permissions.contains([Permission.MANAGE_ROUTERS.value])
    for operator in await session.scalars(select(Operator).where(Operator.active, may).order_by(Operator.id)):
        if router.told_down_at is not None:
            await messages.tell_operator(session, operator, "router.up", router=router.name)
            continue
        since = router.unreachable_since or clock.now()
        await messages.tell_operator(
            session,
            operator,
            "router.down",
            router=router.name,
            since=f"{since.astimezone(zone):%Y-%m-%d %H:%M}",
            problem=router.problem or "",
        )
