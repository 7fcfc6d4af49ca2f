"""What anybody may see of a portal: how it looks, and its pictures."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.models import AssetKind, Customer, CustomerStatus, Portal, PortalAsset, PortalFile

_PREFIXES = {kind.value.lower(): kind for kind in AssetKind}


@dataclass(frozen=True, slots=True)
class Shown:
    """A portal with the pictures that it shows."""

    portal: Portal
    assets: list[tuple[PortalAsset, PortalFile]]


async def tenant_of(session: AsyncSession, subdomain: str) -> UUID | None:
    """Whose portal has this subdomain; needs no tenant in the session."""
    found: UUID | None = await session.scalar(text("SELECT portal_tenant(:name)"), {"name": subdomain})
    return found


async def find(session: AsyncSession, subdomain: str, *, active: bool = True) -> Portal | None:
    """The portal with this subdomain; with `active` only if it is, and its customer is not terminated."""
    rows = select(Portal).where(Portal.subdomain == subdomain)
    if active:
        rows = rows.join(Customer, Customer.id == Portal.customer_id)
        rows = rows.where(Portal.active, Customer.status != CustomerStatus.TERMINATED)
    return await session.scalar(rows)


async def shown(session: AsyncSession, portal: Portal) -> Shown:
    """What a portal shows."""
    rows = select(PortalAsset, PortalFile).join(PortalFile, PortalFile.id == PortalAsset.file_id)
    found = await session.execute(rows.where(PortalAsset.portal_id == portal.id).order_by(PortalAsset.kind))
    return Shown(portal, [(asset, file) for asset, file in found])


def path(subdomain: str, file: PortalFile) -> str:
    """The address of a picture, without the origin. Another picture has another one."""
    return f"/portals/{subdomain}/{file.kind.value.lower()}-{file.digest}.webp"


async def file_of(session: AsyncSession, portal: Portal, name: str) -> PortalFile | None:
    """The picture of a portal by the name in its address; also one that was shown a moment ago."""
    kind, _, rest = name.partition("-")
    digest, dot, ending = rest.partition(".")
    if kind not in _PREFIXES or (dot + ending) != ".webp" or len(digest) != 64:
        return None
    mine = select(PortalFile).where(
        PortalFile.portal_id == portal.id, PortalFile.kind == _PREFIXES[kind], PortalFile.digest == digest
    )
    return await session.scalar(mine.order_by(PortalFile.unused_since.desc().nulls_first()).limit(1))
