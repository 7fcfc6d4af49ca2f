"""Charts of usage at signed links."""

import io
from datetime import UTC, date, datetime, timedelta
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from ispgraph import clock, ids
from ispgraph.api import pictures
from ispgraph.db import Database
from ispgraph.domain import charts
from ispgraph.domain.models import Customer, Role
from ispgraph.domain.usage import UsageGranularity
from tests import accounting, subscribers
from tests.api import Api
from tests.factories import House

URL = """query ($id: ID!, $from: DateTime, $to: DateTime, $granularity: UsageGranularity, $format: ChartFormat! = SVG) {
  customer(by: {id: $id}) { usageChartUrl(from: $from, to: $to, granularity: $granularity, format: $format) } }"""
NS = "{http://www.w3.org/2000/svg}"
MARCH = {"from": "2026-02-28T18:00:00Z", "to": "2026-03-31T18:00:00Z"}
GB = 10**9


async def url(api: Api, house: House, of: Customer, **given: Any) -> str:
    """Where a chart is."""
    answer = await api.data(URL, house.admin, id=ids.encode("cus", of.id), **given)
    found: str = answer["customer"]["usageChartUrl"]
    return found


def bars(drawing: charts.Drawing, color: str) -> list[charts.Box]:
    """The bars of a color, without the legend's."""
    return [
        shape
        for shape in drawing.shapes
        if isinstance(shape, charts.Box) and shape.color == color and (shape.width, shape.height) != (12, 12)
    ]


def labels(drawing: charts.Drawing) -> list[str]:
    """What is written."""
    return [shape.text for shape in drawing.shapes if isinstance(shape, charts.Label)]


def of_days(*points: charts.Point, **fields: Any) -> charts.Usage:
    """The days of March in Dhaka."""
    given = {
        "account_number": "000001",
        "zone": ZoneInfo("Asia/Dhaka"),
        "granularity": UsageGranularity.DAY,
        "begin": date(2026, 3, 1),
        "end": date(2026, 4, 1),
        "points": points,
    }
    return charts.Usage(**(given | fields))


def on(day: int, download: int, upload: int) -> charts.Point:
    """A day of March in Dhaka."""
    return charts.Point(datetime(2026, 3, day, tzinfo=ZoneInfo("Asia/Dhaka")).astimezone(UTC), download, upload)


async def test_a_chart(api: Api, owner: Database, house: House) -> None:
    customer = await subscribers.customer(house, account_number="<b>&\"'000001")
    service = await subscribers.service(house, customer)
    used = {date(2026, 3, 1): (GB, 2 * GB, 60), date(2026, 3, 31): (GB // 2, 4 * GB, 60), date(2026, 4, 1): (1, 1, 1)}
    await accounting.account(owner, house, *accounting.usage(service, used))

    answer = await api.get(await url(api, house, customer, **MARCH))

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    tree = ElementTree.fromstring(answer.content)
    assert (tree.attrib["role"], tree.attrib["aria-labelledby"]) == ("img", "title desc")
    # What people wrote is text, never part of the picture's language.
    assert {each.tag for each in tree.iter()} == {f"{NS}{name}" for name in ("svg", "title", "desc", "rect", "text")}
    title, told = tree.findtext(f"{NS}title"), tree.findtext(f"{NS}desc")
    assert title == "Usage of account <b>&\"'000001, 1 Mar 2026 to 31 Mar 2026"
    assert told == "Download 6.00 GB and upload 1.50 GB, by day, in the time zone Asia/Dhaka."
    fills = [each.attrib["fill"] for each in tree.iter(f"{NS}rect")]
    assert (fills.count(charts.DOWNLOAD), fills.count(charts.UPLOAD)) == (3, 3), "two bars and the legend"
    texts = [each.text for each in tree.iter(f"{NS}text")]
    assert "GB" in texts
    assert "1 Mar" in texts

    answer = await api.get(await url(api, house, customer, **MARCH, format="PNG"))
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as picture:
        picture.load()
        assert picture.size == (2 * charts.WIDTH, 2 * charts.HEIGHT)
        colors = {color for _, color in picture.getcolors(100_000)}
    assert {(0x1F, 0x6F, 0xEB), (0xE3, 0x74, 0x2F), (0xFF, 0xFF, 0xFF)} <= colors


async def test_months_and_hours(api: Api, owner: Database, house: House) -> None:
    customer = await subscribers.customer(house, account_number="000001")
    service = await subscribers.service(house, customer)
    quarter = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)
    used = {date(2026, 3, 1): (1, 2, 60), date(2026, 5, 2): (3, 4, 60), quarter: (5, 6, 60)}
    await accounting.account(owner, house, *accounting.usage(service, used))
    for granularity, to, title, told in (
        ("MONTH", "2026-05-31T17:00:00Z", "Mar 2026 to May 2026", "Download 6 B and upload 4 B, by month"),
        (
            "HOUR",
            "2026-03-01T18:00:00Z",
            "1 Mar 2026 00:00 to 1 Mar 2026 23:00",
            "Download 6 B and upload 5 B, by hour",
        ),
    ):
        given = {"from": "2026-02-28T18:00:00Z", "to": to, "granularity": granularity}
        text = (await api.get(await url(api, house, customer, **given))).text
        assert title in text
        assert told in text


async def test_links_end_and_are_of_one_customer(api: Api, house: House, other_house: House, moved_clock: None) -> None:
    customer, other = await subscribers.customer(house), await subscribers.customer(house)
    link = await url(api, house, customer, **MARCH)
    assert (await api.get(link)).status_code == 200
    for altered in (
        link.replace(customer.id.hex, other.id.hex),
        link.replace(house.tenant.id.hex, other_house.tenant.id.hex),
        link.replace("2026-03-01", "2026-01-01"),
        link.replace(".svg", ".png"),
        link.replace("/usage/", "/files/"),
    ):
        assert altered != link
        assert (await api.get(altered)).status_code in (403, 404)
    clock.set_clock("+604700")
    assert (await api.get(link)).status_code == 200
    clock.set_clock("+604860")
    assert (await api.get(link)).status_code == 410


async def test_bad_stretches_and_strangers(api: Api, house: House, other_house: House) -> None:
    customer = await subscribers.customer(house)
    key = ids.encode("cus", customer.id)
    answer = await api(URL, house.admin, id=key, **{"from": MARCH["to"], "to": MARCH["from"]})
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "BAD_REQUEST", "field": ["from"]}
    answer = await api(URL, house.admin, id=key, **MARCH, granularity="HOUR")
    assert "errors" not in answer
    rival = await house.operator(Role.OPERATOR)
    for stranger in (rival, other_house.admin):
        assert (await api.data(URL, stranger, id=key))["customer"] is None


def test_bars_stand_where_they_belong() -> None:
    drawing = charts.draw(of_days(on(1, 4 * GB, GB), on(31, GB, 0)))
    first, last = bars(drawing, charts.DOWNLOAD)
    above, _ = bars(drawing, charts.UPLOAD)
    assert first.x < 80 < 700 < last.x
    assert last.x + last.width < charts.WIDTH
    assert first.height == pytest.approx(4 * last.height)
    assert first.height == pytest.approx(4 * above.height)
    # The upload stands on the download, and the highest bar ends at the highest line: 5 GB of 5.
    assert above.y + above.height == pytest.approx(first.y)
    assert [text for text in labels(drawing) if text.isdigit()] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("highest", "lines", "unit"),
    [
        (0, ["0", "1"], "B"),
        (1, ["0", "1"], "B"),
        (999, ["0", "200", "400", "600", "800", "1000"], "B"),
        (1500, ["0", "0.5", "1", "1.5"], "kB"),
        (9 * GB, ["0", "2", "4", "6", "8", "10"], "GB"),
        (2**60, ["0", "500", "1000", "1500"], "PB"),
    ],
)
def test_the_lines_are_round(highest: int, lines: list[str], unit: str) -> None:
    texts = labels(charts.draw(of_days(on(2, highest, 0))))
    assert unit in texts
    assert [text for text in texts if text.replace(".", "").isdigit()] == lines


def test_an_hour_that_the_clocks_skip_and_one_that_comes_twice() -> None:
    zone = ZoneInfo("Europe/Berlin")
    for day, hours in ((datetime(2026, 3, 29, tzinfo=zone), 23), (datetime(2026, 10, 25, tzinfo=zone), 25)):
        begin, end = day.astimezone(UTC), (day + timedelta(days=1)).astimezone(UTC)
        every = [charts.Point(begin + timedelta(hours=hour), 1, 0) for hour in range(hours)]
        usage = charts.Usage("1", zone, UsageGranularity.HOUR, begin, end, every)
        places = [bar.x for bar in bars(charts.draw(usage), charts.DOWNLOAD)]
        assert len(set(places)) == hours
        assert places == sorted(places)


def test_years_of_days_are_drawn_quickly_and_controls_are_not_xml() -> None:
    begin = date(2024, 1, 1)
    every = [
        charts.Point(datetime.combine(begin, datetime.min.time(), UTC) + timedelta(days=day), day, day)
        for day in range(1100)
    ]
    drawing = charts.draw(
        of_days(*every, zone=ZoneInfo("UTC"), begin=begin, end=begin + timedelta(days=1100), account_number="\x01\x0b")
    )
    assert len(bars(drawing, charts.DOWNLOAD)) == 1100
    assert len([text for text in labels(drawing) if text[0].isdigit() and " " in text]) <= 10
    ElementTree.fromstring(pictures.svg(drawing))
    assert pictures.png(drawing).startswith(b"\x89PNG")
