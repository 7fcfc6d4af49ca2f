"""The chart of a customer's usage: what is drawn, as shapes that any kind of picture can be made of. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from ispgraph.domain.usage import UsageGranularity

WIDTH, HEIGHT = 800, 360
DOWNLOAD, UPLOAD, INK, GRID, PAPER = "#1f6feb", "#e3742f", "#24292f", "#d0d7de", "#ffffff"
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 56, 40
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_LINES = 5
_HOUR = timedelta(hours=1)
_MOST_LABELS = 10

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle; the origin is at the top left."""

    x: float
    y: float
    width: float
    height: float
    color: str


@dataclass(frozen=True, slots=True)
class Label:
    """A line of text whose baseline is at `y`."""

    x: float
    y: float
    text: str
    size: int = 12
    anchor: Anchor = "start"


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is to be seen, the first behind the last, and what is told to whoever cannot see it."""

    title: str
    description: str
    shapes: Sequence[Box | Label]


@dataclass(frozen=True, slots=True)
class Point:
    """Bytes of the hour, day or month that begins at `start`."""

    start: datetime
    download_bytes: int
    upload_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What is drawn: `begin` and `end` are whole hours, or days of the zone."""

    account_number: str
    zone: ZoneInfo
    granularity: UsageGranularity
    begin: datetime | date
    end: datetime | date
    points: Sequence[Point]


def draw(usage: Usage) -> Drawing:
    """Bars of download and upload above each other, hours, days or months without usage included."""
    slots = list(_slots(usage))
    places = {slot: number for number, slot in enumerate(slots)}
    highest = max((point.download_bytes + point.upload_bytes for point in usage.points), default=0)
    step, power = _step(highest)
    lines = max(1, -(-highest // step))
    plot = _HEIGHT / (lines * step)
    shapes: list[Box | Label] = [Box(0, 0, WIDTH, HEIGHT, PAPER)]
    for line in range(lines + 1):
        y = HEIGHT - _BOTTOM - line * step * plot
        shapes.append(Box(_LEFT, y, _WIDTH, 1, GRID))
        shapes.append(Label(_LEFT - 8, y + 4, _amount(line * step, power), anchor="end"))
    wide = _WIDTH / len(slots)
    for point in usage.points:
        place = places.get(_slot(point.start, usage))
        if place is not None:
            shapes += _bar(point, _LEFT + wide * (place + 0.1), wide * 0.8, plot)
    every = -(-len(slots) // _MOST_LABELS)
    for number in range(0, len(slots), every):
        label = _when(slots[number], usage, short=True)
        shapes.append(Label(_LEFT + wide * (number + 0.5), HEIGHT - _BOTTOM + 18, label, 11, "middle"))
    return Drawing(_title(usage), _description(usage), [*shapes, *_legend(usage, power)])


_WIDTH, _HEIGHT = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM


def _bar(point: Point, x: float, width: float, plot: float) -> Iterable[Box]:
    down, up = point.download_bytes * plot, point.upload_bytes * plot
    base = HEIGHT - _BOTTOM
    yield Box(x, base - down, width, down, DOWNLOAD)
    yield Box(x, base - down - up, width, up, UPLOAD)


def _legend(usage: Usage, power: int) -> Iterable[Box | Label]:
    yield Label(16, 22, _title(usage), 14)
    yield Label(16, 44, _UNITS[power], 12)
    down, up = _sums(usage)
    for x, color, text in ((_LEFT, DOWNLOAD, f"Download {down}"), (_LEFT + 200, UPLOAD, f"Upload {up}")):
        yield Box(x, 34, 12, 12, color)
        yield Label(x + 18, 44, text)
    yield Label(WIDTH - _RIGHT, HEIGHT - 6, f"Time zone {usage.zone.key}", 10, "end")


def _slots(usage: Usage) -> Iterable[datetime | date]:
    at = usage.begin
    while at < usage.end:
        yield at
        if isinstance(at, datetime):
            at += timedelta(hours=1)
        elif usage.granularity is UsageGranularity.DAY:
            at += timedelta(days=1)
        else:
            at = (at.replace(day=1) + timedelta(days=32)).replace(day=1)


def _slot(start: datetime, usage: Usage) -> datetime | date:
    if isinstance(usage.begin, datetime):
        # A zone may have put its clocks by half an hour in between.
        return usage.begin + (start - usage.begin) // _HOUR * _HOUR
    return start.astimezone(usage.zone).date()


def _step(highest: int) -> tuple[int, int]:
    """The bytes between two lines, 1, 2 or 5 times a power of ten, and the power of 1000 of the unit."""
    least = max(1, -(-highest // _LINES))
    ten = 10 ** (len(str(least)) - 1)
    step = next(times * ten for times in (1, 2, 5, 10) if times * ten >= least)
    power = min((len(str(max(highest, 1))) - 1) // 3, len(_UNITS) - 1)
    return step, power


def _amount(count: int, power: int) -> str:
    """A number of bytes in a unit, without zeros at the end."""
    whole, rest = divmod(count, 1000**power)
    decimals = f"{rest:0{3 * power}d}".rstrip("0") if power and rest else ""
    return f"{whole}.{decimals}" if decimals else str(whole)


def _sums(usage: Usage) -> tuple[str, str]:
    return (
        _told(sum(point.download_bytes for point in usage.points)),
        _told(sum(point.upload_bytes for point in usage.points)),
    )


def _told(count: int) -> str:
    """A number of bytes for people: two decimals of a unit that fits, cut off."""
    power = min((len(str(count)) - 1) // 3, len(_UNITS) - 1)
    if power == 0:
        return f"{count} B"
    hundredths = count * 100 // 1000**power
    return f"{hundredths // 100}.{hundredths % 100:02d} {_UNITS[power]}"


def _title(usage: Usage) -> str:
    last = usage.end - (timedelta(hours=1) if isinstance(usage.end, datetime) else timedelta(days=1))
    stretch = f"{_when(usage.begin, usage)} to {_when(last, usage)}"
    return f"Usage of account {usage.account_number}, {stretch}"


def _description(usage: Usage) -> str:
    down, up = _sums(usage)
    return f"Download {down} and upload {up}, by {usage.granularity.value.lower()}, in the time zone {usage.zone.key}."


def _when(at: datetime | date, usage: Usage, *, short: bool = False) -> str:
    local = at.astimezone(usage.zone) if isinstance(at, datetime) else at
    month = _MONTHS[local.month - 1]
    if usage.granularity is UsageGranularity.MONTH:
        return f"{month} {local.year}"
    day = f"{local.day} {month}" if short else f"{local.day} {month} {local.year}"
    return f"{day} {local:%H:%M}" if isinstance(local, datetime) else day
