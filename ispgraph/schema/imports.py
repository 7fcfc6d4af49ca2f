"""Importing customers from another system."""

from datetime import datetime
from typing import Annotated, Any

import strawberry
from sqlalchemy import Select, Text, Uuid, and_, cast, column, func, select

from ispgraph.domain import models, visibility
from ispgraph.domain.errors import ErrorCode
from ispgraph.domain.exports import ExportFormat
from ispgraph.domain.imports import comparing, records
from ispgraph.domain.imports.layout import ImportColumn, ImportEncoding
from ispgraph.domain.imports.plans import PlanOutcome
from ispgraph.domain.jobs import IMPORTS
from ispgraph.domain.models import ImportOutcome
from ispgraph.schema.base import Money, Node, Payload, node, row
from ispgraph.schema.compiler.fields import amount, expression, one, pages, part, rows
from ispgraph.schema.jobs import Job, of_kind
from ispgraph.schema.operators import Operator
from ispgraph.schema.pages import Connection
from ispgraph.schema.scalars import PhoneNumber, Upload

CustomerLink = Annotated["Customer", strawberry.lazy("ispgraph.schema.customers")]  # type: ignore[name-defined]  # noqa: F821
_O = ImportOutcome
_ROW = models.ImportRow

strawberry.enum(
    ImportColumn,
    description="What a row may say of a customer, and of the service. EXTERNAL_ID: the source's own id of the "
    "customer. ZONE, PACKAGE: their names. CONNECTION_TYPE: PPPOE, HOTSPOT, STATIC_IP, OTHER. STATUS: ACTIVE, "
    "SUSPENDED, EXPIRED, TERMINATED, PENDING; ACTIVE where it is left empty. BALANCE: above zero credit, below zero "
    "debt. EXPIRES_AT, CREATED_AT: a day or an instant. NOTE: of a service of the type OTHER its configuration.",
)
strawberry.enum(comparing.ImportFigure)
strawberry.enum(PlanOutcome, name="ImportPackageOutcome")
strawberry.enum(ImportEncoding, description="How the letters of a text file are written.")


def _listed(found: Any, *names: str) -> Select[Any]:
    """A column of JSON objects as rows."""
    listed = func.jsonb_to_recordset(found).table_valued(*(column(name, Text()) for name in names))
    typed = listed.render_derived(with_types=True)
    return select(*(typed.c[name] for name in names))


@strawberry.type(description="One thing that is wrong with a row, or why it was left as it is.")
class ImportFault:
    code: ErrorCode
    column: str | None = strawberry.field(description="In which column, in lower case; null for the row as a whole.")
    message: str


@strawberry.type(description="A package that the source sells.")
class ImportPackage:
    name: str
    outcome: PlanOutcome = strawberry.field(
        description="HERE: there is one of this name. NEW: it would be made. CREATED: it was. LEFT_OUT: it was not "
        "asked to be made. FAULTY: it cannot be."
    )
    problem: str | None = strawberry.field(description="Why it is FAULTY.")


@row(models.ImportRow, description="A row of the file, and what became of it. Passwords are never shown.")
class CustomerImportRow:
    number: int = strawberry.field(description="Where it stands in the file; the headings of a sheet are row 1.")
    outcome: ImportOutcome
    source_key: str | None = strawberry.field(
        description="Who it is in the source: its id there, else the username, else the account number."
    )
    name: str | None
    username: str | None
    email: str | None
    mobile: str | None
    account_number: str | None
    package_name: str | None
    status: models.CustomerStatus | None = strawberry.field(
        description="As the source has it; EXPIRED for an active one whose time is over."
    )
    balance: Money | None = amount("balance_minor", description="As the source has it: above zero credit, below debt.")
    faults: list[ImportFault] = rows(
        lambda row, asked: _listed(row.faults, "code", "column", "message"), description="Each of them, by column."
    )
    customer: CustomerLink | None = one(
        lambda row, customer, asked: and_(
            customer.id == row.customer_id, visibility.condition(asked.viewer, models.Customer, customer)
        ),
        description="Who was made of it, or had been before.",
    )
    status_here: models.CustomerStatus | None = expression(
        lambda row, asked: comparing.status_here(row, asked.viewer), description="Of the customer now."
    )
    balance_here: Money | None = amount(
        lambda row, asked: comparing.balance_here(row, asked.viewer), description="Of the customer now."
    )
    differs: bool = expression(
        lambda row, asked: comparing.differs(row, asked.viewer),
        description="Whether the customer is not here, or has another balance or status than in the source.",
    )


@strawberry.type(
    description="The source against what is here now, by the customers that were made of its rows or had been before. "
    "Rows with faults count for the source, as far as they can be read."
)
class ImportReconciliation:
    customers_told: int | None = strawberry.field(
        description="As the source's own tables count them, apart from what was read as rows; null of a sheet, as the "
        "other two."
    )
    customers_source: int = strawberry.field(description="As they were read.")
    customers_here: int
    balance_told: Money | None = strawberry.field(description="The sum of the balances, by the source's tables.")
    balance_source: Money = strawberry.field(description="The sum of the balances.")
    balance_here: Money = strawberry.field(description="The sum of what they have, less what they owe.")
    active_told: int | None = strawberry.field(
        description="Whom the source lets on line, as far as its tables say, whether or not the time is over."
    )
    active_source: int = strawberry.field(description="Who is ACTIVE and has time left.")
    active_here: int
    lapsed_source: int = strawberry.field(
        description="Whom the source calls active, and whose time is over: EXPIRED here. They and `activeSource` are "
        "`activeTold`."
    )
    differing: list[comparing.ImportFigure] = strawberry.field(
        description="Which figures are not the same as told, as read and here. Empty when all are."
    )
    equal: bool = strawberry.field(description="No figure and no row differs: see `rows` with `differs`.")


def _reconciliation() -> Any:
    here = models.Customer.status == comparing.ACTIVE
    found = {
        "customers_told": expression(lambda job, asked: job.told_customers),
        "customers_source": expression(lambda job, asked: comparing.customers_there(job)),
        "customers_here": expression(lambda job, asked: comparing.here_of(job, asked.viewer)),
        "balance_told": amount("told_balance_minor"),
        "balance_source": amount(lambda job, asked: comparing.balance_there(job)),
        "balance_here": amount(lambda job, asked: comparing.balance_of_all(job, asked.viewer)),
        "active_told": expression(lambda job, asked: job.told_active),
        "active_source": expression(lambda job, asked: comparing.active_there(job)),
        "active_here": expression(lambda job, asked: comparing.here_of(job, asked.viewer, here)),
        "lapsed_source": expression(lambda job, asked: comparing.lapsed_there(job)),
        "differing": expression(lambda job, asked: comparing.differing(job, asked.viewer)),
        "equal": expression(lambda job, asked: comparing.equal(job, asked.viewer)),
    }
    return part(members={name: each.metadata["source"] for name, each in found.items()})


def _count(outcome: ImportOutcome, description: str) -> Any:
    return expression(lambda job, asked: comparing.rows_of(job, _ROW.outcome == outcome), description=description)


@node(
    "imp",
    models.CustomerImport,
    description="One file of customers: read and checked first, run by whoever has seen the report, and undone.",
)
class CustomerImport(Node):
    source: models.ImportSource
    label: str = strawberry.field(
        description="Which system it came from. A customer of it is taken over once, whichever file names it."
    )
    status: models.ImportStatus
    problem: str | None = strawberry.field(description="Why it is FAILED: the file as a whole could not be read.")
    read_as: str | None = strawberry.field(description="How the file was read, such as UTF_8, semicolons.")
    created_at: datetime
    created_by: Operator = one("created_by_id")
    operator: Operator = one("operator_id", description="Whose customers they become.")
    checked_at: datetime | None
    run_at: datetime | None
    undone_at: datetime | None
    row_count: int = expression(lambda job, asked: comparing.rows_of(job))
    new_count: int = _count(_O.NEW, "Rows of which customers would be made: what `customerImportRun` expects.")
    unchanged_count: int = _count(_O.UNCHANGED, "Rows that were taken over before, by an import of the same label.")
    conflict_count: int = _count(_O.CONFLICT, "Rows with something that another customer has.")
    faulty_count: int = _count(_O.FAULTY, "Rows with faults.")
    created_count: int = _count(_O.CREATED, "Customers that were made: what `customerImportUndo` expects.")
    removed_count: int = _count(_O.REMOVED, "Customers that were deleted when it was undone.")
    terminated_count: int = _count(_O.TERMINATED, "Customers that had money, and were terminated when it was undone.")
    kept_count: int = _count(_O.KEPT, "Customers that were left alone then, for what has happened since.")
    packages: list[ImportPackage] = rows(
        lambda job, asked: _listed(job.plans, "name", "outcome", "problem"),
        description="What the source sells, where it says so.",
    )
    rows: Connection[CustomerImportRow] = pages(
        lambda job, asked: _ROW.import_id == job.id,
        comparing.ROWS,
        filters=comparing.FILTERS,
        arguments={"outcome": list[ImportOutcome] | None, "differs": bool | None},
        description="In the order of the file: those that came to one of these outcomes; those that differ from what "
        "is here, or do not.",
    )
    reconciliation: ImportReconciliation = _reconciliation()


@node("job", models.Job, when=lambda job: job.kind.in_(IMPORTS), description="A job of an import of customers.")
class ImportJob(Job):
    is_type_of = of_kind(lambda kind: kind in IMPORTS)
    customer_import: CustomerImport | None = one(
        lambda job, found, asked: and_(
            found.id == cast(job.arguments["import"].astext, Uuid),
            visibility.condition(asked.viewer, models.CustomerImport, found),
        )
    )


@strawberry.input(description="Which heading of a sheet stands for which of our columns.")
class ImportColumnInput:
    column: ImportColumn
    heading: str = strawberry.field(description="As in the file; case, blanks and punctuation do not matter.")


@strawberry.input
class CustomerImportInput:
    file: Upload | None = strawberry.field(
        default=None,
        description=f"Of all sources but ROUTER, by a multipart request; a dump may be packed with gzip. At "
        f"most {records.LARGEST // 1024 // 1024} MB and {records.MOST_ROWS} rows. It is kept sealed "
        "until it was read, and then deleted.",
    )
    file_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="Of ROUTER, in place of a file: `fileId` of the job that `routerReadUsers` promised, which has "
        "read the router within the last 24 hours. Needs MANAGE_ROUTERS.",
    )
    source: models.ImportSource
    label: str = strawberry.field(description="Which system it comes from, always the same: at most 60 characters.")
    columns: list[ImportColumnInput] = strawberry.field(
        default_factory=list,
        description="Of CSV and XLSX. Headings that are spelt as our columns, such as external_id, need not be named.",
    )
    encoding: ImportEncoding | None = strawberry.field(
        default=None, description="Of CSV. Left out: what the file says; else UTF_8 if it is, else CP1252."
    )
    delimiter: str | None = strawberry.field(
        default=None, description="Of CSV. Left out: comma, semicolon, tab or bar, whichever makes the most headings."
    )
    connection_type: models.ConnectionType = strawberry.field(
        default=models.ConnectionType.PPPOE, description="Of rows without one."
    )
    expires_at: datetime | None = strawberry.field(
        default=None,
        description="Until when rows are paid for that do not say. From then on they are billed as any other service.",
    )
    mobile: PhoneNumber | None = strawberry.field(
        default=None, description="Of rows without one, such as that of the office."
    )
    package_id: strawberry.ID | None = strawberry.field(default=None, description="Of rows without a package.")
    zone_id: strawberry.ID | None = strawberry.field(default=None, description="Of rows without a zone.")
    router_id: strawberry.ID | None = strawberry.field(
        default=None, description="On which they are. Left out: on whichever they dial in."
    )
    operator_id: strawberry.ID | None = strawberry.field(
        default=None, description="Whose customers they become. Another than oneself needs CHANGE_OPERATOR."
    )
    create_packages: bool = strawberry.field(
        default=False,
        description="Make the packages that the source sells and are not here. Needs MANAGE_PACKAGES. So many days are "
        "a week (7), a month (28–31), a quarter (89–92), a year (365, 366), else as many days.",
    )
    generate_passwords: bool = strawberry.field(
        default=False, description="Make network passwords for rows without one, instead of refusing them."
    )
    day_first: bool | None = strawberry.field(
        default=None,
        description="True: 01/02/2026 is the first of February; false: the second of January. Left out: only "
        "2026-02-01 is a day. An expiry that is a day alone lasts to its end, in the zone of the tenant.",
    )
    decimal_comma: bool = strawberry.field(default=False, description="Whether 1.234,50 is written for 1234.50.")
    idempotency_key: str | None = None


@strawberry.input
class CustomerImportRunInput:
    import_id: strawberry.ID
    expected_count: int = strawberry.field(
        description="`newCount` of the report, or `createdCount` to undo it: INVALID when it is another by now."
    )
    idempotency_key: str | None = None


@strawberry.input
class CustomerImportReportInput:
    import_id: strawberry.ID
    format: ExportFormat = ExportFormat.CSV
    idempotency_key: str | None = None


@strawberry.type
class CustomerImportPayload(Payload):
    customer_import: CustomerImport | None = None
    job: Job | None = strawberry.field(default=None, description="Tells how far it is.")
