"""The tenant's colour on the pages that its customers see: whatever it is, all of it can be read."""

import base64
import hashlib
import re
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from ispgraph.domain import page_colors
from tests.factories import House
from tests.paying.counter import Counter

UPDATE = """mutation ($input: TenantSettingsInput!) { tenantSettingsUpdate(input: $input) {
  settings { pageColor } errors { code field message } } }"""
# On which something stands: of the page to pay on, light and dark, and of browsers that choose it themselves.
GROUNDS = {"light": ("#ffffff", "#f2f5f8"), "dark": ("#161b22", "#0d1117", "#000000", "#121212", "#1e1e1e")}


def contrast(one: str, other: str) -> float:
    """By the text of WCAG 2.2, "relative luminance" and "contrast ratio"."""
    levels = []
    for color in (one, other):
        parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
        levels.append(sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))
    return (max(levels) + 0.05) / (min(levels) + 0.05)


def shades(style: str, *names: str) -> dict[str, dict[str, str]]:
    """What the variables of a style are in the end: in light, and in dark."""
    found: dict[str, dict[str, str]] = {"light": {}, "dark": {}}
    # The rules for dark pages are those within the block of a medium.
    dark = re.findall(r"@media ?\(prefers-color-scheme: ?dark\) ?\{(.*?\})\s*\}", style, re.DOTALL)
    light = re.sub(r"@media ?\(prefers-color-scheme: ?dark\) ?\{.*?\}\s*\}", "", style, flags=re.DOTALL)
    for scheme, rules in (("light", [light]), ("dark", [light, *dark])):
        for rule in rules:
            found[scheme] |= dict(re.findall(r"--([a-z-]+): ?(#[0-9a-f]+)", rule))
    return {scheme: {name: full(values[name]) for name in names if name in values} for scheme, values in found.items()}


def full(color: str) -> str:
    return color if len(color) == 7 else "#" + "".join(part * 2 for part in color[1:])


def check_style(page: httpx.Response) -> str:
    """The style of a page, which is all that its policy lets in: no script, no attribute, nothing from elsewhere."""
    (style,) = re.findall(r"<style[^>]*>(.*?)</style>", page.text, re.DOTALL)
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert "script-src" not in policy
    if (nonce := re.search(r'<style nonce="([^"]+)">', page.text)) is not None:
        assert policy["style-src"] == f"'nonce-{nonce[1]}'"
    else:
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert policy["style-src"] == f"'sha256-{digest}'"
    assert not re.search(r"<script|\sstyle=|\son[a-z]+=", page.text)
    return style


async def set_color(counter: Counter, color: str | None) -> dict[str, Any]:
    answer = await counter.api.data(UPDATE, counter.house.admin, input={"pageColor": color})
    payload: dict[str, Any] = answer["tenantSettingsUpdate"]
    return payload


async def test_pages_take_the_colour(counter: Counter, other_house: House) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    path = await counter.path()
    pages = {path: ("act", "on", "link"), "/hotspot/north": ("accent", "on-accent", "mark")}
    before = {each: check_style(await counter.browser.get(each)) for each in pages}
    for color in ("#FFFFFF", "#000000", "#0B5CAD", "#FFD400", "#ff2d95", " #777777 "):
        payload = await set_color(counter, color)
        known = color.strip().lower()
        assert payload == {"settings": {"pageColor": known}, "errors": []}
        for each, (fill, on_fill, link) in pages.items():
            style = check_style(await counter.browser.get(each))
            assert style.startswith(before[each].rstrip("\n"))
            for scheme, found in shades(style, fill, on_fill, link).items():
                assert found[fill] == known
                assert contrast(found[fill], found[on_fill]) >= 4.5
                assert all(contrast(found[link], ground) >= 4.5 for ground in GROUNDS[scheme]), (color, found)
    # Also where an attempt is waited for, and not on the pages of others, or of nobody.
    assert (await counter.begin(path)).status_code == 303
    (attempt,) = await counter.attempts()
    assert "#777777" in check_style(await counter.browser.get(f"{path}/return/{attempt.reference}"))
    assert "#777777" not in check_style(await counter.browser.get(f"/hotspot/{other_house.tenant.slug}"))
    assert "#777777" not in check_style(await counter.browser.get("/pay/wrong"))
    # Taken away, everything is as it was; there too all can be read.
    assert (await set_color(counter, None))["settings"] == {"pageColor": None}
    for each, names in pages.items():
        style = check_style(await counter.browser.get(each))
        assert style == before[each]
        for scheme, found in shades(style, *names).items():
            fill, on_fill, link = (found[name] for name in names)
            assert contrast(fill, on_fill) >= 4.5
            assert all(contrast(link, ground) >= 4.5 for ground in GROUNDS[scheme])


async def test_what_is_no_colour(counter: Counter) -> None:
    await set_color(counter, "#123456")
    for color in ("red", "#12345", "#1234567", "123456", "#12345g", "#123456;}body{display:none", "#１23456", "#fff"):
        payload = await set_color(counter, color)
        assert [(error["code"], error["field"]) for error in payload["errors"]] == [("INVALID", ["input", "pageColor"])]
        assert "#rrggbb" in payload["errors"][0]["message"]
    kept = await counter.api.data("{ tenantSettings { pageColor } }", counter.house.admin)
    assert kept["tenantSettings"] == {"pageColor": "#123456"}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}"), min_size=10, max_size=10))
def test_every_colour_can_be_read(colors: list[str]) -> None:
    for color in colors:
        found = page_colors.palette(color)
        for scheme, each in (("light", found.light), ("dark", found.dark)):
            assert each.fill == color
            assert each.on_fill in ("#000000", "#ffffff")
            assert contrast(each.on_fill, color) >= 4.5
            assert all(contrast(each.link, ground) >= 4.5 for ground in GROUNDS[scheme])
            if all(contrast(color, ground) >= 6 for ground in GROUNDS[scheme]):
                assert each.link == color
