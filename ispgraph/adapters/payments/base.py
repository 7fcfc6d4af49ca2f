"""What is asked of every provider that takes money, and how its answers are told.

Amounts are whole numbers of the currency's smallest unit; `exponent` is how many of its decimals that is (0, 2 or 3).
Each adapter turns them into the provider's form exactly, or refuses.
"""

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ispgraph.adapters.errors import AdapterError


class State(enum.Enum):
    """One payment, as the provider says."""

    PENDING = "PENDING"
    PAID = "PAID"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Intent:
    """What a customer is about to pay."""

    reference: str
    """Ours, [A-Za-z0-9-]{1,40}, unique for ever."""
    amount_minor: int
    currency: str
    exponent: int
    description: str
    customer_name: str
    customer_email: str | None
    customer_mobile: str | None
    """In the form of E.164."""
    return_url: str
    """Where the payer's browser goes afterwards, by GET or (SSLCommerz) by POST."""
    cancel_url: str
    callback_url: str
    """Where the provider reports, if it takes that with the payment; else it is set in the provider's own panel."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Started:
    """A payment that waits for its payer."""

    provider_reference: str
    redirect_url: str | None
    instructions: str | None
    """For a person, such as to confirm on the phone; where there is no page to go to."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a payment stands. What the provider did not say is None."""

    state: State
    provider_reference: str | None
    reference: str | None
    amount_minor: int | None
    currency: str | None
    receipt: str | None
    """The provider's id of the money that moved: the natural key, for ever."""
    reason: str | None


@dataclass(frozen=True, slots=True)
class Notice:
    """One report of a provider that was authentic."""

    event_id: str
    """The same for the same report sent again."""
    at: datetime | None
    status: Status | None
    """None: nothing about a payment that we would act on."""
    ask: bool
    """Whether `check` has to be asked before it is believed."""


@dataclass(frozen=True, slots=True)
class Returned:
    """Money on its way back."""

    refund_reference: str
    done: bool
    """False: the provider will do it, and says no more now."""
    failed: str | None = None
    """Why the provider, which had taken it on, could not do it in the end."""


class Stale(AdapterError):
    """A report that is too old, or from the future: authentic once, and perhaps sent again by someone else."""


class Unsupported(AdapterError):
    """The provider does not offer this."""


class PaymentGateway(Protocol):
    """A tenant's account with a provider. Methods that ask raise what stands in `adapters.errors`."""

    async def start(self, intent: Intent) -> Started:
        """Make a payment ready for its payer."""

    async def check(self, provider_reference: str, reference: str, *, exponent: int) -> Status:
        """Ask how a payment stands, and complete it where completing is a step of its own."""

    async def refund(
        self,
        provider_reference: str,
        receipt: str | None,
        amount_minor: int,
        currency: str,
        exponent: int,
        key: str,
        *,
        again: bool = False,
        others: Collection[str] = (),
    ) -> Returned:
        """Give back. The same `key` never gives back twice: `again` says that it may have been asked for before without
        a good answer, `others` are the provider's names of the other refunds of this payment. Raises Unsupported where
        it is not offered, Refused ALREADY_EXISTS where the provider knows of one that we do not."""

    async def refund_status(self, provider_reference: str, receipt: str | None, refund_reference: str) -> Returned:
        """Ask how a refund stands that the provider has taken on."""

    def notice(
        self,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        now: datetime,
        exponent: int,
    ) -> Notice:
        """Read a report; `body` is as it came, `headers` without regard to case. Raises Forged, Stale or BadReply."""

    def acknowledgement(self) -> tuple[str, bytes]:
        """Content type and body of the answer that the provider wants to a report. Its status is always 200."""
