"""Priced promises: what something would cost now, and a token that holds as long as nothing it rests on has moved.

Nothing is kept of a quote. Its token is a signature of everything that it was computed from: whoever brings it has
that computed anew, and the token is right when all of it is the same.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ispgraph import clock
from ispgraph.domain.billing import invoices
from ispgraph.domain.billing.invoices import Line
from ispgraph.domain.billing.ledger import Balance
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import Package, Service, Tenant
from ispgraph.domain.radius_rows import RadiusRow

LASTS = timedelta(minutes=15)
_PURPOSE = b"ispgraph quotes 1"
Facts = Mapping[str, object]
"""What a quote was computed from, with the name of the mutation it is for, and the tenant."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What a mutation would do now. The lines are those of the invoice, or of the credit note."""

    token: str
    expires_at: datetime
    lines: Sequence[Line]
    next_invoice_on: date | None
    effective_at: datetime
    radius_before: Sequence[RadiusRow]
    radius_after: Sequence[RadiusRow]
    warnings: Sequence[str]

    @property
    def credit_minor(self) -> int:
        """What is given back, without tax; not below zero."""
        return -sum(min(0, line.amount_minor) for line in self.lines)

    @property
    def charge_minor(self) -> int:
        """What is asked for, without tax."""
        return sum(max(0, line.amount_minor) for line in self.lines)

    @property
    def amounts(self) -> invoices.Amounts:
        """The sums of the lines: below zero when more is given back than is asked for."""
        return invoices.amounts(self.lines)


def facts(
    operation: str,
    *,
    tenant: Tenant,
    service: Service,
    package: Package,
    sold: Sold,
    held: Balance,
    today: date,
    **more: object,
) -> Facts:
    """What every quote of time rests on, beside what is particular to one of them."""
    terms = {column.name: str(getattr(package, column.name)) for column in Package.__table__.columns}
    return {
        "operation": operation,
        "tenant": tenant.id,
        "currency": tenant.currency,
        "service": [service.id, service.desired_version, service.package_id, service.status.value],
        "periods": [service.expires_at, service.billing_anchor],
        "package": terms,
        "price": [sold.price_minor, sold.tax_rate, sold.tax_included],
        "wallet": held.wallet_minor,
        "today": today,
        **more,
    }


def token(secret: bytes, facts: Facts, until: datetime) -> str:
    """What `require` believes up to an instant, in whole seconds. `secret` is the token key."""
    ends = int(until.timestamp())
    return f"{ends}.{_signature(secret, facts, ends)}"


def require(secrets: Sequence[bytes], given: str | None, facts: Facts) -> None:
    """Hold who brings a token, signed with any of the secrets, to what it was made for.

    Without one nothing was promised. Raises DomainError QUOTE_STALE at input, quoteToken.
    """
    if given is None:
        return
    ends, _, signature = given.partition(".")
    known = ends.isascii() and ends.isdigit() and len(ends) < 13 and signature.isascii()
    if not known or not any(hmac.compare_digest(_signature(secret, facts, int(ends)), signature) for secret in secrets):
        message = "What this quote was computed from has changed since: ask for another one."
        raise fail(ErrorCode.QUOTE_STALE, message, "input", "quoteToken")
    if int(ends) <= clock.now().timestamp():
        message = f"A quote holds for {LASTS.seconds // 60} minutes: ask for another one."
        raise fail(ErrorCode.QUOTE_STALE, message, "input", "quoteToken")


def _signature(secret: bytes, facts: Facts, ends: int) -> str:
    # A key of its own: what is signed here can be nothing else, whatever else the secret is used for.
    key = hmac.digest(secret, _PURPOSE, hashlib.sha256)
    told = json.dumps({"facts": facts, "ends": ends}, sort_keys=True, default=str)
    return hmac.digest(key, told.encode(), hashlib.sha256).hex()
