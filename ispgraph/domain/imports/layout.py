"""How a file is read: which of its columns is which of ours, and how numbers, days and letters are written in it."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ispgraph.domain.models import ImportSource

SHEETS = frozenset({ImportSource.CSV, ImportSource.XLSX})
"""The sources whose columns somebody may have to name."""


class Unreadable(Exception):
    """The file as a whole cannot be read; the text says why, for people."""


class ImportColumn(enum.Enum):
    """What a row may say of a customer."""

    EXTERNAL_ID = "external_id"
    NAME = "name"
    MOBILE = "mobile"
    EMAIL = "email"
    ACCOUNT_NUMBER = "account_number"
    STREET = "street"
    CITY = "city"
    STATE = "state"
    POSTAL_CODE = "postal_code"
    COUNTRY = "country"
    ZONE = "zone"
    CONNECTION_TYPE = "connection_type"
    USERNAME = "username"
    PASSWORD = "password"  # noqa: S105  the name of a column
    IP_ADDRESS = "ip_address"
    MAC_ADDRESS = "mac_address"
    PACKAGE = "package"
    STATUS = "status"
    EXPIRES_AT = "expires_at"
    BALANCE = "balance"
    CREATED_AT = "created_at"
    NOTE = "note"


class ImportEncoding(enum.Enum):
    """How the letters of a text file are written."""

    UTF_8 = "utf-8-sig"
    UTF_16 = "utf-16"
    CP1252 = "cp1252"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a sheet is read. Without an encoding or a delimiter the file itself is asked; headings that are not named
    here count when they are spelt as ours are."""

    headings: Mapping[str, str] = field(default_factory=dict)
    """Our column, and the heading of the file's."""
    encoding: ImportEncoding | None = None
    delimiter: str | None = None

    def as_json(self) -> dict[str, object]:
        """As it is kept."""
        encoding = self.encoding.name if self.encoding else None
        return {"headings": dict(self.headings), "encoding": encoding, "delimiter": self.delimiter}


def places(headings: Sequence[str], layout: Layout) -> Mapping[str, int]:
    """By our column, where it stands in the file. Raises Unreadable for a heading that is not there, or there twice."""
    spelt = [plain(heading) for heading in headings]
    found: dict[str, int] = {}
    for column in ImportColumn:
        wished = layout.headings.get(column.value)
        heading = plain(column.value if wished is None else wished)
        count = spelt.count(heading)
        if count > 1:
            raise Unreadable(f"The heading {wished or column.value} stands there twice.")
        if count:
            found[column.value] = spelt.index(heading)
        elif wished is not None:
            shown = ", ".join(each.strip()[:40] for each in headings[:40])
            raise Unreadable(f"There is no column {wished}. The headings are: {shown}.")
    if not found:
        raise Unreadable("No heading of the file is known: say which column is which.")
    return found


def plain(heading: str) -> str:
    """A heading as headings are compared: in lower case, with one underscore for what separates words."""
    return "_".join("".join(each if each.isalnum() else " " for each in heading.lower()).split())
