"""The rules of the house: what a tenant may decide for itself."""

import enum
import re
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import (
    audit,
    dunning_settings,
    letterheads,
    locales,
    message_settings,
    page_colors,
    tax_profiles,
    usage_detail,
    values,
    viewers,
)
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.models import Suspension, Tenant
from ispgraph.domain.permissions import Viewer

# Of an address list or a pool. RouterOS would take more, but these need no quoting, neither there nor in RADIUS.
_LISTED = re.compile(r"[A-Za-z0-9._-]{1,63}")


@dataclass(frozen=True, slots=True)
class Changes:
    """New settings; None leaves a setting as it is."""

    email_required: bool | None = None
    pending_until_paid: bool | None = None
    tax_rate: Decimal | None = None
    tax_inclusive: bool | None = None
    invoice_due_days: int | None = None
    account_prefix: str | None = None
    suspension: Suspension | None = None
    walled_address_list: str | None = None
    walled_pool: str | None = None
    """Blank: none."""
    walled_kbps: int | None = None
    hosting_follows_invoices: bool | None = None
    usage_detail_days: int | None = None
    """0: for ever."""
    locale: str | None = None
    """Blank: that of the country."""
    page_color: str | None = None
    """Blank: the product's own."""
    letterhead: letterheads.Changes | None = None
    dunning: dunning_settings.Changes | None = None
    messages: message_settings.Changes | None = None


async def own(session: AsyncSession, *, by: Viewer) -> Tenant:
    """The viewer's tenant."""
    return await session.get_one(Tenant, by.tenant_id)


async def change(session: AsyncSession, changes: Changes, *, by: Viewer) -> Tenant:
    """Change settings. They hold for what is made from now on; what exists stays as it is.

    What the network does with those who are suspended holds from their next login on.
    """
    faults = Faults("input")
    prefix = changes.account_prefix
    if changes.tax_rate is not None:
        tax_profiles.check_rate(faults, changes.tax_rate, "taxRate")
    if changes.invoice_due_days is not None and not 0 <= changes.invoice_due_days <= 365:
        faults.add(ErrorCode.INVALID, "Invoices are due within 0 to 365 days.", "invoiceDueDays")
    if prefix is not None:
        blank = not prefix.strip()
        prefix = "" if blank else values.checked(faults, values.text, prefix, 8, at=("accountPrefix",))
    walled = _walled(faults, changes)
    shown = _shown(faults, changes, by)
    detail = usage_detail.checked(faults, changes.usage_detail_days)
    dunning = dunning_settings.checked(faults, changes.dunning) if changes.dunning else {}
    written = message_settings.checked(faults, changes.messages) if changes.messages else {}
    sent = changes.letterhead.logo if changes.letterhead else None
    logo = await letterheads.checked_logo(faults, sent) if sent is not None and sent.strip() else None
    faults.raise_if_any()
    own = select(Tenant).where(Tenant.id == by.tenant_id).with_for_update(key_share=True)
    tenant = (await session.scalars(own)).one()
    given = {
        "email_required": changes.email_required,
        "pending_until_paid": changes.pending_until_paid,
        "tax_rate": changes.tax_rate,
        "tax_inclusive": changes.tax_inclusive,
        "invoice_due_days": changes.invoice_due_days,
        "account_prefix": prefix,
        "suspension": changes.suspension,
        "hosting_follows_invoices": changes.hosting_follows_invoices,
    }
    wanted: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    wanted |= walled | shown | detail | dunning | written
    made = {name: value for name, value in wanted.items() if value != getattr(tenant, name)}
    for name, value in made.items():
        setattr(tenant, name, value)
    details = {name: _plain(value) for name, value in made.items()}
    if sent is not None and await letterheads.set_logo(session, tenant, logo):
        details["logo"] = _plain(logo)
    if details:
        audit.record(session, by=by, action="tenant.settings", subject_id=tenant.id, details=details)
        viewers.forget_after_commit(session)
    await session.flush()
    return tenant


def _walled(faults: Faults, changes: Changes) -> dict[str, str | int | None]:
    """The settings of the walled garden that were given; of no use once a fault was found."""
    found: dict[str, str | int | None] = {}
    if changes.walled_address_list is not None:
        found["walled_address_list"] = values.checked(
            faults, _listed, changes.walled_address_list, at=("walledAddressList",)
        )
    if changes.walled_pool is not None:
        blank = not changes.walled_pool.strip()
        found["walled_pool"] = (
            None if blank else values.checked(faults, _listed, changes.walled_pool, at=("walledPool",))
        )
    if changes.walled_kbps is not None:
        if not 8 <= changes.walled_kbps <= 1_000_000:
            faults.add(ErrorCode.INVALID, "This must be from 8 to 1000000.", "walledKbps")
        found["walled_kbps"] = changes.walled_kbps
    return found


def _shown(faults: Faults, changes: Changes, by: Viewer) -> dict[str, str | None]:
    """How papers and pages look; of no use once a fault was found."""
    found = letterheads.checked(faults, changes.letterhead, by=by) if changes.letterhead else {}
    if changes.locale is not None:
        blank = not changes.locale.strip()
        found["locale"] = None if blank else values.checked(faults, locales.tag, changes.locale, at=("locale",))
    if (color := changes.page_color) is not None:
        blank = not color.strip()
        found["page_color"] = None if blank else values.checked(faults, page_colors.read, color, at=("pageColor",))
    return found


def _listed(raw: str) -> str:
    found = raw.strip()
    if not _LISTED.fullmatch(found):
        raise values.Unfit("Such a name has 1 to 63 of these characters: A–Z a–z 0–9 . _ -")
    return found


def _plain(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value.value if isinstance(value, enum.Enum) else value)
