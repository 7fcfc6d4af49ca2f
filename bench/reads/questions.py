"""The two queries in the words of each server, and what they are asked about."""

import json
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from bench.fill import DAYS, ZONE
from bench.names import COMMON, SELECTIVE
from ispgraph import ids

LIST = """query List($search: String, $after: String) {
  customers(where: {status: [ACTIVE]}, search: $search, first: 50, after: $after) {
    nodes {
      id name status service { package { name } } balance { amount }
      invoices(first: 3) { nodes { number total { amount } status } }
      sessions(first: 5) { nodes { startedAt downloadBytes uploadBytes } }
      usage { totalBytes }
    }
  }
}"""

DETAIL = """query Detail($id: ID!, $from: DateTime!, $to: DateTime!) {
  customer(by: {id: $id}) {
    id name status balance { amount } service { package { name } }
    invoices(first: 12) { nodes { number status total { amount } payments { number method amount { amount } } } }
    sessions(first: 30) { nodes { startedAt stoppedAt downloadBytes uploadBytes terminateCause } }
    usage(from: $from, to: $to, granularity: DAY) { points { start downloadBytes uploadBytes } }
  }
}"""

POSTGRAPHILE_LIST = """query List($search: String) {
  searchCustomersList(term: $search, wanted: "ACTIVE", first: 50) {
    id name status
    servicesByTenantIdAndCustomerIdList(condition: {isPrimary: true}, first: 1) {
      packageByTenantIdAndPackageId { name }
    }
    balanceMinor
    invoicesByTenantIdAndCustomerIdList(orderBy: ID_DESC, first: 3) { number totalMinor status }
    sessionsByTenantIdAndCustomerIdList(orderBy: [STARTED_AT_DESC, ID_DESC], first: 5) {
      startedAt outputOctets inputOctets
    }
    monthBytes
  }
}"""

POSTGRAPHILE_DETAIL = """query Detail($id: UUID!) {
  customerById(id: $id) {
    id name status
    servicesByTenantIdAndCustomerIdList(condition: {isPrimary: true}, first: 1) {
      packageByTenantIdAndPackageId { name }
    }
    balanceMinor
    invoicesByTenantIdAndCustomerIdList(orderBy: ID_DESC, first: 12) {
      number totalMinor status
      allocationsByTenantIdAndInvoiceIdList { paymentByTenantIdAndPaymentId { number method amountMinor } }
    }
    sessionsByTenantIdAndCustomerIdList(orderBy: [STARTED_AT_DESC, ID_DESC], first: 30) {
      startedAt stoppedAt outputOctets inputOctets terminateCause
    }
    usageDaysByTenantIdAndCustomerIdList(orderBy: DAY_ASC) { day outputOctets inputOctets }
  }
}"""

QUERIES = ("list", "detail")
SEARCHES = {
    "many": COMMON,
    "some": SELECTIVE,
    "mixed": [term for pair in zip(COMMON, SELECTIVE, strict=False) for term in pair],
}
"""Terms of Query 1: of the large data set they find about 2,700 customers each, 530 each, or the two by turns."""


def window(until: datetime) -> tuple[str, str]:
    """The days that Query 2 asks for: from the first to behind the last, as instants."""
    today = until.astimezone(ZoneInfo(ZONE)).date()
    midnight = datetime.combine(today + timedelta(days=1), time(), ZoneInfo(ZONE)).astimezone(ZoneInfo("UTC"))
    return tuple(f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (midnight - timedelta(days=DAYS), midnight))  # type: ignore[return-value]


def month(until: datetime) -> tuple[str, str]:
    """The days of this month until today, as days of the calendar."""
    today = until.astimezone(ZoneInfo(ZONE)).date()
    return today.replace(day=1).isoformat(), today.isoformat()


def bodies(
    query: str, terms: Sequence[str], customers: Sequence[UUID], until: datetime, *, postgraphile: bool = False
) -> list[str]:
    """The bodies of the requests that are sent in turn."""
    since, to = window(until)
    if query == "list":
        document = POSTGRAPHILE_LIST if postgraphile else LIST
        return [_body("List", document, {"search": term}) for term in terms]
    if postgraphile:
        return [_body("Detail", POSTGRAPHILE_DETAIL, {"id": str(key)}) for key in customers]
    return [_body("Detail", DETAIL, {"id": ids.encode("cus", key), "from": since, "to": to}) for key in customers]


def _body(name: str, document: str, variables: dict[str, str]) -> str:
    return json.dumps({"operationName": name, "query": document, "variables": variables}, separators=(",", ":"))
