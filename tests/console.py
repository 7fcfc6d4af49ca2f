"""Somebody at the console of examples/console, by a browser."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page, async_playwright, expect

from tests.product import Product
from tests.servers import ROOT

CONSOLE = ROOT / "examples/console"
PHONE = {"width": 375, "height": 800}

# How long the page may take, on a machine that has much to do besides.
SECONDS = 60
expect.set_options(timeout=SECONDS * 1000)


class Clerk:
    """Somebody at the console, by a browser that reaches this machine only."""

    def __init__(self, page: Page, product: Product, name: str, pictures: Path) -> None:
        self.page, self.up, self.name, self.pictures = page, product.up, name, pictures
        self.wide = (page.viewport_size or PHONE)["width"] > PHONE["width"]
        self.complaints: list[str] = []
        page.set_default_timeout(SECONDS * 1000)
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def button(self, name: str, within: Page | Locator | None = None) -> Locator:
        return (within or self.page).get_by_role("button", name=name, exact=True)

    def field(self, name: str) -> Locator:
        return self.page.get_by_label(name, exact=True)

    def fact(self, name: str) -> Locator:
        return self.page.locator(f'.facts > div:has(dt:text-is("{name}")) dd')

    def choice(self, name: str) -> Locator:
        return self.page.get_by_role("combobox", name=name, exact=True)

    async def sign_in(self, password: str | None = None) -> None:
        who = self.up["operators"][0]
        await self.field("E-mail").fill(who["email"])
        await self.field("Password").fill(password or who["password"])
        await self.field("Provider").fill(who["tenant"])
        await self.button("Sign in").click()

    async def rows(self) -> list[str]:
        return await self.page.locator(".page > [aria-busy=false] tbody tr td:first-child").all_inner_texts()

    async def look(self, name: str) -> None:
        """A picture; nothing that axe finds, in light and in dark, and nothing wider than the screen."""
        await self.page.wait_for_timeout(150)
        assert await self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        if not await self.page.evaluate("'axe' in window"):
            await self.page.add_script_tag(path=CONSOLE / "node_modules/axe-core/axe.min.js")
        # The telephone is pictured in the dark.
        for scheme in ("dark", "light") if self.wide else ("light", "dark"):
            await self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            wrong = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]]
            assert wrong == [], (name, scheme)
        self.pictures.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=self.pictures / f"console-{self.name}-{name}.png", full_page=True)


@asynccontextmanager
async def clerk_of(product: Product, url: str, name: str, pictures: Path, **options: Any) -> AsyncIterator[Clerk]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        context = await browser.new_context(**options)
        clerk = Clerk(await context.new_page(), product, name, pictures)
        await clerk.page.goto(url)
        yield clerk
        assert clerk.complaints == []
        await browser.close()
