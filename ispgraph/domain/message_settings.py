"""What a tenant and its customers decide about messages: in which language, by which ways, and when not."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from typing import Any

from ispgraph.domain import locales, values
from ispgraph.domain.errors import ErrorCode, Faults


class Kept:
    """Stands where a setting stays as it is."""


KEPT = Kept()


@dataclass(frozen=True, slots=True)
class Changes:
    """New settings. None leaves the first two as they are, and takes the quiet hours away."""

    language: str | None = None
    sms_enabled: bool | None = None
    quiet_from: time | Kept | None = KEPT
    quiet_until: time | Kept | None = KEPT


def checked(faults: Faults, changes: Changes) -> dict[str, object]:
    """What was given, as columns of the tenant; of no use once a fault was found."""
    found: dict[str, object] = {}
    if changes.language is not None:
        at = ("messages", "language")
        found["message_language"] = values.checked(faults, locales.tag, changes.language, at=at)
    if changes.sms_enabled is not None:
        found["sms_enabled"] = changes.sms_enabled
    begins, ends = changes.quiet_from, changes.quiet_until
    if isinstance(begins, Kept) and isinstance(ends, Kept):
        return found
    if isinstance(begins, time) and isinstance(ends, time):
        begins, ends = (each.replace(second=0, microsecond=0, tzinfo=None) for each in (begins, ends))
        if begins == ends:
            message = "Quiet hours cannot end when they begin; give null for both to have none."
            faults.add(ErrorCode.INVALID, message, "messages", "quietUntil")
    elif begins is not None or ends is not None:
        message = "Quiet hours have a beginning and an end: give both, or null for both."
        faults.add(ErrorCode.REQUIRED, message, "messages", "quietUntil" if isinstance(begins, time) else "quietFrom")
    return found | {"quiet_from": begins, "quiet_until": ends}


def of_customer(faults: Faults, given: Mapping[str, Any]) -> dict[str, object]:
    """What is given of a customer's wishes, as columns; of no use once a fault was found."""
    found: dict[str, object] = {
        name: given[name] for name in ("sms_opt_out", "email_opt_out") if given.get(name) is not None
    }
    if "language" in given:
        raw = given["language"]
        blank = raw is None or not raw.strip()
        found["language"] = None if blank else values.checked(faults, locales.tag, raw, at=("language",))
    return found
