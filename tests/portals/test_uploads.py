"""Files by the multipart request specification, and everything that is no such file."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from ispgraph.api import uploads
from ispgraph.domain.models import AssetKind
from ispgraph.domain.portals import pictures
from ispgraph.domain.values import Unfit
from tests.api import Api
from tests.portals.studio import (
    UPLOAD,
    Studio,
    frames,
    gif_bomb,
    hollow_png,
    icon_around,
    of,
    opened,
    picture,
    webp_claiming,
)
from tests.wizard import faults

MEGABYTE = 1024 * 1024
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
TOO_MANY = "This picture has too many pixels: at most 25 million, and 10000 to a side."
BROKEN = "This picture is broken: it cannot be read to its end."


@pytest.mark.parametrize(
    ("kind", "size", "sent", "kept"),
    [
        (AssetKind.LOGO, "PNG", (1200, 300), (300, 75)),
        (AssetKind.LOGO, "GIF", (100, 600), (25, 150)),
        (AssetKind.LOGO, "WEBP", (40, 30), (40, 30)),
        (AssetKind.BACKGROUND, "JPEG", (4000, 3000), (1920, 1080)),
        (AssetKind.BACKGROUND, "PNG", (64, 64), (1920, 1080)),
        (AssetKind.ICON, "ICO", (256, 256), (64, 64)),
        (AssetKind.ICON, "PNG", (10, 200), (64, 64)),
    ],
)
def test_pictures_are_drawn_to_their_form(
    kind: AssetKind, size: str, sent: tuple[int, int], kept: tuple[int, int]
) -> None:
    made = pictures.drawn(kind, picture(size, sent))
    seen = opened(made.body)
    assert (seen.format, seen.size, (made.width, made.height)) == ("WEBP", kept, kept)


def test_an_icon_stands_in_the_middle_of_nothing() -> None:
    seen = opened(pictures.drawn(AssetKind.ICON, picture(size=(10, 200))).body).convert("RGBA")
    assert seen.getpixel((0, 32))[3] == 0  # type: ignore[index]
    assert seen.getpixel((32, 32))[3] == 255  # type: ignore[index]


def test_of_an_animation_the_first_picture_is_kept() -> None:
    seen = opened(pictures.drawn(AssetKind.LOGO, frames(40)).body)
    assert getattr(seen, "n_frames", 1) == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "This file is empty."),
        (SVG, "This is no picture of these kinds: PNG, JPEG, WEBP, GIF, ICO."),
        (b"<!doctype html><script>alert(1)</script>", "This is no picture of these kinds: PNG, JPEG, WEBP, GIF, ICO."),
        (picture("BMP"), "This is no picture of these kinds: PNG, JPEG, WEBP, GIF, ICO."),
        (picture("TIFF"), "This is no picture of these kinds: PNG, JPEG, WEBP, GIF, ICO."),
        (hollow_png(30_000, 30_000), TOO_MANY),
        (hollow_png(10_001, 1), TOO_MANY),
        (gif_bomb(65_000), TOO_MANY),
        (webp_claiming(16_000, 16_000), TOO_MANY),
        (icon_around(hollow_png(30_000, 30_000)), "A picture in an icon has at most 1024 by 1024 pixels."),
        (b"\0\0\1\0\xff\xff" + bytes(100), BROKEN),
        (hollow_png(100, 100), BROKEN),
        (picture("JPEG")[:400], BROKEN),
        (webp_claiming(20, 20), BROKEN),
    ],
    ids=[
        "empty",
        "svg",
        "html",
        "bmp",
        "tiff",
        "pixels",
        "side",
        "gif",
        "webp",
        "ico",
        "ico-many",
        "png",
        "jpeg",
        "cut",
    ],
)
def test_what_is_no_picture_is_told(body: bytes, error: str) -> None:
    with pytest.raises(Unfit) as told:
        pictures.drawn(AssetKind.ICON, body)
    assert str(told.value) == error


async def test_one_that_is_too_large_leaves_the_others_alone(studio: Studio) -> None:
    await studio.save()
    heavy = picture() + bytes(6 * MEGABYTE)
    made = await studio.upload(logo=heavy, icon=SVG, background=picture("JPEG") + bytes(9 * MEGABYTE))
    assert [asset["status"] for asset in made["assets"]] == ["FAILED", "FAILED", "UPLOADED"]
    assert of(made, "LOGO")["error"] == "This file is too large: it may have at most 5 MB."
    again = await studio.upload(logo=picture() + bytes(4 * MEGABYTE))
    logo = again["assets"][0]
    assert (logo["status"], logo["error"], logo["attempts"], logo["failures"]) == ("UPLOADED", None, 2, 1)
    # What is shown stays when another one fails, and says so.
    failed = (await studio.upload(logo=b"no"))["assets"][0]
    assert (failed["status"], failed["url"], failed["failures"]) == ("FAILED", logo["url"], 2)
    assert (failed["width"], failed["sizeBytes"]) == (logo["width"], logo["sizeBytes"])


async def test_what_cannot_be_begun(studio: Studio, api: Api) -> None:
    assert faults(await studio.upload(logo=picture())) == [("INVALID_STATE", "customerId")]
    await studio.save()
    twice = {"customer": studio.customer, "assets": [{"kind": "LOGO", "file": None}] * 2}
    places = {"a": ["variables.assets.0.file", "variables.assets.1.file"]}
    answer = await studio.form({"query": UPLOAD, "variables": twice}, places, {"a": ("a", picture())})
    assert faults(answer.json()["data"]["portalUploadAssets"]) == [("INVALID", "assets.1.kind")]
    none = await api.data(UPLOAD, studio.who, customer=studio.customer, assets=[])
    assert faults(none["portalUploadAssets"]) == [("REQUIRED", "assets")]
    # Without a form there is no file.
    for file in ("a text", {"name": "x"}, 7):
        found = await api(UPLOAD, studio.who, customer=studio.customer, assets=[{"kind": "LOGO", "file": file}])
        assert "must be a file of a multipart request" in found["errors"][0]["message"]


async def test_one_file_may_stand_in_two_places(studio: Studio) -> None:
    await studio.save()
    kinds = [{"kind": kind, "file": None} for kind in ("LOGO", "ICON")]
    places = {"a": ["variables.assets.0.file", "variables.assets.1.file"]}
    answer = await studio.form(
        {"query": UPLOAD, "variables": {"customer": studio.customer, "assets": kinds}},
        places,
        {"a": ("a", picture())},
    )
    made = answer.json()["data"]["portalUploadAssets"]
    assert [(asset["kind"], asset["status"]) for asset in made["assets"]] == [
        ("LOGO", "UPLOADED"),
        ("ICON", "UPLOADED"),
    ]


ONE = {"query": "{ viewer { id } }", "variables": {"file": None, "list": [None], "taken": 1}}
FILE = {"0": ("a.png", b"x", "image/png")}


_WRONG: list[tuple[Any, Any, Any, str]] = [
    (ONE, {"0": ["variables.other"]}, FILE, "must lead to a null"),
    (ONE, {"0": ["variables.taken"]}, FILE, "must lead to a null"),
    (ONE, {"0": ["variables.list.1"]}, FILE, "must lead to a null"),
    (ONE, {"0": ["variables.list.-1"]}, FILE, "must lead to a null"),
    (ONE, {"0": ["variables.list.00"]}, FILE, "must lead to a null"),
    (ONE, {"0": ["variables.list.0.x"]}, FILE, "must lead to a null"),
    (ONE, {"0": ["variables"]}, FILE, "must lead to a null"),
    (ONE, {"0": ["query"]}, FILE, "must lead to a null"),
    (ONE, {"0": ["extensions.x"]}, FILE, "must lead to a null"),
    (ONE, {"0": ["variables.file", "variables.file"]}, FILE, "must lead to a null"),
    (ONE, {"0": []}, FILE, "a list of paths"),
    (ONE, {"0": "variables.file"}, FILE, "a list of paths"),
    (ONE, {"0": [7]}, FILE, "a list of paths"),
    (ONE, {"1": ["variables.file"]}, FILE, "must name every file"),
    (ONE, {"0": ["variables.file"], "1": ["variables.list.0"]}, FILE, "must name every file"),
    (ONE, {}, FILE, "must name every file"),
    (ONE, [], FILE, "must be JSON objects"),
    ([ONE], {"0": ["0.variables.file"]}, FILE, "batches are not accepted"),
    ("no", {"0": ["variables.file"]}, FILE, "must be JSON objects"),
    ({"variables": {"file": None}}, {"0": ["variables.file"]}, FILE, "`query` must be"),
    (ONE, {"0": ["variables.file"]}, {str(n): ("a", b"x") for n in range(6)}, "Too many files"),
    (ONE, {"0": ["variables.file"]}, {"0": ("a", b"x"), "map": ("b", b"{}")}, "one field `map`"),
    ({**ONE, "x": "y" * 300_000}, {"0": ["variables.file"]}, FILE, "exceeded maximum size"),
]


async def test_forms_that_are_wrong_are_refused(studio: Studio) -> None:
    for operations, places, files, said in _WRONG:
        answer = await studio.form(operations, places, files)
        assert answer.status_code == 400, answer.text
        assert said in answer.json()["errors"][0]["message"], (operations, places)


async def test_a_form_without_its_parts(studio: Studio, api: Api) -> None:
    token = {"Authorization": f"Bearer {await api.token(studio.who)}"}
    for data, files, said in (
        ({"map": "{}"}, FILE, "one field `operations`"),
        ({"operations": json.dumps(ONE)}, FILE, "one field `map`"),
        ({"operations": "{", "map": "{}"}, FILE, "not JSON"),
        ({"operations": '{"query": "{ viewer { id } }", "variables": {"x": "\\u0000"}}', "map": "{}"}, FILE, "NUL"),
    ):
        answer = await api.client.post("/graphql", data=data, files=files, headers=token)
        assert answer.status_code == 400
        assert said in answer.json()["errors"][0]["message"]
    headers = {**token, "Content-Type": "multipart/form-data"}
    answer = await api.client.post("/graphql", content=b"x", headers=headers)
    assert (answer.status_code, "boundary" in answer.text) == (400, True)


async def test_a_page_elsewhere_cannot_send_one(studio: Studio, api: Api) -> None:
    """What a form of a page can send without asking is refused before it is read; and nobody sends files unknown."""
    await studio.save()
    variables = {"customer": studio.customer, "assets": [{"kind": "LOGO", "file": None}]}
    sent = ({"query": UPLOAD, "variables": variables}, {"0": ["variables.assets.0.file"]}, FILE)
    simple = await studio.form(*sent, Accept="*/*")
    assert (simple.status_code, "GraphQL-Require-Preflight" in simple.text) == (415, True)
    unknown = await studio.form(*sent, **{"GraphQL-Require-Preflight": "1"})
    assert unknown.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    events = await studio.form(*sent, Accept="text/event-stream", Authorization=f"Bearer {await api.token(studio.who)}")
    assert events.status_code == 406
    token = f"Bearer {await api.token(studio.who)}"
    foreign = await studio.form(*sent, Authorization=token, Origin="https://elsewhere.example")
    assert foreign.status_code == 403
    assert of(await studio.read(), "LOGO")["attempts"] == 0


async def test_a_body_without_end_is_refused_while_it_comes(studio: Studio, api: Api) -> None:
    token = {"Authorization": f"Bearer {await api.token(studio.who)}"}
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    read = 0

    async def endless() -> Any:
        nonlocal read
        yield b'--x\r\nContent-Disposition: form-data; name="0"; filename="a"\r\n\r\n'
        while read < 4 * uploads.LARGEST_BODY:
            read += MEGABYTE
            yield bytes(MEGABYTE)

    answer = await api.client.post("/graphql", content=endless(), headers={**token, **kind})
    assert answer.status_code == 413
    length = {"Content-Length": str(uploads.LARGEST_BODY + 1)}
    announced = await api.client.post("/graphql", content=b"", headers={**token, **kind, **length})
    assert (announced.status_code, announced.headers["connection"]) == (413, "close")


async def test_an_upload_that_breaks_off_changes_nothing_and_is_sent_again(
    studio: Studio, api: Api, tmp_path: Path
) -> None:
    await studio.save()
    whole = httpx.Request(
        "POST",
        "http://test/graphql",
        data={"operations": "{}", "map": "{}"},
        files={"0": ("a", picture(size=(900, 900)) + bytes(2 * MEGABYTE))},
    )
    body = whole.read()
    sent: list[Message] = []
    parts: list[Message] = [
        {"type": "http.request", "body": body[: len(body) * 3 // 4], "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    token = f"Bearer {await api.token(studio.who)}"
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "query_string": b"",
        "scheme": "http",
        "http_version": "1.1",
        "server": ("test", 80),
        "client": ("127.0.0.1", 1),
        "headers": [
            (b"host", b"test"),
            (b"authorization", token.encode()),
            (b"content-type", whole.headers["content-type"].encode()),
        ],
    }
    call: tuple[Receive, Send] = (receive, send)
    await api.app(scope, *call)
    assert [message.get("status") for message in sent if message["type"] == "http.response.start"] == [400]
    logo = of(await studio.read(), "LOGO")
    assert (logo["status"], logo["attempts"]) == ("PENDING", 0)
    assert not list((tmp_path / "files").rglob("*"))
    assert (await studio.upload(logo=picture()))["assets"][0]["status"] == "UPLOADED"


async def test_of_two_uploads_at_once_one_is_shown(studio: Studio, tmp_path: Path) -> None:
    await studio.save()
    made = await asyncio.gather(*(studio.upload(logo=picture(size=(100 + n, 50))) for n in range(6)))
    assert all(payload["errors"] == [] for payload in made)
    logo = of(await studio.read(), "LOGO")
    assert (logo["status"], logo["attempts"]) == ("UPLOADED", 6)
    assert len(list((tmp_path / "files").rglob("*.webp"))) == 6
