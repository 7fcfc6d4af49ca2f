"""The packages that a source sells: which of them are here already, and which would be made."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import packages
from ispgraph.domain.errors import DomainError
from ispgraph.domain.imports import fields
from ispgraph.domain.imports.fields import Rules
from ispgraph.domain.imports.rows import Plan
from ispgraph.domain.models import BillingCycle, ConnectionType, CustomerImport, Package
from ispgraph.domain.packages import Terms
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.values import Unfit

MOST = 500
"""So many packages one source may sell."""


class PlanOutcome(enum.Enum):
    """What becomes of a package of the source."""

    HERE = "HERE"
    NEW = "NEW"
    CREATED = "CREATED"
    LEFT_OUT = "LEFT_OUT"
    FAULTY = "FAULTY"


# Lengths that are sold as these; others are so many days.
_CYCLES = {
    **dict.fromkeys((28, 29, 30, 31), BillingCycle.MONTHLY),
    **dict.fromkeys((89, 90, 91, 92), BillingCycle.QUARTERLY),
    **dict.fromkeys((365, 366), BillingCycle.YEARLY),
    7: BillingCycle.WEEKLY,
}


@dataclass(frozen=True, slots=True)
class _Read:
    terms: Terms | None
    problem: str | None


async def decide(
    session: AsyncSession, found: Sequence[Plan], rules: Rules, *, wanted: bool
) -> list[dict[str, object]]:
    """What becomes of each, as it is kept; those of a name that is here are here. `wanted`: others are to be made."""
    here = set(await session.scalars(select(func.lower(Package.name))))
    decided: list[dict[str, object]] = []
    for plan in found:
        name = plan.values.get("name", "").strip()
        row: dict[str, object] = {"number": plan.number, "name": fields.shown(name, 100) or "", "problem": None}
        if name.lower() in here:
            decided.append(row | {"outcome": PlanOutcome.HERE.value})
            continue
        read = await _read(session, plan, rules)
        if read.terms is None:
            decided.append(row | {"outcome": PlanOutcome.FAULTY.value, "problem": read.problem})
            continue
        here.add(name.lower())
        outcome = PlanOutcome.NEW if wanted else PlanOutcome.LEFT_OUT
        decided.append(row | {"outcome": outcome.value, "terms": _as_json(read.terms)})
    return decided


async def make(session: AsyncSession, job: CustomerImport, *, by: Viewer) -> None:
    """Make those that are to be, in the transaction at hand. Raises DomainError as `packages.create`."""
    made = []
    for plan in job.plans:
        if plan["outcome"] == PlanOutcome.NEW.value:
            given: Any = plan["terms"]
            package = await packages.create(session, _of_json(given), by=by)
            plan = {**plan, "outcome": PlanOutcome.CREATED.value, "package": str(package.id)}
        made.append(plan)
    job.plans = made


async def _read(session: AsyncSession, plan: Plan, rules: Rules) -> _Read:
    given = {name: value.strip() for name, value in plan.values.items() if value.strip()}
    try:
        price = fields.number(given.get("price", ""), decimal_comma=False)
        rates = [int(given.get(name, "")) for name in ("download_kbps", "upload_kbps")]
        days = int(given.get("validity_days", "30"))
        kind = ConnectionType[given.get("connection_type", rules.connection_type.name).upper()]
    except (Unfit, ValueError, KeyError):
        return _Read(None, "A package needs a price, both rates in kbit/s, and days, as numbers.")
    terms = _terms(given.get("name", ""), price, rates, days, kind)
    try:
        await packages.check(session, terms, rules.currency)
    except DomainError as error:
        return _Read(None, " ".join(f"{(each.field or ('',))[-1]}: {each.message}" for each in error.faults))
    return _Read(terms, None)


def _as_json(terms: Terms) -> dict[str, object]:
    return {
        "name": terms.name,
        "price": str(terms.price),
        "rates": [terms.download_kbps, terms.upload_kbps],
        "days": terms.validity_days,
        "type": terms.connection_types[0].name,
    }


def _of_json(given: Mapping[str, Any]) -> Terms:
    kind = ConnectionType[given["type"]]
    return _terms(given["name"], Decimal(given["price"]), given["rates"], given["days"], kind)


def _terms(name: str, price: Decimal, rates: Sequence[int], days: int, kind: ConnectionType) -> Terms:
    return Terms(
        name=name,
        description=None,
        connection_types=[kind],
        download_kbps=rates[0],
        upload_kbps=rates[1],
        price=price,
        billing_cycle=_CYCLES.get(days, BillingCycle.DAILY),
        validity_days=days,
        daily_rate=None,
        data_quota_bytes=None,
        time_quota_seconds=None,
        fup=None,
        active=True,
    )
