"""What every carrier of messages takes and gives: short messages and e-mail alike."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Letter:
    """One message. `reference` is ours, ``[A-Za-z0-9-]{1,36}``, and unique for ever; `to` is a telephone number in
    E.164 form or an e-mail address. `sender` None leaves it to the account; `report_url` is where a provider on HTTP
    may say what became of it."""

    reference: str
    to: str
    body: str = field(repr=False)
    subject: str | None = None
    html: str | None = field(default=None, repr=False)
    sender: str | None = None
    report_url: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has it and will see to it. `segments` where it said how many short messages that takes."""

    provider_reference: str | None
    segments: int | None


class Fate(enum.Enum):
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a message. At least one of the references is there."""

    provider_reference: str | None
    reference: str | None
    fate: Fate
    reason: str | None


class Carrier(Protocol):
    """An account that is ready to carry messages. Every call raises Unreachable, TimedOut, BadReply or Refused."""

    async def send(self, letter: Letter) -> Accepted:
        """Hand a message over. An error with `outcome_unknown` may have sent it all the same."""

    async def reports(self) -> list[Report]:
        """What came in over the carrier's own connection since the last call; nothing where there is none."""

    def reported(self, method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> list[Report]:
        """A delivery report that came to us over HTTP. `query` is decoded, `headers` have lower-case names, `body` is
        as it came. Raises Forged unless it is shown to be the provider's, BadReply when it makes no sense."""

    async def close(self) -> None:
        """End its connections."""
