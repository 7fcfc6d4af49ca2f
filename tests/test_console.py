"""The console of examples/console: that it fits the schema, and a browser that works with it."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from graphql import build_schema, parse, validate
from playwright.async_api import expect

from ispgraph.up.ports import free_port
from tests.console import CONSOLE, PHONE, Clerk, clerk_of
from tests.product import Product
from tests.servers import ROOT

needs_npm = pytest.mark.skipif(
    shutil.which("npm") is None or not (CONSOLE / "node_modules").is_dir(),
    reason="needs Node.js and npm ci in examples/console",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The console beside a schema that may be changed."""
    shutil.copytree(ROOT / "examples/operations", tmp_path / "examples/operations")
    console = tmp_path / "examples/console"
    shutil.copytree(CONSOLE, console, ignore=shutil.ignore_patterns("node_modules", "gql", "dist"))
    (console / "node_modules").symlink_to(CONSOLE / "node_modules")
    shutil.copy(ROOT / "schema.graphql", tmp_path)
    return console


def check(console: Path, change: tuple[str, str] | None = None) -> str:
    """What codegen and the compiler have against the console, with one thing changed in the schema."""
    schema = (ROOT / "schema.graphql").read_text()
    if change is not None:
        pattern, new = change
        schema, times = re.subn(pattern, new, schema, flags=re.S)
        assert times == 1, change
    (console / "../../schema.graphql").write_text(schema)
    done = subprocess.run(["npm", "run", "check"], cwd=console, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def documents() -> str:
    """All that the console asks for in words of its own."""
    sources = [file.read_text() for file in sorted((CONSOLE / "src").rglob("*.tsx"))]
    return "\n".join(found for one in sources for found in re.findall(r"graphql\(`(.*?)`\)", one, re.S))


def test_what_the_console_asks_for_is_in_the_schema() -> None:
    printed, own = (ROOT / "schema.graphql").read_text(), parse(documents())
    assert len(own.definitions) > 10
    assert validate(build_schema(printed), own) == []
    renamed = validate(build_schema(printed.replace("  invoiceStatusAfter:", "  invoiceStatusLater:")), own)
    assert [error.message.split(".")[0] for error in renamed] == [
        "Cannot query field 'invoiceStatusAfter' on type 'DraftReview'"
    ]
    lock = json.loads((CONSOLE / "package-lock.json").read_text())["packages"]
    assert {"node_modules/graphql", "node_modules/urql", "node_modules/@graphql-codegen/cli"} <= set(lock)
    assert [name for name, one in lock.items() if "resolved" in one] == []


@needs_npm
@pytest.mark.npm
@pytest.mark.long
def test_the_types_fit_the_schema_and_say_when_it_does_not(copy: Path) -> None:
    assert check(copy) == ""
    renamed = check(copy, (r"(\ntype Customer implements Node \{.*?\n  )accountNumber:", r"\1accountCode:"))
    assert 'Cannot query field "accountNumber" on type "Customer"' in renamed
    emptied = check(copy, (r"(\ntype Customer implements Node \{.*?\n  balance: Money)!", r"\1"))
    assert "CustomerList.tsx" in emptied
    assert "is not assignable to" in emptied


@pytest.fixture
def product(data: Path) -> Iterator[Product]:
    running = Product(data).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def console(product: Product) -> Iterator[str]:
    """Where the console is, started as docs/api.md says."""
    port = free_port()
    environment = {**os.environ, "ISPGRAPH_URL": product.up["graphql"].removesuffix("/graphql")}
    command = ["npm", "run", "dev", "--", "--port", str(port), "--strictPort"]
    started = subprocess.Popen(command, cwd=CONSOLE, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    url, deadline = f"http://127.0.0.1:{port}/", time.monotonic() + 60
    while True:
        try:
            assert httpx.get(url).status_code == 200
            break
        except httpx.TransportError:
            assert started.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
    yield url
    os.killpg(started.pid, signal.SIGTERM)
    started.wait(20)


async def find_and_watch(clerk: Clerk) -> None:
    """Sign in, refused at first; search, narrow, sort and turn the list; watch one who is on line."""
    page = clerk.page
    await clerk.field("E-mail").wait_for()
    await clerk.look("1-sign-in")
    await clerk.sign_in("not the password")
    await expect(page.get_by_role("alert")).to_have_text("The e-mail address or the password is wrong.")
    await clerk.sign_in()
    await expect(page.locator("tbody tr")).to_have_count(20)
    first = await clerk.rows()
    assert first == sorted(first)
    await clerk.look("2-customers")
    await clerk.button("Next").click()
    await expect(page.get_by_role("link", name=first[0], exact=True)).to_have_count(0)
    second = await clerk.rows()
    assert set(first).isdisjoint(second)
    await clerk.button("Previous").click()
    await expect(page.get_by_role("link", name=first[0], exact=True)).to_be_visible()
    assert await clerk.rows() == first
    await clerk.field("Search").fill("no such customer")
    await expect(page.get_by_text("No customer is like this.")).to_be_visible()
    await clerk.look("3-nobody")
    await page.get_by_role("link", name="Show all customers").click()
    await expect(page.locator("tbody tr")).to_have_count(20)
    await clerk.field("Search").fill("maple")
    await clerk.choice("Status").select_option("ACTIVE")
    await clerk.choice("On line").select_option("true")
    await expect(page.locator("tbody tr:not(:has-text('Maple'))")).to_have_count(0)
    assert "search=maple" in page.url
    assert "status=ACTIVE" in page.url
    if clerk.wide:
        await page.locator("th").get_by_role("button", name="Name").click()
        await expect(page.locator("th[aria-sort=descending]")).to_have_text("Name ↓")
    await page.reload()
    await page.locator("tbody tr").first.wait_for()
    await expect(page.locator("tbody tr:not(:has-text('Maple'))")).to_have_count(0)
    found = await clerk.rows()
    assert found == sorted(found, reverse=clerk.wide)
    await page.get_by_role("link", name=found[0], exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(found[0])
    # The live meter goes on: more was carried, and there is another reading.
    carried = clerk.fact("Carried")
    await carried.wait_for()
    before = await carried.inner_text()
    await expect(carried).not_to_have_text(before)
    assert re.search(r"[1-9].* [kM]?bit/s", await page.get_by_test_id("down").inner_text())
    await expect(page.get_by_role("link", name=re.compile("INV-.*, as PDF"))).to_be_visible()
    await clerk.look("4-customer")


def amount_of(written: str) -> Decimal:
    return Decimal(re.sub(r"[^-\d.]", "", written))


async def act(clerk: Clerk) -> None:
    """A form that is refused beside its field; a package at a quoted price; off the network, and back again."""
    page, dialog = clerk.page, clerk.page.get_by_role("dialog")
    balance = clerk.fact("Balance")
    before = await balance.inner_text()
    await clerk.button("Record payment").click()
    amount = dialog.get_by_label(re.compile("^Amount"))
    for wrong, refusal in (("-3", "The amount must be more than zero."), ("much", 'Decimal must look like "12.50"')):
        await amount.fill(wrong)
        await clerk.button("Record", dialog).click()
        await expect(amount).to_have_attribute("aria-invalid", "true")
        await expect(amount).to_have_accessible_description(re.compile(re.escape(refusal)))
        await expect(amount).to_be_focused()
    # What is no Decimal is no request: the browser says so as well.
    assert [said for said in clerk.complaints if "400 (Bad Request)" not in said] == []
    clerk.complaints.clear()
    await clerk.look("5-refused")
    await amount.fill("125.50")
    await clerk.button("Record", dialog).click()
    await expect(dialog.get_by_role("status")).to_have_text(re.compile(r"PAY-.*: BDT\s125\.50 is recorded\."))
    await clerk.button("Done", dialog).click()
    await expect(balance).not_to_have_text(before)
    assert amount_of(await balance.inner_text()) == amount_of(before) + Decimal("125.50")

    await clerk.button("Change package").click()
    package = dialog.get_by_role("combobox", name="Package")
    await package.select_option(index=1)
    await dialog.get_by_text("In all").wait_for()
    await clerk.look("6-quote")
    name = (await package.locator("option:checked").inner_text()).split(",")[0]
    await clerk.button("Change", dialog).click()
    await expect(dialog.get_by_text("The package is changed.")).to_be_visible()
    await clerk.button("Done", dialog).click()
    await expect(clerk.fact("Package")).to_contain_text(name)

    await clerk.button("Suspend").click()
    # Who does not pay may stay on line, in the walled garden; who violates the terms may not.
    await dialog.get_by_role("combobox", name="Reason").select_option("VIOLATION")
    await dialog.get_by_label("Note").fill("At the customer's desk")
    await clerk.button("Suspend", dialog).click()
    await expect(dialog.get_by_role("group").get_by_text("Succeeded")).to_be_visible()
    assert await dialog.locator(".steps li").count() > 0
    await clerk.look("7-suspended")
    await clerk.button("Done", dialog).click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Suspended")
    await expect(page.get_by_text("Not on line.")).to_be_visible()
    await expect(clerk.button("Suspend")).to_have_count(0)
    # What the session that ended has carried is in the chart.
    await page.get_by_role("group", name="By").get_by_role("button", name="Hour").click()
    await page.get_by_text("As a table").click()
    await expect(page.get_by_role("region", name="Usage as a table").locator("tbody tr").first).to_be_visible()
    await clerk.look("8-usage")
    await clerk.button("Activate").click()
    await clerk.button("Activate", dialog).click()
    await expect(dialog.get_by_role("group").get_by_text("Succeeded")).to_be_visible()
    await clerk.button("Close", dialog).click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Active")


async def make_a_customer(clerk: Clerk, mobile: str) -> None:
    """The wizard through its seven steps; the page is left in the middle, and the creation found again."""
    page, save = clerk.page, clerk.button("Save and go on")
    await page.get_by_role("link", name="New customer").click()
    await clerk.button("Begin").click()
    await clerk.field("Name").wait_for()
    await save.click()
    await expect(clerk.field("Name")).to_have_accessible_description("This is required.")
    await expect(clerk.field("Mobile number")).to_have_attribute("aria-invalid", "true")
    await clerk.look("9-basics")
    await clerk.field("Name").fill(f"Quince Example {mobile}")
    await clerk.field("Mobile number").fill(mobile)
    await clerk.field("E-mail").fill(f"quince-{mobile}@customers.example")
    await save.click()
    await page.get_by_role("radio", name="Hotspot").check()
    await clerk.field("MAC address").fill("not one")
    await save.click()
    await expect(clerk.field("MAC address")).to_have_accessible_description(re.compile("AA:BB:CC:DD:EE:FF"))
    await page.get_by_role("radio", name="PPPoE").check()
    await clerk.field("Password").fill("a fictional one")
    await clerk.look("10-connection")
    await save.click()
    await page.get_by_role("radio", name=re.compile("Home 50")).check()
    await clerk.look("11-package")
    await save.click()
    await clerk.field("Street").wait_for()

    await page.reload()
    await clerk.field("Street").wait_for()
    await page.get_by_role("link", name="New customer").click()
    draft = page.locator(".drafts li", has_text=f"Quince Example {mobile}")
    await expect(draft).to_contain_text("Address is next")
    await clerk.look("12-drafts")
    await draft.get_by_role("link").click()
    await clerk.field("Street").fill("10 Example Street")
    await clerk.choice("Zone").select_option(label="North")
    await save.click()
    await page.get_by_label("Floor").fill("3")
    await clerk.look("13-custom-fields")
    await save.click()
    await expect(page.get_by_label(re.compile("^Amount"))).to_have_value("1200.00")
    await save.click()
    await expect(clerk.fact("Paid now")).to_contain_text("1,200.00")
    # A step before is as it was filled in.
    await page.get_by_role("link", name=re.compile("Basics")).click()
    await expect(clerk.field("Name")).to_have_value(f"Quince Example {mobile}")
    await page.get_by_role("link", name=re.compile("Review")).click()
    await clerk.look("14-review")
    await clerk.button("Make the customer").click()
    await expect(page.get_by_text(f"Quince Example {mobile} is a customer.")).to_be_visible()
    await expect(page.get_by_text("a fictional one")).to_be_visible()
    await expect(page.get_by_role("group").get_by_text("Succeeded").first).to_be_visible()
    await clerk.look("15-made")
    await page.get_by_role("link", name="Open the customer").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Active")


async def the_sign_in_ends(clerk: Clerk) -> None:
    """Before it ends one is told, and can stay; when it was ended elsewhere, one is told as well."""
    page = clerk.page

    async def token() -> str:
        return str(await page.evaluate("JSON.parse(sessionStorage.getItem('ispgraph.console')).token"))

    # Who does something is not asked: nothing is done on this page before the last minutes.
    await page.reload()
    await page.get_by_role("heading", level=1).wait_for()
    await page.clock.install()
    before = await token()
    left = await page.evaluate("Date.parse(JSON.parse(sessionStorage['ispgraph.console']).expiresAt) - Date.now()")
    await page.clock.fast_forward(int(left) - 90_000)
    await expect(page.get_by_role("alert")).to_contain_text("Your sign-in ends in")
    await clerk.look("16-ending")
    await clerk.button("Stay signed in").click()
    for _ in range(100):
        if await token() != before:
            break
        await page.wait_for_timeout(50)
    assert await token() != before
    ended = httpx.post(
        clerk.up["graphql"],
        json={"query": "mutation { signOut { errors { message } } }"},
        headers={"Authorization": f"Bearer {await token()}"},
    )
    assert ended.json()["data"]["signOut"]["errors"] == []
    await expect(page.get_by_role("alert")).to_contain_text("Your sign-in has ended.")
    assert await page.evaluate("sessionStorage.getItem('ispgraph.console')") is None
    # The page learns it from the socket, or from what it asks for just then, of which the browser says so as well.
    assert [said for said in clerk.complaints if "401 (Unauthorized)" not in said] == []
    clerk.complaints.clear()
    await clerk.look("17-ended")
    # The next sign-in is where the last one was.
    await clerk.sign_in()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Quince Example")
    await clerk.button("Sign out").click()
    await clerk.button("Sign in").wait_for()


@needs_npm
@pytest.mark.npm
@pytest.mark.long
@pytest.mark.chromium
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
async def test_a_clerk_works_with_the_console(product: Product, console: str, tmp_path: Path) -> None:
    pictures = Path(os.environ.get("ISPGRAPH_SCREENSHOTS", tmp_path))
    async with clerk_of(product, console, "desktop", pictures, viewport={"width": 1280, "height": 850}) as clerk:
        await find_and_watch(clerk)
        await act(clerk)
        await make_a_customer(clerk, "01711000931")
        await the_sign_in_ends(clerk)
    quiet = {
        "viewport": PHONE,
        "is_mobile": True,
        "has_touch": True,
        "reduced_motion": "reduce",
        "color_scheme": "dark",
    }
    async with clerk_of(product, console, "phone", pictures, **quiet) as clerk:
        await find_and_watch(clerk)
        await act(clerk)
        await make_a_customer(clerk, "01711000932")
        await the_sign_in_ends(clerk)


@needs_npm
@pytest.mark.npm
@pytest.mark.long
def test_the_console_is_built(copy: Path) -> None:
    done = subprocess.run(["npm", "run", "build"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (copy / "dist/index.html").read_text()
    (script,) = re.findall(r'src="/(assets/[^"]+\.js)"', page)
    assert "Your sign-in has ended." in (copy / "dist" / script).read_text()
