"""What the scheduler does for the record of who did what: entries get their links soon after they are committed."""

import logging
from functools import partial

from ispgraph.db import Database
from ispgraph.domain import audit_chain
from ispgraph.domain.audit_chain import CHUNK, Keys

# At one time so many chunks of each tenant: the others wait, and so do jobs.
_CHUNKS = 10

_log = logging.getLogger(__name__)


async def seal(database: Database, keys: Keys) -> None:
    """Seal what waits, of each tenant some at one time: one tenant's trouble is not the others'."""
    async with database.read(None) as session:
        tenants = await audit_chain.waiting_tenants(session)
    for tenant_id in tenants:
        try:
            for _ in range(_CHUNKS):
                if await database.run(tenant_id, partial(audit_chain.seal, tenant_id=tenant_id, keys=keys)) < CHUNK:
                    break
        except Exception:
            _log.exception("sealing the audit entries of tenant %s failed", tenant_id)
