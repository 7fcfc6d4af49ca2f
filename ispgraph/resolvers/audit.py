"""Looking at the record of who did what."""

import strawberry

from ispgraph.domain import audit_log
from ispgraph.domain.permissions import Permission
from ispgraph.resolvers.base import query
from ispgraph.schema import roots
from ispgraph.schema.audit import AuditEntry, AuditWhere
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.pages import Connection


async def log(
    info: Info,
    where: AuditWhere | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[AuditEntry]:
    """What was done, the latest first: by anyone, or, for who sees a reseller's customers alone, by somebody of that
    reseller's tree."""
    wanted = audit_log.wanted(audit_log.AuditWhere() if where is None else where.checked())
    found: Connection[AuditEntry] = page_of(roots.AUDIT_LOG, wanted, first=first, after=after, last=last, before=before)
    return found


@strawberry.type
class AuditQueries:
    audit_log = query(log, Permission.VIEW_AUDIT_LOG)
