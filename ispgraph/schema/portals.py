"""Portals of branded customers."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import strawberry
from sqlalchemy import Select, and_, select

from ispgraph import clock
from ispgraph.domain import links, models, visibility
from ispgraph.domain.jobs import STORAGE_SWEEP
from ispgraph.domain.portals import branding, pictures, records
from ispgraph.schema.base import Node, Payload, node, row
from ispgraph.schema.compiler.fields import expression, many, one, rows
from ispgraph.schema.context import Info
from ispgraph.schema.jobs import Job, of_kind
from ispgraph.schema.operators import Operator
from ispgraph.schema.scalars import EmailAddress, Upload

CustomerLink = Annotated["Customer", strawberry.lazy("ispgraph.schema.customers")]  # type: ignore[name-defined]  # noqa: F821
LOG_ENTRIES = records.LOG_ENTRIES
_PREVIEW = timedelta(hours=24)


@row(models.PortalAsset, description="One picture of a portal, and how the last attempt to upload it ended.")
class PortalAsset:
    kind: models.AssetKind
    status: models.AssetStatus = strawberry.field(
        description="PENDING: nothing was sent yet, or the attempt did not come to its end. FAILED: see `error`; what "
        "was shown before is shown on."
    )
    error: str | None = strawberry.field(description="Why the last attempt failed.")
    attempts: int = strawberry.field(description="How often a file was sent.")
    failures: int = strawberry.field(description="How many of the attempts failed.")
    width: int | None = strawberry.field(description="In pixels, of the file that is shown; so are the others.")
    height: int | None
    size_bytes: int | None
    content_type: str | None
    uploaded_at: datetime | None

    @strawberry.field(
        description="Of the file that is shown. Of a portal that is not active: an address for a day, for whoever has "
        "it. Another file has another address."
    )
    async def url(root: strawberry.Parent[models.PortalAsset], info: Info) -> str | None:
        portal: Any = await info.context.loaders.one(models.Portal, root.portal_id)
        file: Any = await info.context.loaders.one(models.PortalFile, root.file_id)
        if portal is None or file is None:
            return None
        settings, path = info.context.settings, branding.path(portal.subdomain, file)
        if not portal.active:
            path = links.signed(settings.token_key, path, {}, clock.now() + _PREVIEW)
        return settings.origin + path


@row(models.PortalAdmin, description="Who looks after a portal on the customer's side.")
class PortalAdmin:
    name: str
    email: EmailAddress
    created_at: datetime
    invitation_sent_at: datetime | None = strawberry.field(description="When the last invitation was written.")
    invitation_expires_at: datetime | None = strawberry.field(description="Until when it is good.")
    invitations: int = strawberry.field(description="How many were written; only the last one is good.")
    accepted_at: datetime | None = strawberry.field(
        description="When one was accepted first: since then the admin can sign in. Null: nobody has."
    )


@strawberry.type(description="One attempt at a step of a portal.")
class PortalLogEntry:
    step: models.PortalStep
    kind: models.AssetKind | None = strawberry.field(description="Of the picture, where it was one.")
    succeeded: bool
    error: str | None
    at: datetime
    by: str


def _log(portal: Any, _asked: Any) -> Select[Any]:
    entry, who = models.PortalLogEntry, models.Operator
    last = (
        select(entry.id, entry.step, entry.kind, entry.succeeded, entry.error, entry.at, who.name.label("by"))
        .join(who, who.id == entry.by_id)
        .where(entry.portal_id == portal.id)
        .order_by(entry.id.desc())
        .limit(LOG_ENTRIES)
        .correlate(portal)
        .subquery()
    )
    return select(last).order_by(last.c.id)


@node("prt", models.Portal, description="The branded portal of a customer.")
class Portal(Node):
    subdomain: str = strawberry.field(description="Unique over the installation, from the first save on.")
    display_name: str
    subtitle: str | None
    theme: str | None = strawberry.field(
        description="The name of a theme of the front end, or a colour such as #0a58ca; null: the default."
    )
    active: bool = strawberry.field(
        description="Whether anybody can see it. It becomes active when its last step is done, unless that was refused "
        "by `active: false`."
    )
    version: int
    status: models.DraftStatus = expression(
        lambda portal, asked: records.status_at(portal, asked.now),
        description="How its creation stands. EXPIRED: nobody went on with it for 24 hours; its creator was told, and "
        "24 hours later it is deleted.",
    )
    completed_steps: list[models.PortalStep] = strawberry.field(
        description="ASSETS is done when there is a logo and no picture has failed."
    )
    next_step: models.PortalStep | None = expression(
        lambda portal, asked: records.next_step(portal), description="Where to go on; null when all is done."
    )
    progress_percent: int = expression(lambda portal, asked: records.progress(portal))
    created_at: datetime
    created_by: Operator = one("created_by_id")
    updated_at: datetime
    last_modified_by: Operator = one("modified_by_id")
    expires_at: datetime = strawberry.field(description="Of an unfinished one: when it counts as left.")
    finished_at: datetime | None = strawberry.field(description="When it was active, or complete, first.")
    assets: list[PortalAsset] = many("portal_id", description="One of each kind.")
    admin: PortalAdmin | None = one(lambda portal, admin, asked: admin.portal_id == portal.id)
    log: list[PortalLogEntry] = rows(
        _log, description=f"Every attempt at a step, the refused ones too, oldest first; the last {LOG_ENTRIES}."
    )
    customer: CustomerLink = one("customer_id")


@node("job", models.Job, when=lambda job: job.kind == STORAGE_SWEEP, description="A job that deletes unused files.")
class StorageJob(Job):
    is_type_of = of_kind(lambda kind: kind == STORAGE_SWEEP)


def portal_of_customer() -> Any:
    """The portal of a customer, as a field of it."""
    return one(
        lambda customer, portal, asked: and_(
            portal.customer_id == customer.id, visibility.condition(asked.viewer, models.Portal, portal)
        ),
        description="Null when none was saved.",
    )


@strawberry.input
class PortalInput:
    customer_id: strawberry.ID
    subdomain: str = strawberry.field(
        description="3 to 63 of the characters a-z 0-9 -. Punycode (xn--), reserved names, and names that look like "
        "one that is taken are refused."
    )
    display_name: str = strawberry.field(description="At most 100 characters.")
    subtitle: str | None = strawberry.field(default=None, description="At most 200 characters.")
    theme: str | None = strawberry.field(default=None, description="A name of a-z 0-9 - _, or a colour as #0a58ca.")
    active: bool | None = strawberry.field(
        default=None, description="Null: as it is. False keeps a portal that is being made inactive when it is done."
    )
    expected_version: int | None = strawberry.field(
        default=None, description="The version the form was filled from: VERSION_CONFLICT when somebody saved since."
    )
    idempotency_key: str | None = None


@strawberry.input
class PortalAssetInput:
    kind: models.AssetKind
    file: Upload = strawberry.field(
        description="PNG, JPEG, WebP or GIF; an icon may be an ICO file. It is recognised by its content. "
        + " ".join(
            f"{kind.value}: at most {form.largest_bytes // pictures.MEGABYTE} MB, kept at {form.width} by "
            f"{form.height} pixels."
            for kind, form in pictures.FORMS.items()
        )
        + f" No picture may have more than {pictures.PIXELS // 10**6} million pixels."
    )


@strawberry.input
class PortalAdminInput:
    customer_id: strawberry.ID
    name: str
    email: EmailAddress
    send_invitation: bool = True
    idempotency_key: str | None = None


@strawberry.type
class PortalPayload(Payload):
    portal: Portal | None = None


@strawberry.type(description="With an answer for each picture that was sent, in their order.")
class PortalAssetsPayload(Payload):
    assets: list[PortalAsset] = strawberry.field(default_factory=list)
    portal: Portal | None = None
