"""Whether the servers tell the same: their answers in one common form."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from bench.fill import ZONE


def common(query: str, answer: dict[str, Any], *, postgraphile: bool) -> Any:
    """What an answer says, apart from names and spellings."""
    if answer.get("errors"):
        raise ValueError(f"errors: {answer['errors'][:2]}")
    data = answer["data"]
    if query == "list":
        rows = data["searchCustomersList"] if postgraphile else data["customers"]["nodes"]
        return [_customer(row, postgraphile) for row in rows]
    return _customer(data["customerById"] if postgraphile else data["customer"], postgraphile)


def difference(one: Any, other: Any, path: str = "") -> str | None:
    """The first place where two common forms differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next((found for key in one if (found := difference(one[key], other[key], f"{path}.{key}"))), None)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next((found for n, (a, b) in pairs if (found := difference(a, b, f"{path}[{n}]"))), None)
    return None if one == other else f"{path or 'root'}: {one!r:.200} and {other!r:.200}"


def _customer(row: dict[str, Any], postgraphile: bool) -> dict[str, Any]:
    made = _of_postgraphile(row) if postgraphile else _of_contract(row)
    return {"name": row["name"], "status": row["status"], **made}


def _of_contract(row: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": UUID(row["id"].removeprefix("cus_")),
        "package": row["service"]["package"]["name"],
        "balance": Decimal(row["balance"]["amount"]),
        "invoices": [
            (
                invoice["number"],
                invoice["status"],
                Decimal(invoice["total"]["amount"]),
                sorted((p["number"], p["method"], Decimal(p["amount"]["amount"])) for p in invoice.get("payments", ())),
            )
            for invoice in row["invoices"]["nodes"]
        ],
        "sessions": [
            _session(session, session["downloadBytes"], session["uploadBytes"]) for session in row["sessions"]["nodes"]
        ],
    }
    if "totalBytes" in row["usage"]:
        made["month"] = int(row["usage"]["totalBytes"])
    else:
        made["days"] = [
            (_instant(point["start"]), int(point["downloadBytes"]), int(point["uploadBytes"]))
            for point in row["usage"]["points"]
        ]
    return made


def _of_postgraphile(row: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": UUID(row["id"]),
        "package": row["servicesByTenantIdAndCustomerIdList"][0]["packageByTenantIdAndPackageId"]["name"],
        "balance": Decimal(row["balanceMinor"]).scaleb(-2),
        "invoices": [
            (
                invoice["number"],
                invoice["status"],
                Decimal(invoice["totalMinor"]).scaleb(-2),
                sorted(
                    (paid["number"], paid["method"], Decimal(paid["amountMinor"]).scaleb(-2))
                    for share in invoice.get("allocationsByTenantIdAndInvoiceIdList", ())
                    for paid in [share["paymentByTenantIdAndPaymentId"]]
                ),
            )
            for invoice in row["invoicesByTenantIdAndCustomerIdList"]
        ],
        "sessions": [
            _session(session, session["outputOctets"], session["inputOctets"])
            for session in row["sessionsByTenantIdAndCustomerIdList"]
        ],
    }
    if "monthBytes" in row:
        made["month"] = int(row["monthBytes"])
    else:
        made["days"] = [
            (_midnight(date.fromisoformat(day["day"])), int(day["outputOctets"]), int(day["inputOctets"]))
            for day in row["usageDaysByTenantIdAndCustomerIdList"]
        ]
    return made


def _session(row: dict[str, Any], down: str, up: str) -> tuple[Any, ...]:
    stopped = _instant(row["stoppedAt"]) if row.get("stoppedAt") else None
    return _instant(row["startedAt"]), stopped, int(down), int(up), row.get("terminateCause")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(ZONE)).astimezone(UTC)
