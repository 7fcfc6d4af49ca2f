"""The reference documentation: everything is in it, every link leads somewhere, and nothing comes from elsewhere."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.async_api import async_playwright
from typer.testing import CliRunner

from ispgraph import cli
from ispgraph.reference import site
from ispgraph.schema import words
from tests.api import schema
from tests.operations import FOLDER, collection

ROOTS = {"Query": "query", "Mutation": "mutation", "Subscription": "subscription"}
REFERENCE = re.compile(r'\b(?:href|src)="([^"]*)"')


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("reference") / "out"
    assert site.write(directory, FOLDER) > 600
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def pages(written: Path) -> dict[Path, str]:
    return {file: file.read_text() for file in written.rglob("*.html")}


def ids(text: str) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', text))


def test_everything_is_in_it(written: Path, pages: dict[Path, str]) -> None:
    missing, names = [], (written / "names.js").read_text()
    for name, _ in words.members(schema()._schema):
        kind, _, member = name.partition(".")
        page = pages.get(written / f"type/{kind}.html")
        plain = member.partition("(")[0]
        if page is None or (member and plain not in ids(page)) or f'"{plain if kind in ROOTS else name}' not in names:
            missing.append(name)
        if kind in ROOTS and member and "(" not in member:
            own = pages.get(written / f"{ROOTS[kind]}/{member}.html", "")
            if not all(f"<dt>{fact}</dt>" in own for fact in ("Answers", "Permission", "Cost")):
                missing.append(f"page of {name}")
    assert [one for one in missing if "(" not in one] == []
    suspend = pages[written / "mutation/customerSuspend.html"]
    assert 'type/Permission.html#SUSPEND_CUSTOMERS"' in suspend
    assert "mutation CustomerSuspend($input: SuspendInput!)" in suspend
    told = "".join(pages[file] for file in (written / "task").iterdir())
    assert [one.path for one in collection().values() if f'<h2 id="{one.path.partition("/")[2]}">' not in told] == []


def test_every_link_leads_somewhere_and_none_away(written: Path, pages: dict[Path, str]) -> None:
    lost, anchors = set(), {file: ids(text) for file, text in pages.items()}
    there = {file.resolve() for file in written.rglob("*")}
    for page, text in pages.items():
        for target in set(REFERENCE.findall(text)) - {"data:,"}:
            file, _, anchor = unquote(target).partition("#")
            leads = (page.parent / file).resolve() if file else page
            if leads not in there or (anchor and anchor not in anchors.get(leads, ())):
                lost.add(f"{page.relative_to(written)}: {target}")
        assert not re.search(r"<(?:iframe|img|object|embed|base)\b|@import|\burl\(", text), page
    assert lost == set()
    for name in ("style.css", "search.js"):
        assert not re.search(r"https?:|//\w|@import|url\(|fetch\(", (written / name).read_text()), name


def test_the_command_writes_where_it_may(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    refused = CliRunner().invoke(cli.app, ["reference", str(tmp_path)])
    assert "neither empty nor what this command has written" in str(refused.exception)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    nothing = CliRunner().invoke(cli.app, ["reference", str(tmp_path / "new"), "--operations", str(tmp_path)])
    assert "no operations are there" in str(nothing.exception)


@pytest.mark.chromium
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
async def test_a_reader_finds_and_reads(written: Path) -> None:
    asked, complaints = [], []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 390, "height": 844})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto((written / "index.html").as_uri())
        # Everything by the keyboard: find a mutation, and go there.
        await page.keyboard.press("/")
        await page.keyboard.type("customersusp")
        options = page.get_by_role("option")
        assert (await options.first.inner_text()).startswith("customerSuspend mutation")
        await page.keyboard.press("ArrowDown")
        assert await page.get_by_role("combobox").get_attribute("aria-activedescendant") == "found-0"
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/mutation/customerSuspend.html")
        assert await page.locator("h1").inner_text() == "customerSuspend"
        # Nothing is wider than a phone, on the longest pages as well.
        for path in ("mutation/customerSuspend", "type/Customer", "type/Query", "task/03-wizard", "types"):
            await page.goto((written / f"{path}.html").as_uri())
            assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path
        light = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        await page.emulate_media(color_scheme="dark")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        await browser.close()
    assert complaints == []
    assert {url.partition(":")[0] for url in asked} == {"file"}
