"""The clerks, panels and checks of `bench.scale`. A clerk whose answer does not come asks again by way of the balancer,
with the same key; what was acknowledged is written down, and looked for in the books at the end."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import websockets

from ispgraph import ids

_LIST = """query ($search: String) { customers(first: 20, search: $search) {
  nodes { id name status balance { amount } services { id status package { name } } } totalCount } }"""
_DETAIL = """query ($id: ID!) { customer(by: { id: $id }) { id name status balance { amount }
  invoices(first: 12) { nodes { number total { amount } } } sessions(first: 10) { nodes { startedAt } } } }"""
_BALANCE = "query ($id: ID!) { customer(by: { id: $id }) { wallet { amount } status } }"
_PAY = """mutation ($input: AdvancePaymentInput!) { customerRecordAdvancePayment(input: $input) {
  payment { id } customer { wallet { amount } } errors { code message } } }"""
_ACTION = "{ customer { id status } jobs { id } errors { code message } }"
_SUSPEND = f"mutation ($input: SuspendInput!) {{ customerSuspend(input: $input) {_ACTION} }}"
_ACTIVATE = f"mutation ($input: ActivateInput!) {{ customerActivate(input: $input) {_ACTION} }}"
_CONFIRM = """mutation ($input: DraftConfirmInput!) { customerDraftConfirm(input: $input) {
  customer { id } invoice { number } jobs { id } errors { code message } } }"""
_STEPS = {
    "customerDraftSetBasics": "DraftBasicsInput",
    "customerDraftSetConnection": "DraftConnectionInput",
    "customerDraftSetPackage": "DraftPackageInput",
    "customerDraftSetAddress": "DraftAddressInput",
    "customerDraftSetPayment": "DraftPaymentInput",
}
_USAGE = "subscription { liveUsageAll(intervalSeconds: 2) { customerId online } }"
_PASSING = {"UNAVAILABLE", "INTERNAL"}
_GIVE_UP_SECONDS = 60.0
_AGAIN_SECONDS = 0.1


@dataclass
class Seen:
    """What clients saw. Seconds by kind of operation: of each request, and from its first sending to its answer."""

    tries: dict[str, list[float]] = field(default_factory=dict)
    answered: dict[str, list[float]] = field(default_factory=dict)
    again: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    events: int = 0
    connected: int = 0
    away: list[float] = field(default_factory=list)


class NoAnswerError(Exception):
    """A client has lost its patience."""


class Clerk:
    """Does one thing after the other, on customers that nobody else has."""

    def __init__(
        self, url: str, token: str, customers: list[str], package: str, seen: Seen, log: Path, seed: int
    ) -> None:
        self._url, self._token, self._customers, self._package = url, token, customers, package
        self._seen, self._log = seen, log.open("a")
        self._dice = random.Random(seed)
        self._number = seed
        self._suspended: set[str] = set()
        self._wallet: dict[str, int] = {}
        self._made = 0
        self._http = self._client()

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(headers={"Authorization": f"Bearer {self._token}"}, timeout=10, trust_env=False)

    async def work(self, stop: Callable[[], bool], pause: float) -> None:
        """Until told to stop."""
        turns = [self._list] * 5 + [self._detail] * 4 + [self._pay] * 4 + [self._switch] * 2 + [self._wizard]
        while not stop():
            try:
                await self._dice.choice(turns)()
            except NoAnswerError as error:
                self._seen.refused.append(str(error))
            await asyncio.sleep(self._dice.uniform(0.5, 1.5) * pause)
        await self._http.aclose()
        self._log.close()

    async def _ask(self, kind: str, document: str, **variables: Any) -> dict[str, Any]:
        begun = time.monotonic()
        while True:
            sent = time.monotonic()
            problem = "nobody there"
            try:
                answer = await self._http.post(self._url, json={"query": document, "variables": variables})
                found = answer.json()
                codes = {error.get("extensions", {}).get("code") for error in found.get("errors", ())}
                problem = ",".join(map(str, codes)) if codes else ""
                if codes and not codes <= _PASSING:
                    raise SystemExit(f"{kind}: {found['errors'][0]['message']}")
            except (httpx.HTTPError, ValueError) as error:
                problem = type(error).__name__
            now = time.monotonic()
            self._seen.tries.setdefault(kind, []).append(now - sent)
            if not problem:
                self._seen.answered.setdefault(kind, []).append(now - begun)
                data: dict[str, Any] = found["data"]
                return data
            self._seen.again[problem] += 1
            if now - begun > _GIVE_UP_SECONDS:
                raise NoAnswerError(f"no answer to {kind} in {_GIVE_UP_SECONDS:.0f} s: {problem}")
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _change(self, kind: str, document: str, **given: Any) -> dict[str, Any]:
        """A mutation with a key; its payload. Refusals are kept for the report."""
        payload: dict[str, Any] = next(iter((await self._ask(kind, document, input=given)).values()))
        if payload["errors"]:
            self._seen.refused.append(f"{kind}: {payload['errors']}")
        return payload

    def _keep(self, **what: Any) -> None:
        self._seen.acknowledged.append(what)
        self._log.write(json.dumps(what) + "\n")
        self._log.flush()

    async def _list(self) -> None:
        await self._ask("list", _LIST, search=f"line {self._dice.randint(1, 99)}")

    async def _detail(self) -> None:
        await self._ask("detail", _DETAIL, id=self._dice.choice(self._customers))

    async def _pay(self) -> None:
        customer, key, amount = self._dice.choice(self._customers), str(uuid4()), self._dice.randint(1, 50)
        if customer not in self._wallet:
            found = await self._ask("balance", _BALANCE, id=customer)
            self._wallet[customer] = _minor(found["customer"]["wallet"]["amount"])
        self._seen.keys.append(key)
        done = await self._change(
            "payment",
            _PAY,
            customerId=customer,
            amount=f"{amount}.00",
            method="CASH",
            reference=key,
            idempotencyKey=key,
        )
        self._wallet[customer] += amount * 100
        self._keep(kind="payment", key=key, id=done["payment"]["id"], minor=amount * 100, customer=customer)
        # Whichever process and server answers now must have it.
        found = await self._ask("balance", _BALANCE, id=customer)
        if _minor(found["customer"]["wallet"]["amount"]) != self._wallet[customer]:
            self._seen.stale.append(f"{customer}: {found['customer']['wallet']} for {self._wallet[customer]}")

    async def _switch(self) -> None:
        customer, key = self._dice.choice(self._customers), str(uuid4())
        # For a reason that a payment does not end by itself.
        on = customer in self._suspended
        if on:
            done = await self._change("activate", _ACTIVATE, customerId=customer, idempotencyKey=key)
            self._suspended.discard(customer)
        else:
            done = await self._change("suspend", _SUSPEND, customerId=customer, reason="VIOLATION", idempotencyKey=key)
            self._suspended.add(customer)
        status = "ACTIVE" if on else "SUSPENDED"
        jobs = [job["id"] for job in done["jobs"]]
        self._keep(kind="activate" if on else "suspend", key=key, customer=customer, status=status, jobs=jobs)
        found = await self._ask("balance", _BALANCE, id=customer)
        if found["customer"]["status"] != status:
            self._seen.stale.append(f"{customer}: {found['customer']['status']} for {status}")

    async def _wizard(self) -> None:
        self._made += 1
        name, key = f"scale-{self._number}-{self._made}", str(uuid4())
        started = await self._ask("draft", "mutation { customerDraftStart { draft { id } errors { code } } }")
        draft = started["customerDraftStart"]["draft"]["id"]
        given: dict[str, dict[str, Any]] = {
            "customerDraftSetBasics": {
                "name": "Example Person",
                "mobile": f"+1202{self._dice.randint(2000000, 9999999)}",
                "email": f"{name}@example.com",
            },
            "customerDraftSetConnection": {"pppoe": {"username": name, "password": "a-password"}},
            "customerDraftSetPackage": {"packageId": self._package},
            "customerDraftSetAddress": {"address": {"street": "1 Example Street"}},
            "customerDraftSetPayment": {"amount": "20.00", "method": "CASH"},
        }
        for step, kind in _STEPS.items():
            document = f"mutation ($input: {kind}!) {{ {step}(input: $input) {{ errors {{ code message }} }} }}"
            await self._change("draft", document, draftId=draft, **given[step])
        self._seen.keys.append(key)
        done = await self._change("confirm", _CONFIRM, draftId=draft, idempotencyKey=key)
        if done["customer"] is None:
            return
        jobs = [job["id"] for job in done["jobs"]]
        number = done["invoice"]["number"]
        self._keep(kind="confirm", key=key, customer=done["customer"]["id"], name=name, invoice=number, jobs=jobs)
        self._customers.append(done["customer"]["id"]) if self._made % 4 == 0 else None


async def panel(url: str, token: str, seen: Seen, stop: Callable[[], bool]) -> None:
    """A screen that watches all live readings, and connects again whenever the connection is gone."""
    lost = time.monotonic()
    while not stop():
        try:
            async with websockets.connect(url, subprotocols=["graphql-transport-ws"], compression=None) as socket:  # type: ignore[list-item]
                await socket.send(
                    json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
                )
                await asyncio.wait_for(socket.recv(), 10)
                await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": _USAGE}}))
                first = True
                while not stop():
                    message = json.loads(await asyncio.wait_for(socket.recv(), 30))
                    if message["type"] == "ping":
                        await socket.send('{"type":"pong"}')
                    elif message["type"] == "next":
                        if first:
                            seen.connected += 1
                            seen.away.append(time.monotonic() - lost)
                            first = False
                        seen.events += 1
                    else:
                        raise ConnectionError(str(message))
        except (OSError, TimeoutError, websockets.WebSocketException):
            pass
        lost = time.monotonic()
        await asyncio.sleep(0.2)


async def lost(seen: Seen, books: "asyncpg.Connection[Any]") -> list[str]:
    """What was acknowledged and is not in the books, and what is there twice."""
    wrong: list[str] = []
    last: dict[str, str] = {}
    for each in seen.acknowledged:
        customer = _uuid(each["customer"])
        if each["kind"] == "payment":
            row = await books.fetchrow(
                "SELECT amount_minor, customer_id FROM payments WHERE id = $1", _uuid(each["id"])
            )
            if row is None or tuple(row) != (each["minor"], customer):
                wrong.append(f"lost: {each}")
        elif each["kind"] == "confirm":
            invoice = await books.fetchval("SELECT customer_id FROM invoices WHERE number = $1", each["invoice"])
            if invoice != customer:
                wrong.append(f"lost: {each}")
        else:
            last[each["customer"]] = each["status"]
        for job in each.get("jobs", ()):
            if await books.fetchval("SELECT count(*) FROM jobs WHERE id = $1", _uuid(job)) != 1:
                wrong.append(f"lost: {job} of {each}")
    for customer, status in last.items():
        found = await books.fetchval("SELECT status FROM customers WHERE id = $1", _uuid(customer))
        if found != status:
            wrong.append(f"{customer} is {found} and not {status}")
    twice = "SELECT reference FROM payments WHERE reference = ANY($1) GROUP BY reference HAVING count(*) > 1"
    wrong += [f"twice: {row[0]}" for row in await books.fetch(twice, seen.keys)]
    twice = "SELECT email FROM customers WHERE email LIKE 'scale-%' GROUP BY email HAVING count(*) > 1"
    wrong += [f"twice: {row[0]}" for row in await books.fetch(twice)]
    return wrong


def _uuid(text: str) -> Any:
    return ids.decode(text.split("_", 1)[0], text)


def _minor(amount: str) -> int:
    whole, _, part = amount.partition(".")
    return int(whole) * 100 + int((part + "00")[:2])
