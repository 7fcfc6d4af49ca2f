"""The wizard's mutations and the list of unfinished creations."""

from dataclasses import asdict
from typing import Any

import strawberry

from ispgraph.domain import models
from ispgraph.domain.errors import DomainError, ErrorCode
from ispgraph.domain.onboarding import confirm as confirming
from ispgraph.domain.onboarding import drafts, steps
from ispgraph.domain.permissions import Permission, Viewer
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import Refused, action, query
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import RowOf, page_of
from ispgraph.schema.context import Info
from ispgraph.schema.onboarding import (
    Credentials,
    CustomerDraft,
    CustomerDraftConfirmPayload,
    CustomerDraftPayload,
    DraftAddressInput,
    DraftBasicsInput,
    DraftConfirmInput,
    DraftConnectionInput,
    DraftCustomFieldsInput,
    DraftPackageInput,
    DraftPaymentInput,
    StepInput,
)
from ispgraph.schema.pages import Connection


def _draft_id(text: str) -> Any:
    return typed_id("dft", text, "input", "draftId")


def _who(info: Info) -> Viewer:
    return info.context.viewer_or_refuse()


def _payload(draft: Any) -> CustomerDraftPayload:
    return CustomerDraftPayload(draft=draft)


@once()
async def start(info: Info) -> CustomerDraftPayload:
    """Begin a creation."""
    return _payload(await drafts.start(info.context.session, by=_who(info)))


@once()
async def set_basics(info: Info, input: DraftBasicsInput) -> CustomerDraftPayload:
    """Step 1: name, mobile and e-mail."""
    draft = await steps.set_basics(
        info.context.session,
        _draft_id(input.draft_id),
        name=input.name,
        mobile=input.mobile,
        email=input.email,
        expected_version=input.expected_version,
        by=_who(info),
    )
    return _payload(draft)


@once()
async def set_connection(info: Info, input: DraftConnectionInput) -> CustomerDraftPayload:
    """Step 2: PPPoE, hotspot, static IP or other, and the router it is on."""
    kinds = {
        models.ConnectionType.PPPOE: input.pppoe,
        models.ConnectionType.HOTSPOT: input.hotspot,
        models.ConnectionType.STATIC_IP: input.static_ip,
        models.ConnectionType.OTHER: input.other,
    }
    draft = await steps.set_connection(
        info.context.session,
        _draft_id(input.draft_id),
        given={kind: asdict(value) for kind, value in kinds.items() if value is not None},
        router_id=optional_id("rtr", input.router_id, "input", "routerId"),
        network_key=info.context.settings.network_key,
        expected_version=input.expected_version,
        by=_who(info),
    )
    return _payload(draft)


@once()
async def set_package(info: Info, input: DraftPackageInput) -> CustomerDraftPayload:
    """Step 3: what is sold."""
    draft = await steps.set_package(
        info.context.session,
        _draft_id(input.draft_id),
        package_id=typed_id("pkg", input.package_id, "input", "packageId"),
        expected_version=input.expected_version,
        by=_who(info),
    )
    return _payload(draft)


@once()
async def set_address(info: Info, input: DraftAddressInput) -> CustomerDraftPayload:
    """Step 4: the address and the zone."""
    draft = await steps.set_address(
        info.context.session,
        _draft_id(input.draft_id),
        address=input.address.answer(),
        zone_id=optional_id("zon", input.zone_id, "input", "zoneId"),
        expected_version=input.expected_version,
        by=_who(info),
    )
    return _payload(draft)


@once()
async def set_custom_fields(info: Info, input: DraftCustomFieldsInput) -> CustomerDraftPayload:
    """Step 5: the tenant's own questions."""
    draft = await steps.set_custom_fields(
        info.context.session,
        _draft_id(input.draft_id),
        given=[(item.key, item.value) for item in input.values],
        expected_version=input.expected_version,
        by=_who(info),
    )
    return _payload(draft)


@once()
async def set_payment(info: Info, input: DraftPaymentInput) -> CustomerDraftPayload:
    """Step 6: what is paid now; zero pays later."""
    draft = await steps.set_payment(
        info.context.session,
        _draft_id(input.draft_id),
        amount=input.amount,
        method=input.method,
        reference=input.reference,
        notes=input.notes,
        expected_version=input.expected_version,
        by=_who(info),
    )
    return _payload(draft)


async def confirm(info: Info, input: DraftConfirmInput) -> CustomerDraftConfirmPayload:
    """Step 7: make the customer. Confirming again answers with the same customer, without the credentials."""
    made: Any = await confirming.confirm(
        info.context.session,
        _draft_id(input.draft_id),
        idempotency_key=input.idempotency_key,
        network_key=info.context.settings.network_key,
        by=_who(info),
    )
    return CustomerDraftConfirmPayload(
        draft=made.draft,
        customer=made.customer,
        invoice=made.invoice,
        payment=made.payment,
        credentials=Credentials(**asdict(made.credentials)) if made.credentials else None,
        jobs=[made.job] if made.job else [],
    )


@once()
async def cancel(info: Info, input: StepInput) -> CustomerDraftPayload:
    """Give a creation up; what was typed is erased."""
    return _payload(await drafts.cancel(info.context.session, _draft_id(input.draft_id), by=_who(info)))


async def customer_draft(info: Info, id: strawberry.ID) -> CustomerDraft | None:
    """One draft; null when there is none the viewer may see."""
    found: Any = RowOf(models.Draft, typed_id("dft", id, "id"), if_visible=True)
    return found


async def customer_drafts(
    info: Info,
    status: list[models.DraftStatus] | None = None,
    mine: bool | None = False,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[CustomerDraft]:
    """Unfinished creations, newest first; with `status`, drafts of these statuses."""
    wanted = {"status": drafts.UNFINISHED if status is None else status, "mine": mine or None}
    page: Connection[CustomerDraft] = page_of(roots.DRAFTS, wanted, first=first, after=after, last=last, before=before)
    return page


def _logged(step: models.WizardStep) -> Refused:
    """Keeps a refused attempt in the draft's log: the attempt itself has left no trace."""

    async def keep(info: Info, error: DomainError, arguments: dict[str, Any]) -> None:
        if error.faults[0].field == ("input", "draftId") and error.faults[0].code is ErrorCode.NOT_FOUND:
            return
        who, draft_id = _who(info), _draft_id(arguments["input"].draft_id)
        await info.context.database.run(
            who.tenant_id, lambda session: drafts.failed(session, draft_id, step, error, by=who)
        )

    return keep


_CREATE = Permission.CREATE_CUSTOMERS
_STEP = models.WizardStep


@strawberry.type
class OnboardingQueries:
    customer_draft = query(customer_draft, _CREATE)
    customer_drafts = query(customer_drafts, _CREATE)


@strawberry.type
class OnboardingMutations:
    customer_draft_start = action(start, _CREATE)
    customer_draft_set_basics = action(set_basics, _CREATE, refused=_logged(_STEP.BASICS))
    customer_draft_set_connection = action(set_connection, _CREATE, refused=_logged(_STEP.CONNECTION))
    customer_draft_set_package = action(set_package, _CREATE, refused=_logged(_STEP.PACKAGE))
    customer_draft_set_address = action(set_address, _CREATE, refused=_logged(_STEP.ADDRESS))
    customer_draft_set_custom_fields = action(set_custom_fields, _CREATE, refused=_logged(_STEP.CUSTOM_FIELDS))
    customer_draft_set_payment = action(set_payment, _CREATE, refused=_logged(_STEP.PAYMENT))
    customer_draft_confirm = action(confirm, _CREATE, refused=_logged(_STEP.REVIEW))
    customer_draft_cancel = action(cancel, _CREATE)
