"""What the attributes of a user or a group mean, in the tables that FreeRADIUS reads."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ispgraph.domain.imports.cells import instant, kbps, of_epoch, rate_limit

CLEAR = ("cleartext-password", "user-password", "password")
_WITH_HEADER = "password-with-header"
_CLEAR_HEADERS = ("{clear}", "{cleartext}")
_HASHES = ("nt-hash", "lm-hash")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WRITTEN = re.compile(
    r"(?:(\d{1,2})[ -]+([A-Za-z]{3,9})|([A-Za-z]{3,9})[ -]+(\d{1,2})),?[ -]+(\d{4})"
    r"(?:[ T]+(\d{1,2}):(\d\d)(?::(\d\d))?)?(?:\s+(UTC|GMT))?"
)
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute; its name is in lower case in `name`, and as it was written in `written`."""

    written: str
    op: str
    value: str

    @property
    def name(self) -> str:
        """In lower case: that is how names are compared."""
        return self.written.lower()


def is_secret(name: str) -> bool:
    """Whether an attribute is a password, in whatever form."""
    return name.endswith("-password") or name in (*CLEAR, _WITH_HEADER, *_HASHES)


def value(attributes: Iterable[Attribute], *names: str) -> str:
    """The value of the last attribute of one of these names, which is the one that holds; '' without any."""
    found = ""
    for each in attributes:
        if each.name in names:
            found = each.value.strip()
    return found


def clear_password(attributes: Iterable[Attribute]) -> str:
    """The password in clear; '' when there is none, or only a hash of it."""
    found = ""
    for each in attributes:
        if each.name in CLEAR:
            found = each.value or found
        elif each.name == _WITH_HEADER and each.value.lower().startswith(_CLEAR_HEADERS):
            found = each.value.partition("}")[2] or found
    return found


def rejects(attributes: Iterable[Attribute]) -> bool:
    """Whether nobody gets on line who has these."""
    return any(each.name == "auth-type" and each.value.strip().lower() == "reject" for each in attributes)


def accepts(attributes: Iterable[Attribute]) -> bool:
    """Whether everybody gets on line who has these, with whatever password."""
    return any(each.name == "auth-type" and each.value.strip().lower() == "accept" for each in attributes)


def rates(attributes: Sequence[Attribute]) -> tuple[str, str] | None:
    """Upload and download in kbit/s, as MikroTik's routers are told of them."""
    found = rate_limit(value(attributes, "mikrotik-rate-limit"))
    if found is None:
        up, down = (kbps(value(attributes, f"wispr-bandwidth-max-{way}")) for way in ("up", "down"))
        found = (up, down) if up is not None and down is not None else None
    return found


def connection_type(attributes: Sequence[Attribute]) -> str:
    """How somebody connects who has these; '' when they do not say."""
    port = value(attributes, "nas-port-type").lower()
    if value(attributes, "framed-protocol").lower() == "ppp" or port in ("ethernet", "virtual"):
        return "PPPOE"
    if value(attributes, "service-type").lower() == "login-user" or port == "wireless-802.11":
        return "HOTSPOT"
    return ""


def moment(text: str) -> str:
    """An Expiration as ISO 8601, to the second: a date alone is its first moment. Without a zone it is of the RADIUS
    server's. '' for what is none."""
    given = " ".join(text.split())
    if given.isdecimal() and 9 <= len(given) <= 11:
        return of_epoch(given)
    if _ISO.fullmatch(given):
        return instant(given, None)
    try:
        return datetime.fromisoformat(given).isoformat()
    except ValueError:
        pass
    if (found := _WRITTEN.fullmatch(given)) is None:
        return ""
    month = (found[2] or found[3])[:3].lower()
    day, year = int(found[1] or found[4]), int(found[5])
    try:
        at = datetime(
            *(year, _MONTHS.index(month) + 1, day, int(found[6] or 0), int(found[7] or 0), int(found[8] or 0)),
            tzinfo=UTC if found[9] else None,
        )
    except ValueError:
        return ""
    return at.isoformat()
