"""A branded customer from the first form to the last: begun by one operator, brought to its end by another.

    ispgraph up --demo               in one terminal
    python examples/onboard.py       in another        (--up names an up.json elsewhere)

The hosting panel is down when Ada, on her laptop, makes a customer with a hosting account and a portal: the customer is
there, and the account says what it waits for. She closes the laptop. Max finds the portal in the list of those that
are incomplete, sends its pictures, of which one was cut off on the way, and sends that one again. He makes somebody the
portal's admin: the invitation comes by e-mail, its link opens, and the portal can be seen. The panel comes back, and
the account is made, once.

The mail server is a double that runs inside of this program. It needs httpx and aiosmtpd and nothing of ispgraph. It
exits with 0 only if everything came out as expected.
"""

import asyncio
import json
import re
import secrets
import socket
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any

import httpx
from aiosmtpd.controller import Controller
from demo import Isp, expect, run

PATIENCE = 120.0
STATE = """id subdomain displayName active status completedSteps nextStep progressPercent createdBy { name }
  customer { id name } lastModifiedBy { name } admin { email invitations }
  assets { kind status error attempts failures width height url } log { step kind succeeded error by }"""
CREATE = """mutation Create($input: CustomerCreateInput!) { customerCreate(input: $input) {
  customer { id name accountNumber } hostingAccount { id status error } errors { code message field } } }"""
SAVE = f"""mutation Save($input: PortalInput!) {{ portalSave(input: $input) {{
  portal {{ {STATE} }} errors {{ code message field }} }} }}"""
DRAFTS = f"query Drafts {{ portalDrafts(first: 50) {{ nodes {{ {STATE} }} }} }}"
UPLOAD = f"""mutation Upload($customer: ID!, $assets: [PortalAssetInput!]!) {{
  portalUploadAssets(customerId: $customer, assets: $assets) {{
  assets {{ kind status error attempts failures }} portal {{ {STATE} }} errors {{ code message field }} }} }}"""
INVITE = f"""mutation Invite($input: PortalAdminInput!) {{ portalCreateAdmin(input: $input) {{
  portal {{ {STATE} }} errors {{ code message field }} }} }}"""
ACCOUNT = """query Account($id: ID!) { node(id: $id) { ... on HostingAccount { id username status error externalId
  server { name online problem } } } }"""
RETRY = "mutation Retry($id: ID!) { hostingRetry(accountId: $id) { account { status } errors { message field } } }"
KNOWN = "query Known { gateways(kind: EMAIL, first: 50) { nodes { id name } } }"
GATEWAY = "mutation Save($input: GatewayInput!) { gatewaySave(input: $input) { gateway { id } errors { message } } }"


@dataclass
class Mailbox:
    """What came for whom."""

    letters: list[tuple[str, str]] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """As aiosmtpd calls it."""
        part = message_from_bytes(envelope.content, policy=policy.default).get_body(preferencelist=("plain",))
        self.letters.append((envelope.rcpt_tos[0], part.get_content() if part else ""))
        return "250 taken"


class Panel:
    """The demo's hosting panel, by its control."""

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)

    async def turn(self, way: str) -> None:
        """Have it be `up` or `down`."""
        (await self.http.post(f"/{way}")).raise_for_status()

    async def named(self, username: str) -> list[dict[str, Any]]:
        """The accounts of this name that the panel has."""
        found = (await self.http.get("/")).raise_for_status().json()["accounts"]
        return [one for one in found if one["username"] == username]


class Office(Isp):
    """The API, as one operator at one device."""

    async def does(self, document: str, **variables: Any) -> dict[str, Any]:
        """A mutation that must not be refused: its payload."""
        (payload,) = (await self.ask(document, **variables)).values()
        if payload["errors"]:
            raise SystemExit(f"unexpected: {payload['errors']}")
        found: dict[str, Any] = payload
        return found

    async def upload(self, customer: str, **pictures: bytes) -> dict[str, Any]:
        """Send pictures by kind, as the GraphQL multipart request specification has it."""
        kinds = [{"kind": kind, "file": None} for kind in pictures]
        sent = {"query": UPLOAD, "variables": {"customer": customer, "assets": kinds}}
        where = {str(place): [f"variables.assets.{place}.file"] for place in range(len(kinds))}
        files = {str(place): (f"{kind}.png".lower(), body) for place, (kind, body) in enumerate(pictures.items())}
        answer = await self.http.post(
            self.up["graphql"],
            data={"operations": json.dumps(sent), "map": json.dumps(where)},
            files=files,
            headers={"Authorization": f"Bearer {self.token}"},
        )
        found: dict[str, Any] = answer.json()["data"]["portalUploadAssets"]
        return found

    async def close(self) -> None:
        """Shut the device: nothing of it is left but what the API keeps."""
        await self.http.aclose()


def png(width: int, height: int, color: tuple[int, int, int]) -> bytes:
    """A picture of one colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = (b"\0" + bytes(color) * width) * height
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


async def eventually(true: Callable[[], Awaitable[bool]]) -> bool:
    """Whether something becomes true in time."""
    for _ in range(int(PATIENCE / 0.5)):
        if await true():
            return True
        await asyncio.sleep(0.5)
    return False


def told(portal: dict[str, Any]) -> str:
    """How a portal stands, in a line."""
    steps = ", ".join(step.lower() for step in portal["completedSteps"]) or "nothing"
    then = f"next {portal['nextStep'].lower()}" if portal["nextStep"] else "complete"
    return f"{portal['subdomain']} {portal['status']}, {portal['progressPercent']} %: {steps} done, {then}"


async def account_of(isp: Office, key: str) -> dict[str, Any]:
    """A hosting account as the API has it."""
    found: dict[str, Any] = (await isp.ask(ACCOUNT, id=key))["node"]
    return found


async def begun(up: dict[str, Any], panel: Panel, word: str) -> tuple[str, str]:
    """The customer and the portal, with the panel down; the ids of the customer and of the hosting account."""
    ada = Office(up)
    await ada.sign_in("ADMIN")
    await panel.turn("down")
    print("\nThe panel is down. Ada makes a customer with a hosting account")
    wish = {"username": f"acme{word}", "password": secrets.token_urlsafe(12)}
    given = {"name": f"Acme {word}", "mobile": "01712345678", "email": f"office-{word}@acme.example", "hosting": wish}
    made = await ada.does(CREATE, input={**given, "idempotencyKey": f"acme-{word}"})
    customer, account = made["customer"], made["hostingAccount"]
    expect(customer is not None, f"the customer is there: {customer['name']}, {customer['accountNumber']}")

    async def complains() -> bool:
        return bool((await account_of(ada, account["id"]))["error"])

    expect(await eventually(complains), "the account is not, and says why")
    account = await account_of(ada, account["id"])
    print(f"      {account['status']}: {account['error']}")
    again = await ada.does(CREATE, input={**given, "idempotencyKey": f"acme-{word}"})
    expect(again["customer"]["id"] == customer["id"], "sent again with the same key, there is still one customer")

    portal = {"customerId": customer["id"], "subdomain": f"acme-{word}", "displayName": "Acme", "theme": "#0a58ca"}
    saved = (await ada.does(SAVE, input=portal))["portal"]
    expect(saved["nextStep"] == "ASSETS", f"its portal is begun: {told(saved)}")
    await ada.close()
    print("  Ada closes the laptop")
    return customer["id"], account["id"]


async def resumed(max_: Office, customer: str) -> None:
    """The pictures, by somebody else."""
    print("\nMax looks for what is incomplete")
    found = (await max_.ask(DRAFTS))["portalDrafts"]["nodes"]
    portal = next(one for one in found if one["customer"]["id"] == customer)
    expect(portal["completedSteps"] == ["BRANDING"], f"there it is, by {portal['createdBy']['name']}: {told(portal)}")
    whole = png(600, 200, (10, 88, 202))
    sent = await max_.upload(customer, LOGO=whole[: len(whole) // 2], ICON=png(64, 64, (10, 88, 202)))
    logo, icon = sent["assets"]
    expect(
        (logo["status"], icon["status"]) == ("FAILED", "UPLOADED"), "of two pictures the icon came, the logo did not"
    )
    print(f"      LOGO: {logo['error']}")
    expect("ASSETS" not in sent["portal"]["completedSteps"], told(sent["portal"]))
    sent = await max_.upload(customer, LOGO=whole)
    (logo,) = sent["assets"]
    tries = f"{logo['attempts']} attempts, {logo['failures']} failed"
    expect(logo["status"] == "UPLOADED", f"the logo is sent again, alone: {tries}")
    expect("ASSETS" in sent["portal"]["completedSteps"], told(sent["portal"]))


async def invited(max_: Office, mail: Mailbox, customer: str, word: str) -> None:
    """The admin of the portal."""
    print("\nMax makes somebody the admin of the portal")
    email = f"carol-{word}@acme.example"
    given = {"customerId": customer, "name": "Carol Example", "email": email, "idempotencyKey": f"carol-{word}"}
    portal = (await max_.does(INVITE, input=given))["portal"]
    expect((portal["nextStep"], portal["active"]) == (None, True), f"with that all is done: {told(portal)}")

    async def came() -> bool:
        return any(to == email for to, _ in mail.letters)

    expect(await eventually(came), "the invitation came by e-mail")
    letter = next((text for to, text in mail.letters if to == email), "")
    link = re.search(r"https?://\S+", letter)
    expect(link is not None, "with a link")
    async with httpx.AsyncClient(trust_env=False, timeout=30) as carol:
        if link is not None:
            print(f"      {link[0][:70]}…")
            expect((await carol.get(link[0])).status_code == 200, "which opens")
        origin = max_.up["graphql"].removesuffix("/graphql")
        shown = await carol.get(f"{origin}/portals/{portal['subdomain']}")
        seen = shown.json()
        expect(shown.status_code == 200, f"everybody can see the portal now: {json.dumps(seen)[:60]}…")
    by = {entry["by"] for entry in portal["log"]}
    failed = [entry for entry in portal["log"] if not entry["succeeded"]]
    expect((len(by), len(failed)) == (2, 1), "its log names both operators, and the attempt that failed")


async def hosted(max_: Office, panel: Panel, account: str, word: str) -> None:
    """The panel is back."""
    print("\nThe panel comes back")
    ada = Office(max_.up)
    await ada.sign_in("ADMIN")
    before = await account_of(ada, account)
    expect(before["status"] != "ACTIVE", f"until now: {before['status']}, {before['error']}")
    await panel.turn("up")
    await ada.does(RETRY, id=account)

    async def active() -> bool:
        return bool((await account_of(ada, account))["status"] == "ACTIVE")

    expect(await eventually(active), "the account is made")
    now, there = await account_of(ada, account), await panel.named(f"acme{word}")
    expect(now["error"] is None, "nothing is said against it any more")
    expect([str(one["id"]) for one in there] == [now["externalId"]], "the panel has it, once")
    await ada.close()


async def tour(up: dict[str, Any]) -> None:
    """All of it, with a new customer."""
    word, mail = secrets.token_hex(3), Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(mail, hostname="127.0.0.1", port=port)
    server.start()
    panel, max_ = Panel(up["hosting"]["control"]), Office(up)
    try:
        await posted(up, port)
        customer, account = await begun(up, panel, word)
        await max_.sign_in("MANAGER")
        await resumed(max_, customer)
        await invited(max_, mail, customer, word)
        await hosted(max_, panel, account, word)
    finally:
        await panel.turn("up")
        server.stop()


async def posted(up: dict[str, Any], port: int) -> None:
    """Have the product send its e-mails here."""
    isp = Office(up)
    await isp.sign_in("ADMIN")
    known = (await isp.ask(KNOWN))["gateways"]["nodes"]
    former = next((row["id"] for row in known if row["name"] == "Mail"), None)
    settings = {"host": "127.0.0.1", "port": str(port), "security": "none", "sender": "Demo <desk@demo.example>"}
    values = [{"name": name, "value": value} for name, value in settings.items()]
    named = {"id": former} if former else {"kind": "EMAIL", "provider": "smtp", "name": "Mail"}
    await isp.does(GATEWAY, input={**named, "settings": values, "active": True, "position": 0})
    await isp.close()


if __name__ == "__main__":
    sys.exit(run(tour, __doc__))
