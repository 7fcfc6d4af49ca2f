"""The playground: what is served of it, and a browser that uses it."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, async_playwright

from ispgraph.api import create_api, playground
from tests import toy_schema
from tests.operations import collection
from tests.product import Product
from tests.toy_schema import ToyTokens

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PHONE = {"width": 390, "height": 844}


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], httpx.AsyncClient]]:
    """An API that finds its playground in `tmp_path`, as it is when the client is made."""
    monkeypatch.setattr(playground, "BUILT", tmp_path)
    tokens, made = ToyTokens(toy_schema.settings()), []

    def make() -> httpx.AsyncClient:
        app = create_api(toy_schema.build(), tokens.settings, tokens.context)
        made.append(httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test"))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def test_without_a_build_it_is_one_page_without_foreign_addresses(
    client: Callable[[], httpx.AsyncClient],
) -> None:
    api = client()
    answer = await api.get("/graphql", headers=HTML)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "https://" not in answer.text
    assert "//" not in answer.text.replace("// ", "")
    nonce = answer.text.split('<script nonce="')[1].split('"')[0]
    assert f"script-src 'nonce-{nonce}'" in answer.headers["content-security-policy"]
    assert (await api.get("/graphql", headers=HTML)).text != answer.text
    queried = await api.get("/graphql", params={"query": "{ hello }"}, headers={"Accept": "text/html,*/*"})
    assert queried.json() == {"data": {"hello": "world"}}
    assert (await api.get("/playground/assets/index.js")).status_code == 404
    assert (await api.get("/")).headers["location"] == "/graphql"


async def test_what_was_built_is_served_and_nothing_else(
    client: Callable[[], httpx.AsyncClient], tmp_path: Path
) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>built</title>")
    (tmp_path / "licenses.md").write_text("of others")
    (tmp_path / "assets/index-1.js").write_text("let all = 1")
    (tmp_path / "assets/index-1.js.gz").write_bytes(b"\x1f\x8b packed")
    (tmp_path / "assets/icons-1.ttf").write_bytes(b"font")
    api = client()
    page = await api.get("/graphql", headers=HTML)
    assert "built" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert (page.headers["cache-control"], page.headers["vary"]) == ("no-cache", "Accept")
    again = await api.get("/graphql", headers={**HTML, "If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await api.post("/graphql", json={"query": "{ hello }"})).json() == {"data": {"hello": "world"}}
    refused = await api.get("/graphql", headers={"Accept": "application/json"})
    assert refused.headers["content-type"].startswith("application/json")

    plain = await api.get("/playground/assets/index-1.js", headers={"Accept-Encoding": "identity"})
    assert plain.text == "let all = 1"
    assert re.match("(text|application)/javascript", plain.headers["content-type"])
    assert "immutable" in plain.headers["cache-control"]
    known = {"If-None-Match": plain.headers["etag"]}
    assert (await api.get("/playground/assets/index-1.js", headers=known)).status_code == 304
    async with api.stream("GET", "/playground/assets/index-1.js") as packed:
        assert packed.headers["content-encoding"] == "gzip"
        assert b"".join([part async for part in packed.aiter_raw()]) == b"\x1f\x8b packed"
    assert (await api.get("/playground/assets/icons-1.ttf")).content == b"font"
    for path in ("index-1.js.gz", "absent.js", "..%2flicenses.md", "%2e%2e/index.html", "../../licenses.md"):
        assert (await api.get(f"/playground/assets/{path}")).status_code == 404


@pytest.fixture
def product(data: Path) -> Iterator[Product]:
    running = Product(data).start()
    yield running
    assert running.stop() == 0


class Clerk:
    """Somebody at the playground, by a browser that reaches this machine only."""

    def __init__(self, page: Page, product: Product, pictures: Path) -> None:
        self.page, self.up, self.pictures = page, product.up, pictures
        self.complaints: list[str] = []
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        # What is under way when the page is left is broken off.
        page.on(
            "requestfailed",
            lambda failed: (
                None
                if failed.failure == "net::ERR_ABORTED"
                else self.complaints.append(f"{failed.url} {failed.failure}")
            ),
        )

    async def sign_in(self) -> None:
        who = self.up["operators"][0]
        await self.page.get_by_label("E-mail").fill(who["email"])
        await self.page.get_by_label("Password").fill(who["password"])
        await self.page.get_by_label("Provider").fill(who["tenant"])
        await self.page.locator("dialog").get_by_role("button", name="Sign in").click()
        await self.page.get_by_role("button", name="Sign out").wait_for()

    async def choose(self, path: str) -> None:
        title = collection()[path].title
        await self.page.get_by_label("Search operations").fill(title)
        await self.page.locator(".operations li > button").get_by_text(title, exact=True).click()

    async def carry_out(self, path: str) -> Any:
        """Run an operation of the collection as it stands; the value of its root field."""
        await self.choose(path)
        async with self.page.expect_response(
            lambda answer: (
                answer.request.method == "POST" and "IntrospectionQuery" not in (answer.request.post_data or "")
            )
        ) as coming:
            await self.page.locator(".graphiql-execute-button").click()
        answer = json.loads(await (await coming.value).text())
        assert "errors" not in answer, (path, answer)
        (value,) = answer["data"].values()
        assert isinstance(value, list) or value.get("errors", []) == [], (path, value)
        return value

    async def answer(self) -> str:
        return str(await self.page.locator(".graphiql-response .view-lines").inner_text()).replace("\xa0", " ")

    async def picture(self, name: str) -> None:
        self.pictures.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=self.pictures / f"playground-{name}.png")


@asynccontextmanager
async def clerk_of(product: Product, pictures: Path, **options: Any) -> AsyncIterator[Clerk]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        context = await browser.new_context(**options)
        clerk = Clerk(await context.new_page(), product, pictures)
        await clerk.page.goto(product.up["playground"])
        yield clerk
        assert clerk.complaints == []
        await browser.close()


@pytest.mark.long
@pytest.mark.npm
@pytest.mark.chromium
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.skipif(
    not playground.BUILT.is_dir(), reason="needs Node.js, npm ci and npm run build in ispgraph/playground"
)
async def test_a_browser_signs_in_walks_the_wizard_and_watches(product: Product, tmp_path: Path) -> None:
    pictures = Path(os.environ.get("ISPGRAPH_SCREENSHOTS", tmp_path))
    async with clerk_of(product, pictures, viewport={"width": 1400, "height": 900}) as clerk:
        page = clerk.page
        await page.get_by_label("E-mail").wait_for()
        await clerk.picture("1-sign-in")
        await clerk.sign_in()
        # The wizard, by the variables that are filled in from the answers.
        for step in ("03-wizard/1-start", "03-wizard/2-basics", "03-wizard/3-connection-pppoe", "06-catalogue/packages",
                     "03-wizard/4-package", "06-catalogue/zones", "03-wizard/5-address", "03-wizard/6-custom-fields",
                     "03-wizard/7-payment"):  # fmt: skip
            await clerk.carry_out(step)
        review = await clerk.carry_out("03-wizard/8-review")
        assert review["review"]["ready"] is True
        made = await clerk.carry_out("03-wizard/9-confirm")
        assert made["customer"]["name"] == "Juniper Example"
        assert made["credentials"]["password"]
        await clerk.picture("2-confirmed")
        # Live usage, over the WebSocket, of somebody who is on line.
        await clerk.carry_out("13-watching/who-is-on-line")
        await clerk.choose("13-watching/live-usage")
        await page.locator(".graphiql-execute-button").click()
        await page.locator(".graphiql-response").get_by_text("ROUTER").wait_for(timeout=20_000)
        before = await clerk.answer()
        assert re.search(r'"online":\s*true', before)
        for _ in range(100):
            if await clerk.answer() != before:
                break
            await asyncio.sleep(0.1)
        assert await clerk.answer() != before
        await clerk.picture("3-live")
        # The sign-in outlives a reload, and ends when it is ended.
        await page.reload()
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_role("button", name="Sign in").first.wait_for()
        assert await page.evaluate("sessionStorage.getItem('ispgraph.token')") is None
    async with clerk_of(product, pictures, viewport=PHONE, is_mobile=True, has_touch=True) as clerk:
        await clerk.sign_in()
        await clerk.carry_out("02-customers/stats")
        assert await clerk.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        await clerk.page.locator(".graphiql-response").scroll_into_view_if_needed()
        await clerk.picture("4-phone")
