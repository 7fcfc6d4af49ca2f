"""A tour of ispgraph from outside: sign in, create customers with the wizard, let them dial in, and be refused.

    ispgraph up --demo                   in one terminal
    python examples/quickstart.py        in another        (--up names an up.json elsewhere)

It needs httpx and websockets and nothing of ispgraph. It exits with 0 only if everything came out as expected.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import secrets
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import httpx
import websockets

DRAFT = "draft { id version status currentStep completedSteps progressPercent } errors { code message field }"
CONFIRM = """mutation Confirm($input: DraftConfirmInput!) { customerDraftConfirm(input: $input) {
  errors { code message field }
  draft { status progressPercent customer { id } }
  customer { id accountNumber name status wallet { amount currency } balance { amount } amountDue { amount }
    service { username status connectionType expiresAt package { name } ipAddress macAddresses }
    ledger(first: 10) { nodes { account description debit { amount } credit { amount } balance { amount } } } }
  invoice { number status total { amount } amountPaid { amount } amountDue { amount } }
  payment { number amount { amount } allocations { amount { amount } invoice { number } } }
  credentials { username password loginName loginPassword }
  jobs { id kind status } } }"""
REVIEW = """query Review($id: ID!) { customerDraft(id: $id) { currentStep progressPercent
  review { ready username invoiceTotal { amount currency } invoiceStatusAfter walletAfter { amount } expiresAt
    missing { code message field } radius { attribute op value } } } }"""
STEPS = {
    "customerDraftSetBasics": "DraftBasicsInput",
    "customerDraftSetConnection": "DraftConnectionInput",
    "customerDraftSetPackage": "DraftPackageInput",
    "customerDraftSetAddress": "DraftAddressInput",
    "customerDraftSetCustomFields": "DraftCustomFieldsInput",
    "customerDraftSetPayment": "DraftPaymentInput",
    "customerDraftCancel": "StepInput",
}
unexpected: list[str] = []


def expect(condition: bool, what: str) -> None:
    """Say whether something came out as it should."""
    print(f"  {'ok ' if condition else 'NOT'} {what}")
    if not condition:
        unexpected.append(what)


class Client:
    """One signed-in operator."""

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(timeout=30)
        self.url = url
        self.token: str | None = None

    async def ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """Send a document; the whole answer, errors included."""
        headers = {"Accept": "application/graphql-response+json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        answer = await self.http.post(self.url, json={"query": document, "variables": variables}, headers=headers)
        found: dict[str, Any] = answer.json()
        return found

    async def get(self, document: str, **variables: Any) -> dict[str, Any]:
        """Send a document that must not fail; its data."""
        answer = await self.ask(document, **variables)
        if "errors" in answer:
            raise SystemExit(f"unexpected errors: {json.dumps(answer['errors'], indent=2)}")
        data: dict[str, Any] = answer["data"]
        return data

    async def sign_in(self, operator: dict[str, Any]) -> dict[str, Any]:
        """Sign in and remember the token; the viewer."""
        data = await self.get(
            """mutation SignIn($input: SignInInput!) { signIn(input: $input) { token expiresAt
              errors { code message } viewer { tenant { name currency } operator { name role level } } } }""",
            input={"email": operator["email"], "password": operator["password"], "tenant": operator["tenant"]},
        )
        self.token = data["signIn"]["token"]
        viewer: dict[str, Any] = data["signIn"]["viewer"]
        return viewer

    async def step(self, name: str, /, **given: Any) -> dict[str, Any]:
        """One step of the wizard; its payload."""
        document = f"mutation Step($input: {STEPS[name]}!) {{ {name}(input: $input) {{ {DRAFT} }} }}"
        payload: dict[str, Any] = (await self.get(document, input=given))[name]
        return payload

    async def begin(self) -> str:
        """Begin a draft; its id."""
        data = await self.get(f"mutation {{ customerDraftStart {{ {DRAFT} }} }}")
        return str(data["customerDraftStart"]["draft"]["id"])


async def walk(client: Client, person: dict[str, str], connection: dict[str, Any], package: str, pays: str) -> Any:
    """The seven steps, the address before the package to show that the order is free; the confirmation's payload."""
    draft = await client.begin()
    await client.step("customerDraftSetBasics", draftId=draft, **person)
    address = {"street": "1 Example Street", "city": "Exampleton"}
    await client.step("customerDraftSetAddress", draftId=draft, address=address)
    await client.step("customerDraftSetConnection", draftId=draft, **connection)
    await client.step("customerDraftSetPackage", draftId=draft, packageId=package)
    await client.step("customerDraftSetCustomFields", draftId=draft, values=[])
    saved = await client.step("customerDraftSetPayment", draftId=draft, amount=pays, method="CASH")
    for error in saved["errors"]:
        raise SystemExit(f"unexpected: {error}")
    reviewed = (await client.get(REVIEW, id=draft))["customerDraft"]
    expect(reviewed["review"]["ready"], f"review is ready at {reviewed['progressPercent']} %")
    made = await client.get(CONFIRM, input={"draftId": draft, "idempotencyKey": secrets.token_hex(16)})
    made = made["customerDraftConfirm"]
    expect(made["errors"] == [] and made["draft"]["status"] == "COMPLETED", "confirmed")
    expect(made["invoice"]["status"] == reviewed["review"]["invoiceStatusAfter"], "the invoice is as the review said")
    expect(made["customer"]["service"]["username"] == reviewed["review"]["username"], "so is the username")
    return made


def dial(radius: dict[str, Any], username: str, password: str, calling: str) -> tuple[str, dict[str, str]]:
    """An Access-Request with PAP (RFC 2865 sections 4.1 and 5.2) as a router sends it; the answer, its attributes."""
    secret = radius["secret"].encode()
    authenticator = secrets.token_bytes(16)
    padded = password.encode().ljust(-(-max(len(password.encode()), 1) // 16) * 16, b"\0")
    hidden, last = b"", authenticator
    for start in range(0, len(padded), 16):
        mask = hashlib.md5(secret + last).digest()
        last = bytes(a ^ b for a, b in zip(padded[start : start + 16], mask, strict=True))
        hidden += last
    attributes = b"".join(
        struct.pack("BB", kind, len(value) + 2) + value
        for kind, value in ((1, username.encode()), (2, hidden), (31, calling.encode()), (80, bytes(16)))
    )
    packet = struct.pack("!BBH", 1, secrets.randbelow(256), 20 + len(attributes)) + authenticator + attributes
    packet = packet[:-16] + hmac.digest(secret, packet, "md5")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(5)
        sender.sendto(packet, (radius["host"], radius["auth_port"]))
        answer = sender.recv(4096)
    expected = hashlib.md5(answer[:4] + authenticator + answer[20:] + secret).digest()
    assert answer[4:20] == expected, "the answer was signed with another secret"
    return {2: "Access-Accept", 3: "Access-Reject"}[answer[0]], dict(read_attributes(answer[20:]))


def read_attributes(data: bytes) -> list[tuple[str, str]]:
    """The attributes of an answer that this tour shows (RFC 2865 section 5; MikroTik's vendor number is 14988)."""
    names = {8: "Framed-IP-Address", 9: "Framed-IP-Netmask", 18: "Reply-Message", 25: "Class", 27: "Session-Timeout"}
    names |= {80: "Message-Authenticator", 85: "Acct-Interim-Interval"}
    mikrotik = {3: "Mikrotik-Group", 8: "Mikrotik-Rate-Limit", 17: "Mikrotik-Total-Limit"}
    mikrotik |= {18: "Mikrotik-Total-Limit-Gigawords"}
    found = []
    while data:
        kind, length = data[0], data[1]
        value, data = data[2:length], data[length:]
        if kind == 26 and value[:4] == struct.pack("!I", 14988):
            name, value = mikrotik.get(value[4], f"Mikrotik-{value[4]}"), value[6:]
        else:
            name = names.get(kind, str(kind))
        if name in ("Mikrotik-Rate-Limit", "Mikrotik-Group", "Reply-Message"):
            found.append((name, value.decode()))
        elif name in ("Framed-IP-Address", "Framed-IP-Netmask"):
            found.append((name, socket.inet_ntoa(value)))
        elif len(value) == 4:
            found.append((name, str(struct.unpack("!I", value)[0])))
        else:
            found.append((name, "0x" + value.hex()))
    return found


async def watch(url: str, token: str, job: str) -> list[str]:
    """The statuses of a job as the subscription tells them, until it has finished (graphql-transport-ws)."""
    document = "subscription Job($id: ID!) { jobUpdated(jobId: $id) { status message } }"
    seen = []
    async with websockets.connect(url, subprotocols=[websockets.Subprotocol("graphql-transport-ws")]) as connection:
        await connection.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}))
        await connection.recv()
        payload = {"query": document, "variables": {"id": job}}
        await connection.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        async for text in connection:
            message = json.loads(text)
            if message["type"] == "next":
                seen.append(message["payload"]["data"]["jobUpdated"]["status"])
            elif message["type"] in ("complete", "error"):
                break
    return seen


async def create_all(admin: Client, up: dict[str, Any], mark: str) -> None:
    """One customer per kind of connection, and per way of paying."""
    data = await admin.get("{ packages { id name price { amount } connectionTypes } routers { id name } }")
    package = next(p for p in data["packages"] if len(p["connectionTypes"]) == 4)
    router = data["routers"][0]["id"]
    price = float(package["price"]["amount"])
    number = secrets.randbelow(250 * 250)
    mac = f"02:00:5E:{secrets.randbelow(256):02X}:{number // 250:02X}:{number % 250:02X}"
    pppoe = {"username": f"tour-{mark}", "password": "pppoe-password-1"}
    plans = [
        ("PPPoE, paid in full", {"pppoe": pppoe, "routerId": router}, f"{price:.2f}", "PAID"),
        ("hotspot, paid in part", {"hotspot": {"macAddress": mac}}, f"{price / 2:.2f}", "PARTIALLY_PAID"),
        (
            "static IP, paid too much",
            {"staticIp": {"ipAddress": f"10.99.{number // 250}.{number % 250 + 1}"}},
            f"{price + 25:.2f}",
            "PAID",
        ),
        ("other, not paid", {"other": {"configuration": "A bridge to the neighbour"}}, "0", "OPEN"),
    ]
    for index, (title, connection, pays, status) in enumerate(plans):
        print(f"\n{title}")
        person = {"name": f"Example Person {mark} {index}", "mobile": f"0171{secrets.randbelow(10**7):07d}"}
        person["email"] = f"person-{mark}-{index}@example.com"
        made = await walk(admin, person, connection, package["id"], pays)
        show(made)
        expect(made["invoice"]["status"] == status, f"the invoice is {status}")
        excess = "25.00" if "too much" in title else "0.00"
        expect(made["customer"]["wallet"]["amount"] == excess, f"the wallet holds {excess}")
        if "pppoe" in connection or "hotspot" in connection:
            await dial_in(up, made, connection, mac)
        for job in made["jobs"]:
            seen = await watch(up["websocket"], admin.token or "", job["id"])
            expect(seen[-1:] == ["SUCCEEDED"], f"the network job ends: {' → '.join(seen)}")


async def dial_in(up: dict[str, Any], made: dict[str, Any], connection: dict[str, Any], mac: str) -> None:
    """The new customer on the network."""
    credentials = made["credentials"]
    logins = [(credentials["username"], credentials["password"])]
    if "hotspot" in connection:
        logins.append((mac, mac))
    for username, password in logins:
        answer, attributes = await asyncio.to_thread(dial, up["radius"], username, password, mac)
        expect(answer == "Access-Accept", f"RADIUS: {username} gets {answer}")
        expect(
            {"Mikrotik-Rate-Limit", "Session-Timeout", "Message-Authenticator"} <= set(attributes), "with attributes"
        )
        print(f"      {attributes}")
    answer, attributes = await asyncio.to_thread(dial, up["radius"], logins[0][0], "wrong", mac)
    expect(answer == "Access-Reject", f"RADIUS: with a wrong password {answer}")


def show(made: dict[str, Any]) -> None:
    """What exists now."""
    customer, invoice = made["customer"], made["invoice"]
    print(
        f"      {customer['accountNumber']} {customer['name']}: {customer['status']}, balance "
        f"{customer['balance']['amount']}, {customer['service']['package']['name']}, until "
        f"{customer['service']['expiresAt']}"
    )
    print(
        f"      {invoice['number']} {invoice['status']}: {invoice['total']['amount']}, paid "
        f"{invoice['amountPaid']['amount']}"
    )
    for entry in reversed(customer["ledger"]["nodes"]):
        side = f"debit {entry['debit']['amount']}" if entry["debit"] else f"credit {entry['credit']['amount']}"
        print(f"      {entry['account']:<12} {side:<16} {entry['description']}: balance {entry['balance']['amount']}")


async def look(admin: Client, mark: str) -> None:
    """Lists, searches and figures."""
    print("\nlists")
    find = "query Find($s: String) { customers(search: $s) { totalCount nodes { name balance { amount } } } }"
    for kind, term in (("a part of a name", mark), ("an e-mail address", f"person-{mark}-0@example.com")):
        found = (await admin.get(find, s=term))["customers"]
        expect(found["totalCount"] > 0, f"{found['totalCount']} found by {kind}: {found['nodes'][0]['name']}")
    pages = """query Page($after: String) { customers(orderBy: {field: NAME}, first: 30, after: $after,
      where: {status: [PENDING, ACTIVE, SUSPENDED, EXPIRED]}) { nodes { id } pageInfo { hasNextPage endCursor } } }"""
    seen: list[str] = []
    after, more = None, True
    while more:
        page = (await admin.get(pages, after=after))["customers"]
        seen += [customer["id"] for customer in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    stats = (await admin.get("{ customerStats { total active averageBalance { amount currency } } }"))["customerStats"]
    expect(len(seen) == len(set(seen)) == stats["total"], f"{len(seen)} customers by name, thirty at a time; {stats}")
    wrong = {
        "a page of 101": ("{ customers(first: 101) { totalCount } }", "first"),
        "a search of two letters": ('{ customers(search: "ab") { totalCount } }', "search"),
        "a cursor of another list": (f'{{ jobs(first: 1, after: "{after}") {{ totalCount }} }}', "after"),
    }
    for what, (document, field) in wrong.items():
        error = (await admin.ask(document))["errors"][0]
        expect(error["extensions"].get("field") == [field], f"{what}: {error['message']}")


async def misuse(admin: Client, up: dict[str, Any], mark: str) -> None:
    """What is refused, and with which code."""
    print("\nmisuse")
    draft = await admin.begin()

    def codes(payload: dict[str, Any]) -> list[tuple[str, Any]]:
        return [(error["code"], error["field"]) for error in payload["errors"]]

    async def refused(what: str, name: str, code: str, /, **given: Any) -> None:
        found = codes(await admin.step(name, **given))
        expect([each for each, _ in found] == [code], f"{what}: {found}")

    taken = {"name": "Someone Else", "mobile": "01711234567", "email": f"person-{mark}-0@example.com"}
    await refused("a taken e-mail", "customerDraftSetBasics", "TAKEN", draftId=draft, **taken)
    other = Client(up["graphql"])
    stranger = next(o for o in up["operators"] if o["tenant"] != up["operators"][0]["tenant"])
    await other.sign_in(stranger)
    foreign = (await other.get("{ packages { id } }"))["packages"][0]["id"]
    await refused("another tenant's package", "customerDraftSetPackage", "NOT_FOUND", draftId=draft, packageId=foreign)
    bad = {"hotspot": {"macAddress": "not-a-mac"}}
    await refused("a bad MAC", "customerDraftSetConnection", "INVALID", draftId=draft, **bad)
    await refused("a negative amount", "customerDraftSetPayment", "INVALID", draftId=draft, amount="-1", method="CASH")
    found = codes((await admin.get(CONFIRM, input={"draftId": draft}))["customerDraftConfirm"])
    expect({code for code, _ in found} == {"DRAFT_INCOMPLETE"}, f"confirming an incomplete draft: {found}")
    expired = (await admin.get("{ customerDrafts(status: [EXPIRED], first: 1) { nodes { id } } }"))["customerDrafts"]
    address = {"street": "1 Example Street"}
    old = expired["nodes"][0]["id"]
    await refused("an expired draft", "customerDraftSetAddress", "DRAFT_EXPIRED", draftId=old, address=address)
    reseller = Client(up["graphql"])
    await reseller.sign_in(next(o for o in up["operators"] if o["role"] == "SUB_OPERATOR"))
    found = codes(await reseller.step("customerDraftCancel", draftId=draft))
    expect([code for code, _ in found] == ["NOT_FOUND"], f"a sub-operator at a draft outside its subtree: {found}")
    by = {"username": f"tour-{mark}"}
    seen = await reseller.get("query Find($by: CustomerBy!) { customer(by: $by) { id } }", by=by)
    expect(seen["customer"] is None, "and it finds no customer there")
    answer = await Client(up["graphql"]).ask("{ packages { id } }")
    code = answer["errors"][0]["extensions"]["code"]
    expect(code == "UNAUTHENTICATED", f"without signing in: {code}")
    await admin.step("customerDraftCancel", draftId=draft)


async def main() -> int:
    """The whole tour."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--up", type=Path, default=Path(".ispgraph/up.json"))
    up = json.loads(parser.parse_args().up.read_text())
    admin = Client(up["graphql"])
    viewer = await admin.sign_in(next(o for o in up["operators"] if o["role"] == "ADMIN"))
    print(f"signed in to {viewer['tenant']['name']} as {viewer['operator']['name']} ({viewer['operator']['role']})")
    mark = secrets.token_hex(3)
    await create_all(admin, up, mark)
    await look(admin, mark)
    await misuse(admin, up, mark)
    print(f"\n{'everything came out as expected' if not unexpected else f'unexpected: {unexpected}'}")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
