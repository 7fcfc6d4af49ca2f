"""kill -9 of anything while customers are being confirmed: what was acknowledged is there, and nothing half-made."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.product import Product

pytestmark = pytest.mark.long

CUSTOMERS = 60
WORKERS = 6


@pytest.fixture
def product(data: Path) -> Iterator[Product]:
    running = Product(data).start()
    yield running
    running.stop()


def children(product: Product, *words: str) -> list[int]:
    """Processes of this product whose command line holds these words, by /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if all(word in line for word in words) and descends(int(entry.name), product):
                found.append(int(entry.name))
    return found


def descends(pid: int, product: Product) -> bool:
    """Whether a process is a child of this product's launcher."""
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return False
    return parent == product.pid


class Clerk:
    """An operator whose connection breaks, and who tries again with the same key."""

    def __init__(self, product: Product, http: httpx.AsyncClient, package: str) -> None:
        self.product, self.http, self.package = product, http, package
        self.acknowledged: dict[str, str] = {}

    async def ask(self, token: str, document: str, **variables: Any) -> dict[str, Any]:
        """Until an answer comes back that is whole: what has errors beside data is tried again as well."""
        for _ in range(200):
            try:
                answer = await self.http.post(
                    self.product.up["graphql"],
                    json={"query": document, "variables": variables},
                    headers={"Authorization": f"Bearer {token}"} if token else {},
                )
                found = answer.json()
                if found.get("data") and "errors" not in found:
                    data: dict[str, Any] = found["data"]
                    return data
            except (httpx.HTTPError, ValueError):
                pass
            await asyncio.sleep(0.1)
        raise AssertionError("no answer in 20 s")

    async def create(self, token: str, number: int) -> None:
        """One customer from start to confirmation."""
        data = await self.ask(token, "mutation { customerDraftStart { draft { id } } }")
        draft = data["customerDraftStart"]["draft"]["id"]
        payload = "{ errors { code message } }"
        steps: dict[str, tuple[str, dict[str, Any]]] = {
            "customerDraftSetBasics": (
                "DraftBasicsInput",
                {"name": "Example Person", "mobile": "01712345678", "email": f"crash-{number}@example.com"},
            ),
            "customerDraftSetConnection": (
                "DraftConnectionInput",
                {"pppoe": {"username": "crash", "password": "a-password"}},
            ),
            "customerDraftSetPackage": ("DraftPackageInput", {"packageId": self.package}),
            "customerDraftSetAddress": ("DraftAddressInput", {"address": {"street": "1 Example Street"}}),
            "customerDraftSetPayment": ("DraftPaymentInput", {"amount": "100", "method": "CASH"}),
        }
        for name, (kind, given) in steps.items():
            document = f"mutation ($input: {kind}!) {{ {name}(input: $input) {payload} }}"
            done = await self.ask(token, document, input={"draftId": draft, **given})
            assert done[name]["errors"] == [], done
        document = """mutation ($input: DraftConfirmInput!) { customerDraftConfirm(input: $input) {
          customer { id accountNumber } invoice { number } errors { code message } } }"""
        done = await self.ask(token, document, input={"draftId": draft, "idempotencyKey": f"key-{number}"})
        made = done["customerDraftConfirm"]
        assert made["errors"] == [], made
        self.acknowledged[made["customer"]["id"]] = made["invoice"]["number"]


async def test_nothing_acknowledged_is_lost(product: Product) -> None:
    async with httpx.AsyncClient(timeout=30) as http:
        clerk = Clerk(product, http, "")
        admin = product.operator("ADMIN")
        given = {name: admin[name] for name in ("email", "password", "tenant")}
        document = "mutation ($input: SignInInput!) { signIn(input: $input) { token } }"
        token = (await clerk.ask("", document, input=given))["signIn"]["token"]
        packages = await clerk.ask(token, "{ packages(connectionType: PPPOE) { id } }")
        clerk.package = packages["packages"][0]["id"]
        waiting = iter(range(CUSTOMERS))

        async def work() -> None:
            for number in waiting:
                await clerk.create(token, number)

        async def destroy() -> None:
            victims = (("ispgraph", "api"), ("ispgraph", "worker"), ("valkey",), ("postgres", "-D")) * 2
            for number, words in enumerate(victims, start=1):
                # In the midst of the work, however fast the machine is.
                while len(clerk.acknowledged) < number * CUSTOMERS // (len(victims) + 2):
                    await asyncio.sleep(0.01)
                while not (found := children(product, *words)):
                    await asyncio.sleep(0.05)
                assert len(clerk.acknowledged) < CUSTOMERS
                for pid in found:
                    os.kill(pid, signal.SIGKILL)

        destroying = asyncio.create_task(destroy())
        await asyncio.gather(*(work() for _ in range(WORKERS)))
        await destroying
        assert len(clerk.acknowledged) == CUSTOMERS
        assert len(set(clerk.acknowledged.values())) == CUSTOMERS
        wanted = list(clerk.acknowledged)
        document = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
        found = await clerk.ask(token, document, ids=wanted)
    assert [node and node["id"] for node in found["nodes"]] == wanted
    checked = product.run("check-invariants")
    assert checked.returncode == 0, checked.stdout + checked.stderr
