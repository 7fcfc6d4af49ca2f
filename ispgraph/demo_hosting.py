"""The demo's hosting server: the panel that `ispgraph panel` runs on this machine."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import hosting_servers
from ispgraph.domain.hosting_servers import Terms
from ispgraph.domain.models import HostingServer
from ispgraph.domain.permissions import Viewer
from ispgraph.panel import KEY, SECRET

_NAME = "Demo panel"


async def add(session: AsyncSession, url: str, network_key: bytes, admin: Viewer) -> None:
    """Make the server when it is not there, and have it found where it listens by now."""
    found = await session.scalar(select(HostingServer).where(HostingServer.name == _NAME))
    terms = Terms(name=_NAME, base_url=url, api_key=KEY, api_secret=SECRET, capacity=100)
    if found is None:
        await hosting_servers.add(session, terms, network_key=network_key, private=True, by=admin)
    elif found.base_url != url:
        await hosting_servers.update(session, found.id, terms, network_key=network_key, private=True, by=admin)
