"""Importing customers from another system."""

import asyncio
from typing import Any

import strawberry

from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.imports import comparing, records
from ispgraph.domain.imports.layout import Layout
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import action, query
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.imports import (
    CustomerImport,
    CustomerImportInput,
    CustomerImportPayload,
    CustomerImportReportInput,
    CustomerImportRunInput,
)
from ispgraph.schema.jobs import JobPayload
from ispgraph.schema.pages import Connection


async def imports(
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[CustomerImport]:
    """Imports of customers, newest first; of a reseller's own tree for a reseller."""
    page: Connection[CustomerImport] = page_of(
        roots.CUSTOMER_IMPORTS, {}, first=first, after=after, last=last, before=before
    )
    return page


async def begin(info: Info, input: CustomerImportInput) -> CustomerImportPayload:
    """Upload a file of customers by a multipart request, or name what a router was read as, and have it checked:
    nothing is made yet. The job ends with a report, in `rows` of the import.

    Errors: REQUIRED, LIMIT_EXCEEDED and INVALID at input, file, and at fileId, where NOT_FOUND as well; NOT_FOUND and
    NOT_PERMITTED at what was said of all rows. A file that cannot be read makes the import FAILED, and
    `problem` says why.
    """
    headings = {item.column.value: item.heading for item in input.columns}
    faults = Faults("input", "columns")
    if len(headings) < len(input.columns):
        faults.add(ErrorCode.INVALID, "A column stands here twice.")
    faults.raise_if_any()
    wish = records.Wish(
        source=input.source,
        file_id=optional_id("fil", input.file_id, "input", "fileId"),
        label=input.label,
        layout=Layout(headings, input.encoding, input.delimiter),
        connection_type=input.connection_type,
        expires_at=input.expires_at,
        mobile=input.mobile,
        package_id=optional_id("pkg", input.package_id, "input", "packageId"),
        zone_id=optional_id("zon", input.zone_id, "input", "zoneId"),
        router_id=optional_id("rtr", input.router_id, "input", "routerId"),
        operator_id=optional_id("opr", input.operator_id, "input", "operatorId"),
        create_packages=input.create_packages,
        generate_passwords=input.generate_passwords,
        day_first=input.day_first,
        decimal_comma=input.decimal_comma,
    )
    file: Any = input.file
    upload = None if file is None else await asyncio.to_thread(file.read, records.LARGEST + 1)
    found: Any = await records.begin(
        info.context.session,
        wish,
        upload,
        network_key=info.context.settings.network_key,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return CustomerImportPayload(customer_import=found[0], job=found[1])


async def run(info: Info, input: CustomerImportRunInput) -> CustomerImportPayload:
    """Make the customers that the check found to be new, each with a service, the network password of the source, and
    its balance in the ledger: a credit in the wallet, a debt as an invoice that is due as one of today. Nobody is
    billed for the time until `expiresAt`, and nobody is written to.

    Errors: INVALID at expectedCount; INVALID_STATE at importId unless it is CHECKED; NOT_PERMITTED for credits without
    REFUND_PAYMENTS, debts without GENERATE_BILLS, packages without MANAGE_PACKAGES.
    """
    found: Any = await records.run(
        info.context.session,
        typed_id("imp", input.import_id, "input", "importId"),
        expected_count=input.expected_count,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return CustomerImportPayload(customer_import=found[0], job=found[1])


async def undo(info: Info, input: CustomerImportRunInput) -> CustomerImportPayload:
    """Take back the customers that an import made and nobody has touched since. Who came without any money is deleted;
    who had or owed something, or is on a router, is terminated with a balance of zero. Who was changed, or has
    invoices, payments, sessions or tickets since, is kept, and the row says why. Packages stay.

    Errors: INVALID at expectedCount; INVALID_STATE at importId unless it is DONE.
    """
    found: Any = await records.undo(
        info.context.session,
        typed_id("imp", input.import_id, "input", "importId"),
        expected_count=input.expected_count,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return CustomerImportPayload(customer_import=found[0], job=found[1])


async def report(info: Info, input: CustomerImportReportInput) -> JobPayload:
    """Make a file of what became of each row, with a line for each fault. The job tells where the file is."""
    job: Any = await comparing.promise(
        info.context.session,
        typed_id("imp", input.import_id, "input", "importId"),
        input.format,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return JobPayload(job=job)


@strawberry.type
class ImportQueries:
    customer_imports = query(imports, Permission.CREATE_CUSTOMERS)


@strawberry.type
class ImportMutations:
    customer_import_begin = action(begin, Permission.CREATE_CUSTOMERS)
    customer_import_run = action(run, Permission.CREATE_CUSTOMERS)
    customer_import_undo = action(undo, Permission.DELETE_CUSTOMERS)
    customer_import_report = action(report, Permission.EXPORT_DATA)
