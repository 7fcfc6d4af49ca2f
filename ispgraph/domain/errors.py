"""What a person can cause. A domain verb raises one of these; the transaction rolls back, and the API answers with
the list as data. Anything else that is raised is a bug."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class ErrorCode(enum.Enum):
    REQUIRED = "REQUIRED"
    INVALID = "INVALID"
    TAKEN = "TAKEN"
    NOT_FOUND = "NOT_FOUND"
    NOT_PERMITTED = "NOT_PERMITTED"
    INVALID_STATE = "INVALID_STATE"
    NO_CHANGE = "NO_CHANGE"
    VERSION_CONFLICT = "VERSION_CONFLICT"
    QUOTE_STALE = "QUOTE_STALE"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    DRAFT_EXPIRED = "DRAFT_EXPIRED"
    DRAFT_INCOMPLETE = "DRAFT_INCOMPLETE"
    NOT_CONFIGURED = "NOT_CONFIGURED"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong. `field` is the path into the input, such as ``("input", "email")``."""

    code: ErrorCode
    message: str
    field: tuple[str, ...] | None = None


class DomainError(Exception):
    """One or more faults; nothing was changed."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = tuple(faults)


def fail(code: ErrorCode, message: str, *field: str) -> DomainError:
    """A DomainError with one fault, ready to raise."""
    return DomainError([Fault(code, message, field or None)])


def beneath(error: DomainError, *above: str) -> DomainError:
    """The same error of something that stands deeper in the input: `above` goes before each path."""
    return DomainError([Fault(fault.code, fault.message, (*above, *(fault.field or ()))) for fault in error.faults])


def not_found(what: str, *field: str) -> DomainError:
    """The same answer for what does not exist and for what the viewer may not see."""
    return fail(ErrorCode.NOT_FOUND, f"There is no such {what}.", *field)


class Faults:
    """Collects every fault of a form, so that a person sees them all at once."""

    def __init__(self, *prefix: str) -> None:
        self._prefix = prefix
        self.found: list[Fault] = []

    def add(self, code: ErrorCode, message: str, *field: str) -> None:
        """Record a fault at a path below the prefix."""
        self.found.append(Fault(code, message, (*self._prefix, *field)))

    def raise_if_any(self) -> None:
        """End the collecting: raise DomainError when anything was found."""
        if self.found:
            raise DomainError(self.found)
