"""Pictures, forms and documents for tests of portals."""

import io
import json
import struct
import zlib
from typing import Any

import httpx
from PIL import Image

from ispgraph import ids
from ispgraph.domain.models import Customer, Operator
from tests.api import Api

PORTAL = """id subdomain displayName subtitle theme active version status completedSteps nextStep progressPercent
  expiresAt finishedAt createdBy { email } lastModifiedBy { email } customer { accountNumber }
  assets { kind status url error attempts failures width height sizeBytes contentType uploadedAt }
  admin { name email invitationSentAt invitationExpiresAt invitations }
  log { step kind succeeded error by }"""
SAVE = f"""mutation ($input: PortalInput!) {{ portalSave(input: $input) {{ portal {{ {PORTAL} }}
  errors {{ code message field }} }} }}"""
ADMIN = f"""mutation ($input: PortalAdminInput!) {{ portalCreateAdmin(input: $input) {{ portal {{ {PORTAL} }}
  errors {{ code message field }} }} }}"""
UPLOAD = f"""mutation ($customer: ID!, $assets: [PortalAssetInput!]!) {{
  portalUploadAssets(customerId: $customer, assets: $assets) {{
  assets {{ kind status url error attempts failures width height sizeBytes contentType uploadedAt }}
  portal {{ {PORTAL} }} errors {{ code message field }} }} }}"""
DRAFTS = f"""query ($status: [DraftStatus!], $mine: Boolean) {{ portalDrafts(status: $status, mine: $mine) {{
  totalCount nodes {{ {PORTAL} }} }} }}"""
READ = f"query ($id: ID!) {{ customer(by: {{id: $id}}) {{ portal {{ {PORTAL} }} }} }}"
DISCARD = """mutation ($id: ID!) { portalDiscard(customerId: $id) { portal { id } errors { code field } } }"""


def picture(kind: str = "PNG", size: tuple[int, int] = (400, 300), mode: str = "RGB", **options: Any) -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new(mode, size, (200, 30, 40, 128)[: len(mode)]).save(out, kind, **options)
    return out.getvalue()


def opened(body: bytes) -> Image.Image:
    """What a file shows."""
    return Image.open(io.BytesIO(body))


def hollow_png(width: int, height: int) -> bytes:
    """A PNG file of a few bytes that claims to have so many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def gif_bomb(side: int) -> bytes:
    """A GIF file of a few bytes whose screen and frame claim to have such sides."""
    screen = b"GIF89a" + struct.pack("<HH", side, side) + b"\0\0\0"
    return screen + b"," + struct.pack("<HHHH", 0, 0, side, side) + b"\0\x02\x02L\x01\0;"


def frames(count: int) -> bytes:
    """A GIF file of many frames."""
    out = io.BytesIO()
    shown = [Image.new("P", (300, 200), number % 250) for number in range(count)]
    shown[0].save(out, "GIF", save_all=True, append_images=shown[1:])
    return out.getvalue()


def icon_around(inner: bytes) -> bytes:
    """A Windows icon that holds a PNG file, and says nothing of its size."""
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22) + inner


def webp_claiming(width: int, height: int) -> bytes:
    """The beginning of a WebP file that claims such a size."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + canvas


class Studio:
    """The portal of one customer, worked on by one operator at a time."""

    def __init__(self, api: Api, who: Operator, customer: Customer) -> None:
        self.api, self.who = api, who
        self.customer = ids.encode("cus", customer.id)

    def by(self, who: Operator) -> "Studio":
        """The same in the hands of somebody else."""
        other = Studio.__new__(Studio)
        other.api, other.who, other.customer = self.api, who, self.customer
        return other

    async def save(self, subdomain: str = "acme", **given: Any) -> dict[str, Any]:
        wish = {"customerId": self.customer, "subdomain": subdomain, "displayName": "Acme Cafe"} | given
        return await self._payload("portalSave", SAVE, input=wish)

    async def invite(self, email: str = "owner@acme.example", **given: Any) -> dict[str, Any]:
        wish = {"customerId": self.customer, "name": "Olive Owner", "email": email} | given
        return await self._payload("portalCreateAdmin", ADMIN, input=wish)

    async def discard(self) -> dict[str, Any]:
        return await self._payload("portalDiscard", DISCARD, id=self.customer)

    async def read(self) -> Any:
        return (await self.api.data(READ, self.who, id=self.customer))["customer"]["portal"]

    async def upload(self, **pictures: bytes) -> dict[str, Any]:
        """Upload pictures by the names of their kinds; the payload."""
        answer = await self.post(**pictures)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert "errors" not in found, found["errors"]
        payload: dict[str, Any] = found["data"]["portalUploadAssets"]
        return payload

    async def post(self, **pictures: bytes) -> httpx.Response:
        """The same; the whole answer."""
        kinds = list(pictures)
        variables = {"customer": self.customer, "assets": [{"kind": kind.upper(), "file": None} for kind in kinds]}
        places = {str(number): [f"variables.assets.{number}.file"] for number in range(len(kinds))}
        files = {str(number): (f"{kind}.png", pictures[kind], "image/png") for number, kind in enumerate(kinds)}
        return await self.form({"query": UPLOAD, "variables": variables}, places, files)

    async def form(self, operations: Any, places: Any, files: Any, **headers: str) -> httpx.Response:
        """A multipart request as given."""
        sent = {"operations": json.dumps(operations), "map": json.dumps(places)}
        signed = headers or {"Authorization": f"Bearer {await self.api.token(self.who)}"}
        return await self.api.client.post("/graphql", data=sent, files=files, headers=signed)

    async def _payload(self, field: str, document: str, **variables: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api.data(document, self.who, **variables))[field]
        return found


def of(payload: dict[str, Any], kind: str) -> dict[str, Any]:
    """The picture of a kind in a payload, or in a portal."""
    (found,) = [asset for asset in payload["assets"] if asset["kind"] == kind]
    return dict(found)
