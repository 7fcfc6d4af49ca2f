"""What an import comes to: how its rows ended, and the source against what is here now, in all and row by row."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    String,
    and_,
    any_,
    case,
    func,
    literal,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import audit, customers, jobs
from ispgraph.domain.errors import not_found
from ispgraph.domain.exports import Cell, ExportFormat, neutral, promised
from ispgraph.domain.idempotency import Once
from ispgraph.domain.imports.layout import SHEETS
from ispgraph.domain.imports.records import visible
from ispgraph.domain.lists import Filter, Key, Order
from ispgraph.domain.models import (
    Customer,
    CustomerBalance,
    CustomerImport,
    CustomerStatus,
    ImportRow,
    Job,
)
from ispgraph.domain.permissions import Viewer, in_scope

EXPORT = "customerImportReport"
PAGE = 2_000
ACTIVE = CustomerStatus.ACTIVE
COLUMNS = ("Row", "Outcome", "Key", "Name", "Username", "Column", "Code", "Message")

# Lists are read downwards, and rows are shown as they stand in the file.
ROWS = Order("import-rows", (Key(-ImportRow.number, Integer()),))


def rows_of(job: Any, *these: ColumnElement[bool]) -> ColumnElement[int]:
    """How many rows an import has, or how many of them are such."""
    asked = select(func.count()).select_from(ImportRow).where(ImportRow.import_id == job.id, *these)
    return asked.correlate_except(ImportRow).scalar_subquery()


# -- the source against what is here


class ImportFigure(enum.Enum):
    """What an import is held against its source by."""

    CUSTOMERS = "CUSTOMERS"
    BALANCE = "BALANCE"
    ACTIVE = "ACTIVE"


def customers_there(job: Any) -> ColumnElement[int]:
    """How many customers were read. A reader that knows its columns may complain of what is none, such as something
    bought by nobody, of which there is a row without a status."""
    return rows_of(job, or_(ImportRow.status.is_not(None), job.source.in_(SHEETS)))


def active_there(job: Any) -> ColumnElement[int]:
    """How many were read who are active and have time left."""
    return rows_of(job, ImportRow.status == ACTIVE)


def lapsed_there(job: Any) -> ColumnElement[int]:
    """How many were read whom the source calls active, and whose time is over."""
    return rows_of(job, ImportRow.details["lapsed"].astext.is_not(None))


def differing(job: Any, by: Viewer) -> ColumnElement[Any]:
    """Which of the figures are not the same as the source tells them, as they were read, and here."""
    here = here_of(job, by), balance_of_all(job, by), here_of(job, by, Customer.status == ACTIVE)
    read = customers_there(job), balance_there(job), active_there(job)
    told = job.told_customers, job.told_balance_minor, job.told_active - lapsed_there(job)
    found = [
        case((or_(one != other, one != third), literal(figure.value, String())))
        for figure, one, other, third in zip(ImportFigure, read, here, told, strict=True)
    ]
    return func.array_remove(array(found), None, type_=ARRAY(String()))


def equal(job: Any, by: Viewer) -> ColumnElement[bool]:
    """Whether neither a row nor a figure differs."""
    return and_(rows_of(job, differs(ImportRow, by)) == 0, func.cardinality(differing(job, by)) == 0)


def here_of(job: Any, by: Viewer, *these: ColumnElement[bool]) -> ColumnElement[int]:
    """How many of the customers are here in the viewer's sight, or how many of them are such."""
    these = (*these, in_scope(by, Customer.operator_id))
    asked = select(func.count()).select_from(ImportRow)
    asked = asked.join(Customer, and_(Customer.tenant_id == ImportRow.tenant_id, Customer.id == ImportRow.customer_id))
    return asked.where(ImportRow.import_id == job.id, *these).correlate_except(ImportRow, Customer).scalar_subquery()


def balance_there(job: Any) -> ColumnElement[int]:
    """The sum of the balances that the source names, in minor units."""
    total = func.coalesce(func.sum(ImportRow.balance_minor), 0, type_=BigInteger())
    return select(total).where(ImportRow.import_id == job.id).correlate_except(ImportRow).scalar_subquery()


def balance_of_all(job: Any, by: Viewer) -> ColumnElement[int]:
    """The sum of the balances that the customers have here now, as far as the viewer sees them."""
    minor = CustomerBalance.wallet_minor - CustomerBalance.receivable_minor
    same = and_(CustomerBalance.tenant_id == ImportRow.tenant_id, CustomerBalance.customer_id == ImportRow.customer_id)
    asked = select(func.coalesce(func.sum(minor), 0, type_=BigInteger())).select_from(ImportRow)
    asked = asked.join(CustomerBalance, same).where(ImportRow.import_id == job.id)
    asked = asked.where(customers.belonging(by, CustomerBalance.customer_id))
    return asked.correlate_except(ImportRow, CustomerBalance).scalar_subquery()


def balance_here(row: Any, by: Viewer) -> ColumnElement[int]:
    """What the customer of a row has or owes now, in minor units; NULL where there is none in the viewer's sight."""
    asked = select(CustomerBalance.wallet_minor - CustomerBalance.receivable_minor)
    asked = asked.where(CustomerBalance.tenant_id == row.tenant_id, CustomerBalance.customer_id == row.customer_id)
    asked = asked.where(customers.belonging(by, CustomerBalance.customer_id))
    return asked.correlate_except(CustomerBalance).scalar_subquery()


def status_here(row: Any, by: Viewer) -> ColumnElement[Any]:
    """The status of the customer of a row now; NULL where there is none in the viewer's sight."""
    # The version is in no index: without it a planner that has no statistics yet would take the index of statuses, and
    # go through all customers for each.
    asked = select(Customer.status).where(Customer.id == row.customer_id, Customer.version > 0)
    asked = asked.where(in_scope(by, Customer.operator_id))
    return asked.correlate_except(Customer).scalar_subquery()


def differs(row: Any, by: Viewer) -> ColumnElement[bool]:
    """Whether the customer of a row is not here in the viewer's sight, or with another balance or status."""
    there, here = type_coerce(row.status, String()), type_coerce(status_here(row, by), String())
    balance = balance_here(row, by)
    return or_(
        row.customer_id.is_(None),
        row.balance_minor.is_distinct_from(balance),
        there.is_distinct_from(here),
    )


FILTERS = {
    "outcome": Filter(ARRAY(String()), lambda value, by: type_coerce(ImportRow.outcome, String()) == any_(value)),
    "differs": Filter(Boolean(), lambda value, by: differs(ImportRow, by) == value),
}

# -- the report as a file


async def promise(
    session: AsyncSession, import_id: UUID, format: ExportFormat, *, idempotency_key: str | None, by: Viewer
) -> Job:
    """The job that makes a file of the report. Raises DomainError NOT_FOUND."""
    given = {"import": import_id, "format": format.value}

    async def begin() -> Job:
        if await session.scalar(select(CustomerImport.id).where(CustomerImport.id == import_id, visible(by))) is None:
            raise not_found("import", "input", "importId")
        arguments: dict[str, object] = {"import": str(import_id), "format": format.value}
        kind = jobs.EXPORT_IMPORT
        job = await jobs.enqueue(session, kind, tenant_id=by.tenant_id, by=by.operator_id, arguments=arguments)
        details = {"job": str(job.id), "format": format.value}
        audit.record(session, by=by, action="customer_import.report", subject_id=import_id, details=details)
        return job

    return await promised(session, Once(by, EXPORT, idempotency_key, given), begin)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The report of an import as a file."""

    import_id: UUID
    format: ExportFormat
    label: str
    lines: int


async def wanted_of(session: AsyncSession, job: Job) -> Wanted:
    """What a job was promised for. A row with several faults has a line for each."""
    key = UUID(str(job.arguments["import"]))
    lines = func.sum(func.greatest(1, func.jsonb_array_length(ImportRow.faults)))
    count = await session.scalar(select(lines).where(ImportRow.import_id == key))
    row = await session.get_one(CustomerImport, key)
    return Wanted(key, ExportFormat(str(job.arguments["format"])), row.label, int(count or 0))


async def page(session: AsyncSession, wanted: Wanted, after: int) -> Sequence[ImportRow]:
    """The next rows after a number; none at the end."""
    asked = select(ImportRow).where(ImportRow.import_id == wanted.import_id, ImportRow.number > after)
    return (await session.scalars(asked.order_by(ImportRow.number).limit(PAGE))).all()


def lines(row: ImportRow) -> Iterator[Sequence[Cell]]:
    """The lines of a row."""
    told = [row.number, row.outcome.value, *(neutral(each) for each in (row.source_key, row.name, row.username))]
    for fault in row.faults or [{}]:
        yield [*told, fault.get("column"), fault.get("code"), neutral(fault.get("message"))]
