"""How one payment by a gateway goes: what may follow on what, whatever is reported and however often. Pure.

The rules, in the order of their weight:

- What the gateway itself confirms to have arrived is never refused. It is applied by the amount that came, also when
  another one was asked for (what is too much settles other invoices or goes to the wallet), also after the attempt was
  given up, cancelled or had failed. Once: a payment that is PAID changes no more.
- Money in another currency than the tenant's, or without an amount, is not applied: the payment is IN_DOUBT with its
  receipt until an operator has decided.
- Of a report only what matches the attempt is believed. One that says PAID with another amount or currency than was
  asked for counts as a reason to ask the gateway.
- Everything else that is said of a payment moves no money, and never undoes what has moved.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from ispgraph.domain import money
from ispgraph.domain.models import GatewayPaymentState, PaymentMethod

S = GatewayPaymentState

BANK_TRANSFER = "bank_transfer"
"""The provider that nobody can ask: an operator looks at the account, and confirms."""
BY_PHONE = ("mpesa",)
"""Those that ask the payer on the phone, and need its number for that."""
_METHODS = {
    "mpesa": PaymentMethod.MOBILE_MONEY,
    "bkash": PaymentMethod.MOBILE_MONEY,
    BANK_TRANSFER: PaymentMethod.BANK_TRANSFER,
}

_GIVE_BACK = ("stripe", "sslcommerz", "bkash", "paystack")

OPEN = (S.STARTED, S.PENDING, S.IN_DOUBT)
"""Where the gateway is asked again by itself."""
GIVE_UP = timedelta(days=3)
GIVE_UP_TRANSFER = timedelta(days=14)
_FIRST_CHECK = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Word:
    """What is said of a payment. `state` is never STARTED or IN_DOUBT; what was not said is None."""

    state: GatewayPaymentState
    amount_minor: int | None = None
    currency: str | None = None
    receipt: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a payment stands. In doubt with a receipt: money came that could not be applied."""

    state: GatewayPaymentState
    receipt: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """How it stands afterwards, and what is to be applied, in minor units: nothing mostly."""

    standing: Standing
    applied_minor: int | None = None


def believed(word: Word, amount_minor: int, currency: str) -> bool:
    """Whether a report, signed by the gateway, needs no asking: it brings what was asked for, or no money."""
    return word.state is not S.PAID or (word.amount_minor == amount_minor and word.currency == currency)


def after(now: Standing, word: Word, *, asked_minor: int, currency: str) -> Next:
    """What comes of it when the gateway says this. A PAID word has a receipt."""
    if now.state is S.PAID:
        return Next(now)
    if word.state is S.PAID:
        return _paid(word, asked_minor, currency)
    if now.state is S.IN_DOUBT and now.receipt is not None:
        return Next(now)
    if word.state is S.PENDING:
        return Next(Standing(S.PENDING) if now.state in OPEN else now)
    return Next(Standing(word.state, None, word.reason) if now.state in OPEN else now)


def _paid(word: Word, asked_minor: int, currency: str) -> Next:
    if word.currency != currency:
        reason = f"Money came in {word.currency or 'an unnamed currency'}, and {currency} was asked for."
        return Next(Standing(S.IN_DOUBT, word.receipt, reason))
    if word.amount_minor is None or not 0 < word.amount_minor <= money.LIMIT_MINOR:
        return Next(Standing(S.IN_DOUBT, word.receipt, "The gateway says that it is paid, and not how much."))
    came, asked = (money.shown(minor, currency) for minor in (word.amount_minor, asked_minor))
    other = None if came == asked else f"{came} came, {asked} was asked for."
    return Next(Standing(S.PAID, word.receipt, other), word.amount_minor)


def gives_back(provider: str) -> bool:
    """Whether money can be given back by this provider without a person in its own panel."""
    return provider in _GIVE_BACK


def method_of(provider: str) -> PaymentMethod:
    """As what money by this provider is recorded."""
    return _METHODS.get(provider, PaymentMethod.ONLINE)


def askable_minor(provider: str, due_minor: int, currency: str) -> int:
    """What a provider can be asked for when so much is due: those on the phone take whole units alone, and what is more
    than is due is in the wallet afterwards."""
    if provider not in BY_PHONE:
        return due_minor
    unit = money.to_minor(Decimal(1), currency)
    return -(-due_minor // unit) * unit


def wait(checks: int) -> timedelta:
    """How long until the gateway is asked again, after so many times: doubling from a minute to six hours."""
    return min(_FIRST_CHECK * (1 << min(checks, 12)), _LONGEST_WAIT)
