"""Which function carries out which kind of job; those that go over a router are in `lanes`."""

from collections.abc import Awaitable, Callable

from ispgraph.actors import (
    bulk,
    customer_exports,
    exports,
    gateway_payments,
    gateways,
    hosting,
    imports,
    packages,
    radius,
    runs,
    storage,
    vouchers,
)
from ispgraph.actors.run import Run
from ispgraph.domain import jobs

Action = Callable[[Run], Awaitable[None]]

ACTIONS: dict[str, Action] = {
    jobs.PROVISION: radius.provision,
    jobs.PACKAGE: packages.apply,
    jobs.EXPORT_SESSIONS: exports.sessions,
    jobs.EXPORT_REPORT: exports.report,
    jobs.EXPORT_CUSTOMERS: customer_exports.listed,
    jobs.BULK: bulk.carry_out,
    jobs.EXPORT_IMPORT: exports.imports,
    jobs.IMPORT_CHECK: imports.check,
    jobs.IMPORT_RUN: imports.make,
    jobs.IMPORT_UNDO: imports.undo,
    jobs.BILLING_RUN: runs.bill,
    jobs.GATEWAY_CHECK: gateway_payments.check,
    jobs.GATEWAY_REFUND: gateway_payments.give_back,
    jobs.VOUCHERS: vouchers.make,
    jobs.GATEWAY_TEST: gateways.test,
    jobs.HOSTING: hosting.apply,
    jobs.HOSTING_TEST: hosting.look,
    jobs.HOSTING_CHECK: hosting.look,
    jobs.HOSTING_STATS: hosting.count,
    jobs.STORAGE_SWEEP: storage.sweep,
}
