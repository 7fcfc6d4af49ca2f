"""How many statements a document costs: the same for two rows as for twelve."""

import pytest

from ispgraph.db import Database
from tests.api import Api
from tests.factories import House
from tests.statements import counted
from tests.wizard import Wizard

DRAFTS = """{ customerDrafts(first: 50) { totalCount nodes { id status package { name price { amount } } zone { name }
  createdBy { name parent { name } } lastModifiedBy { email } log { step by } connection { type router { name } }
  customFields { value } } } }"""
CATALOGUE = """{ packages { id name customerCount } zones { name customerCount parent { name } }
  routers { name pendingJobs } operators { name walletBalance { amount } parent { name } } }"""
CUSTOMERS = """query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Customer { name balance { amount } wallet { amount }
  lastPaymentAt zone { name } operator { name } services { username macAddresses package { name } } } } }"""


@pytest.mark.parametrize(("document", "count"), [(DRAFTS, 2), (CATALOGUE, 4)])
async def test_statements_do_not_grow_with_rows(
    api: Api, house: House, database: Database, document: str, count: int
) -> None:
    numbers = []
    for batch in (range(2), range(2, 12)):
        for number in batch:
            package = await house.package(f"Package {number}")
            await house.zone(f"Zone {number}", code=f"Z{number}")
            await house.router(None)
            await (await Wizard.begin(api, house.admin)).fill(package, number=number)
        await api.data(document, house.admin)
        with counted(database) as seen:
            await api.data(document, house.admin)
        numbers.append(len(seen))
    assert numbers == [count, count], seen


# The two queries that front ends send most.
LIST = """query ($search: String) { customers(where: {status: [ACTIVE]}, search: $search, first: 50) { nodes {
  id name status service { package { name } } balance { amount }
  invoices(first: 3) { nodes { number total { amount } status } }
  sessions(first: 5) { nodes { startedAt downloadBytes uploadBytes } } usage { totalBytes } } } }"""
DETAIL = """query ($id: ID!) { customer(by: {id: $id}) {
  id name status balance { amount } service { package { name } }
  invoices(first: 12) { nodes { number status total { amount } payments { number method amount { amount } } } }
  sessions(first: 30) { nodes { startedAt stoppedAt downloadBytes uploadBytes terminateCause } }
  usage(granularity: DAY) { points { start downloadBytes uploadBytes } } } }"""
WHOLE = """query ($id: ID!) { customer(by: {id: $id}) { ... on Node { id } __typename
  billingProfile { billingCycle billingDay graceDays contactEmail nextInvoiceOn nextSuspensionOn }
  services { suspendOn suspendRule { recurringDayOfMonth }
    network { radius { attribute value } } router { pendingJobs } macAddresses package { customerCount }
    packageChanges { totalCount nodes { toPackage { name } requestedBy { name }
      invoice { number credits { number } } } } }
  invoices { totalCount pageInfo { endCursor hasNextPage } edges { cursor node { lines { amount { amount } }
    payments { allocations { invoice { number } } collectedBy { parent { name } } } } } }
  ledger(last: 3) { nodes { balance { amount } invoice { number } payment { number } } pageInfo { startCursor } }
  jobs { nodes { kind status ... on NetworkJob { steps { outcome } customer { name } } } }
  customFields { field { key } value } zone { parent { name } customerCount }
  operator { walletBalance { amount } } } }"""


async def test_one_statement_for_what_is_looked_at_most(api: Api, house: House, database: Database) -> None:
    package = await house.package()
    ids = []
    for number in range(6):
        made = await (await (await Wizard.begin(api, house.admin)).fill(package, number=number)).confirm()
        ids.append(made["customer"]["id"])
    for document, variables in (
        (LIST, {"search": None}),
        (LIST, {"search": "example"}),
        (DETAIL, {"id": ids[0]}),
        (WHOLE, {"id": ids[0]}),
        (CUSTOMERS, {"ids": ids[:2]}),
        (CUSTOMERS, {"ids": ids}),
    ):
        with counted(database) as seen:
            await api.data(document, house.admin, **variables)
        assert len(seen) == 1, seen


ACTIONS = """query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Customer { allowedActions
  services { allowedActions } } } }"""


async def test_what_may_be_done_is_asked_for_all_at_once(api: Api, house: House, database: Database) -> None:
    package = await house.package()
    keys = []
    for number in range(7):
        made = await (await (await Wizard.begin(api, house.admin)).fill(package, number=number)).confirm()
        keys.append(made["customer"]["id"])
    numbers = []
    for some in (keys[:1], keys):
        with counted(database) as seen:
            await api.data(ACTIONS, house.admin, ids=some)
        numbers.append(len(seen))
    # The customers, their rows and those of their services; what is known of them by customer and by service, and what
    # holds for the house.
    assert numbers == [10, 10], seen
