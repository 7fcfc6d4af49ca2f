"""Who brings files of customers, has them read, and looks at what came of it: through the API."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from ispgraph import ids
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.domain import secrets
from ispgraph.domain.models import Customer, Operator, Package, Service
from ispgraph.settings import Settings
from tests.api import Api
from tests.factories import NETWORK_KEY, House, uuid_of

COUNTS = (
    "rowCount newCount unchangedCount conflictCount faultyCount createdCount removedCount terminatedCount keptCount"
)
IMPORT = f"""id status problem readAs label {COUNTS} packages {{ name outcome problem }}
  reconciliation {{ customersTold customersSource customersHere balanceTold {{ amount }} balanceSource {{ amount }}
    balanceHere {{ amount }} activeTold activeSource activeHere lapsedSource differing equal }}"""
ROW = """number outcome sourceKey name username status balance { amount } faults { code column message }
  customer { id accountNumber } statusHere balanceHere { amount } differs"""
_ANSWER = f"{{ customerImport {{ {IMPORT} }} job {{ id kind status }} errors {{ code message field }} }}"
BEGIN = f"mutation ($input: CustomerImportInput!) {{ customerImportBegin(input: $input) {_ANSWER} }}"
RUN = f"mutation ($input: CustomerImportRunInput!) {{ customerImportRun(input: $input) {_ANSWER} }}"
UNDO = f"mutation ($input: CustomerImportRunInput!) {{ customerImportUndo(input: $input) {_ANSWER} }}"
REPORT = """mutation ($input: CustomerImportReportInput!) { customerImportReport(input: $input) {
  job { id kind } errors { code field } } }"""
READ = f"""query ($id: ID!, $outcome: [ImportOutcome!], $differs: Boolean, $first: Int, $after: String) {{
  node(id: $id) {{ ... on CustomerImport {{ {IMPORT}
    rows(outcome: $outcome, differs: $differs, first: $first, after: $after) {{ totalCount nodes {{ {ROW} }}
      pageInfo {{ endCursor hasNextPage }} }} }} }} }}"""
JOB = """query ($id: ID!) { job(id: $id) { __typename status message progressDone progressTotal
  ... on ExportJob { rowCount downloadUrl } ... on ImportJob { customerImport { id } } } }"""


def sheet(rows: Sequence[Mapping[str, str]], delimiter: str = ",", encoding: str = "utf-8") -> bytes:
    """A CSV file with the columns of all the rows."""
    columns = list({name: None for row in rows for name in row})
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, delimiter=delimiter, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode(encoding)


def person(number: int, **given: str) -> dict[str, str]:
    """A sound row."""
    return {
        "external_id": f"c-{number}",
        "name": f"Customer {number}",
        "mobile": f"017{12_000_000 + number}",
        "username": f"user{number}",
        "password": f"secret {number}",
        "package": "Home 20",
        "expires_at": "2999-01-31",
    } | given


@dataclass
class Counter:
    """A house with the package Home 20, and a worker."""

    api: Api
    house: House
    settings: Settings
    package: Package

    async def begin(self, body: bytes, who: Operator | None = None, /, **given: Any) -> dict[str, Any]:
        """The payload of customerImportBegin."""
        wish = {"file": None, "source": "CSV", "label": "old", **given}
        sent = {
            "operations": json.dumps({"query": BEGIN, "variables": {"input": wish}}),
            "map": json.dumps({"0": ["variables.input.file"]}),
        }
        signed = {"Authorization": f"Bearer {await self.api.token(who or self.house.admin)}"}
        files = {"0": ("customers", body, "application/octet-stream")}
        answer = (await self.api.client.post("/graphql", data=sent, files=files, headers=signed)).json()
        assert "errors" not in answer, answer["errors"]
        payload: dict[str, Any] = answer["data"]["customerImportBegin"]
        return payload

    async def begin_without(self, who: Operator | None = None, /, **given: Any) -> dict[str, Any]:
        """The payload of customerImportBegin, no file being sent."""
        data = await self.api.data(BEGIN, who or self.house.admin, input={"label": "old", **given})
        payload: dict[str, Any] = data["customerImportBegin"]
        return payload

    async def checked(self, body: bytes, who: Operator | None = None, /, **given: Any) -> dict[str, Any]:
        """The import of a file, read and compared."""
        begun = await self.begin(body, who, **given)
        assert begun["errors"] == [], begun
        await self.work(begun["job"])
        return await self.read(begun["customerImport"], who)

    async def run(self, found: Mapping[str, Any], who: Operator | None = None, /, **given: Any) -> dict[str, Any]:
        """The payload of customerImportRun."""
        asked = {"importId": found["id"], "expectedCount": found["newCount"], **given}
        payload: dict[str, Any] = (await self.api.data(RUN, who or self.house.admin, input=asked))["customerImportRun"]
        return payload

    async def made(self, body: bytes, **given: Any) -> dict[str, Any]:
        """The import of a file, checked and run."""
        found = await self.checked(body, **given)
        begun = await self.run(found)
        assert begun["errors"] == [], begun
        await self.work(begun["job"])
        return await self.read(found)

    async def undo(self, found: Mapping[str, Any], who: Operator | None = None, /, **given: Any) -> dict[str, Any]:
        """The payload of customerImportUndo."""
        asked = {"importId": found["id"], "expectedCount": found["createdCount"], **given}
        data = await self.api.data(UNDO, who or self.house.admin, input=asked)
        payload: dict[str, Any] = data["customerImportUndo"]
        return payload

    async def read(self, found: Mapping[str, Any], who: Operator | None = None, /, **given: Any) -> dict[str, Any]:
        """The import as it stands, with a page of its rows."""
        data = await self.api.data(READ, who or self.house.admin, id=found["id"], **given)
        row: dict[str, Any] = data["node"]
        return row

    async def job(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """A job as it stands."""
        found: dict[str, Any] = (await self.api.data(JOB, self.house.admin, id=job["id"]))["job"]
        return found

    async def work(self, job: Mapping[str, Any]) -> None:
        """Carry out a job."""
        runner = Runner(self.house.database, self.settings, ACTIONS)
        await runner.run_job(self.house.tenant.id.hex, uuid_of(job["id"]).hex)

    async def person(self, name: str) -> tuple[Customer, Service]:
        """A customer of a name, and the service."""
        async with self.house.database.read(self.house.tenant.id) as session:
            customer = (await session.scalars(select(Customer).where(Customer.name == name))).one()
            return customer, (await session.scalars(select(Service).where(Service.customer_id == customer.id))).one()

    def password(self, service: Service) -> str:
        """The network password of a service."""
        return secrets.unseal(NETWORK_KEY, service.password, secrets.service_password(service.tenant_id, service.id))


def counts(found: Mapping[str, Any]) -> dict[str, int]:
    """How many rows came to what, without those to which none came."""
    return {name: found[name] for name in COUNTS.split() if found[name]}


def told(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The faults of a row."""
    return [(each["code"], each["column"]) for each in row["faults"]]


def public(package: Package) -> str:
    """The id of a package."""
    return ids.encode("pkg", package.id)
