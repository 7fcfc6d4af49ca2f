"""Portals of branded customers."""

from typing import Any

import strawberry

from ispgraph.domain import models
from ispgraph.domain.errors import DomainError
from ispgraph.domain.permissions import Permission
from ispgraph.domain.portals import abandoned, admins, records
from ispgraph.domain.references import typed_id
from ispgraph.resolvers import portal_uploads
from ispgraph.resolvers.base import Refused, action, query
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.pages import Connection
from ispgraph.schema.portals import (
    Portal,
    PortalAdminInput,
    PortalAssetInput,
    PortalAssetsPayload,
    PortalInput,
    PortalPayload,
)


async def portal_drafts(
    info: Info,
    status: list[models.DraftStatus] | None = None,
    mine: bool | None = False,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[Portal]:
    """Portals of the viewer's customers that are not finished, newest first; with `status`, those in these states,
    where COMPLETED finds the finished ones. Steps done, failures and attempts are in each."""
    wanted = {"status": records.UNFINISHED if status is None else status, "mine": mine or None}
    page: Connection[Portal] = page_of(roots.PORTALS, wanted, first=first, after=after, last=last, before=before)
    return page


@once()
async def save(info: Info, input: PortalInput) -> PortalPayload:
    """Draft the portal of a customer, or change it: all of it, what is left out is taken away. The subdomain is
    reserved at once, for as long as somebody goes on with the portal within 24 hours, and a day more.

    Errors: INVALID and TAKEN at input, subdomain; VERSION_CONFLICT; INVALID_STATE for a customer who is terminated.
    """
    wish = records.Wish(
        customer_id=typed_id("cus", input.customer_id, "input", "customerId"),
        subdomain=input.subdomain,
        display_name=input.display_name,
        subtitle=input.subtitle,
        theme=input.theme,
        active=input.active,
    )
    row: Any = await records.save(
        info.context.session, wish, expected_version=input.expected_version, by=info.context.viewer_or_refuse()
    )
    return PortalPayload(portal=row)


async def upload_assets(info: Info, customer_id: strawberry.ID, assets: list[PortalAssetInput]) -> PortalAssetsPayload:
    """Upload pictures of a portal, one of each kind at most, by a multipart request. Each has its own answer in
    `assets`: one that fails keeps none of the others, and is sent again by itself. The same file again changes nothing.

    Errors, when nothing was begun: NOT_FOUND, INVALID_STATE at customerId; INVALID at assets, 0, kind; NOT_CONFIGURED.
    """
    context = info.context
    portal_id = await portal_uploads.upload(
        context.database,
        context.settings,
        typed_id("cus", customer_id, "customerId"),
        [(item.kind, item.file) for item in assets],
        by=context.viewer_or_refuse(),
    )
    async with context.read() as session:
        portal, found = await records.with_assets(session, portal_id, [item.kind for item in assets])
    rows: Any = found
    shown: Any = portal
    return PortalAssetsPayload(assets=rows, portal=shown)


async def create_admin(info: Info, input: PortalAdminInput) -> PortalPayload:
    """Make somebody the admin of a portal, in place of the one there is, and send an invitation by e-mail. Done again
    with the same e-mail, another invitation takes the place of the last.

    Errors: TAKEN for the e-mail of another portal's admin or of an operator; INVALID_STATE before `portalSave`;
    LIMIT_EXCEEDED after twenty invitations.
    """
    settings = info.context.settings
    given = admins.NewAdmin(
        customer_id=typed_id("cus", input.customer_id, "input", "customerId"),
        name=input.name,
        email=input.email,
        send_invitation=input.send_invitation,
    )
    row: Any = await admins.create(
        info.context.session,
        given,
        idempotency_key=input.idempotency_key,
        network_key=settings.network_key,
        origin=settings.origin,
        portal_url=settings.portal_url,
        by=info.context.viewer_or_refuse(),
    )
    return PortalPayload(portal=row)


@once()
async def discard(info: Info, customer_id: strawberry.ID) -> PortalPayload:
    """Give up a portal that is not finished: all of it is deleted, and its subdomain is free. Answers without it.

    Errors: INVALID_STATE for a portal that is finished, or is not there.
    """
    await abandoned.discard(
        info.context.session, typed_id("cus", customer_id, "customerId"), by=info.context.viewer_or_refuse()
    )
    return PortalPayload()


def _logged(step: models.PortalStep) -> Refused:
    """Keeps a refused attempt in the portal's log: the attempt itself has left no trace."""

    async def keep(info: Info, error: DomainError, arguments: dict[str, Any]) -> None:
        customer = arguments["input"].customer_id if "input" in arguments else arguments["customer_id"]
        who = info.context.viewer_or_refuse()
        try:
            customer_id = typed_id("cus", customer)
        except DomainError:
            return
        await info.context.database.run(
            who.tenant_id, lambda session: records.refused(session, customer_id, step, error, by=who)
        )

    return keep


_EDIT = Permission.EDIT_CUSTOMERS
_STEP = models.PortalStep


@strawberry.type
class PortalQueries:
    portal_drafts = query(portal_drafts, _EDIT)


@strawberry.type
class PortalMutations:
    portal_save = action(save, _EDIT, refused=_logged(_STEP.BRANDING))
    portal_upload_assets = action(upload_assets, _EDIT, refused=_logged(_STEP.ASSETS), transaction=False)
    portal_create_admin = action(create_admin, _EDIT, refused=_logged(_STEP.ADMIN))
    portal_discard = action(discard, _EDIT)
