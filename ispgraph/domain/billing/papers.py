"""What is printed of money: invoices and receipts, as text that is ready to be set. Nothing here knows of pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import phonenumbers

from ispgraph.domain import locales
from ispgraph.domain.models import Customer, Tenant

# Of %b the surroundings of the process decide.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Sender:
    """The letterhead. The logo is a PNG or JPEG."""

    name: str
    lines: Sequence[str]
    footer: Sequence[str]
    logo: bytes | None


@dataclass(frozen=True, slots=True)
class Item:
    """One line of an invoice, its amount without tax."""

    description: str
    explanation: str | None
    quantity: str
    unit_price: str
    tax_rate: str
    amount: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A short table; the last column holds amounts."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Paper:
    """A document on money. Pairs are a label and what it says."""

    title: str
    number: str
    dated: datetime
    locale: str
    sender: Sender
    recipient: Sequence[str]
    facts: Sequence[tuple[str, str]]
    headline: tuple[str, str]
    """What matters most."""
    items: Sequence[Item] = ()
    sums: Sequence[tuple[str, str]] = ()
    listing: Listing | None = None
    notes: Sequence[str] = ()
    stamp: str | None = None
    void: bool = False


@dataclass(frozen=True, slots=True)
class Writing:
    """How a tenant writes amounts and days."""

    currency: str
    locale: str
    zone: ZoneInfo

    def amount(self, minor: int) -> str:
        """Without the currency, which stands nearby."""
        return locales.amount(minor, self.currency, self.locale)

    def money(self, minor: int) -> str:
        """With the currency."""
        return locales.with_currency(minor, self.currency, self.locale)

    def moment(self, at: datetime) -> str:
        """A day and a time on the wall, with its offset from UTC."""
        local = at.astimezone(self.zone)
        offset = f"{local:%z}"
        return f"{day(local.date())}, {local:%H:%M} (UTC{offset[:3]}:{offset[3:5]})"

    def stretch(self, start: datetime, end: datetime) -> str:
        """A stretch of time that ends before `end`: in days when it begins and ends at midnight, else with times."""
        first, last = start.astimezone(self.zone), end.astimezone(self.zone)
        if first.time() == last.time() == first.time().min:
            return f"{day(first.date())} – {day(last.date() - timedelta(days=1))}"
        return f"{day(first.date())} {first:%H:%M} – {day(last.date())} {last:%H:%M}"


def writing(tenant: Tenant) -> Writing:
    """How this tenant does."""
    return Writing(tenant.currency, locales.of(tenant.locale, tenant.country), ZoneInfo(tenant.time_zone))


def day(on: date) -> str:
    """A day that nobody reads as another: 1 Mar 2026."""
    return f"{on.day} {_MONTHS[on.month - 1]} {on.year}"


def sender(tenant: Tenant, logo: bytes | None) -> Sender:
    """The letterhead of a tenant."""
    lines = (tenant.address or "").splitlines()
    if tenant.phone:
        parsed = phonenumbers.parse(tenant.phone)
        lines.append(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL))
    if tenant.email:
        lines.append(tenant.email)
    if tenant.tax_number:
        lines.append(f"Tax number {tenant.tax_number}")
    return Sender(tenant.legal_name or tenant.name, lines, (tenant.footer or "").splitlines(), logo)


def recipient(customer: Customer) -> list[str]:
    """Who it is for, in lines."""
    place = " ".join(filter(None, (customer.postal_code, customer.city)))
    lines = (customer.company, customer.name, customer.street, place, customer.state, customer.country)
    return [line for line in lines if line]
