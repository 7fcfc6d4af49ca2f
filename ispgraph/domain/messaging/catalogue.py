"""The events of which customers and operators are told, and what is said of each unless a tenant has words of its own.

Pure. A text names variables in braces; which there are, and what stands in them, is told by the event.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ispgraph.domain.models.messages import MessageChannel

LANGUAGE = "en"
"""Of the texts here."""
BOTH = (MessageChannel.SMS, MessageChannel.EMAIL)
OWN = "own."
"""What keys of a tenant's own texts begin with, those that operators send by hand."""

COMMON: Mapping[str, str] = {
    "tenant": "the name of the provider",
    "customer": "the name of the customer, or of the contact who is written to in its place",
    "account": "the account number",
}
OF_CUSTOMER: Mapping[str, str] = {
    **COMMON,
    "balance": "what the customer owes (below zero) or has as credit (above zero)",
    "due": "what is open on invoices",
    "package": "the package of the primary service",
    "username": "the network username of the primary service",
    "until": "when the time of the primary service ends",
}
"""What can be said of a customer at any time."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens, and how it is told."""

    key: str
    title: str
    text: str
    subject: str
    """Of an e-mail."""
    own: Mapping[str, str] = field(default_factory=dict)
    """Variables beside the common ones, with what stands in them."""
    secret: frozenset[str] = frozenset()
    """Those of them that are never stored: they are filled in while the message is sent."""
    optional: frozenset[str] = frozenset()
    """Those of them that may be empty."""
    channels: tuple[MessageChannel, ...] = BOTH
    needed: bool = False
    """Whether it belongs to what the customer has bought: opting out does not stop it."""
    urgent: bool = False
    """Whether it is of no use later: quiet hours do not hold it back."""
    to_operators: bool = False

    @property
    def variables(self) -> Mapping[str, str]:
        """All that a text of it may name."""
        return {**(_OF_OPERATOR if self.to_operators else COMMON), **self.own}


_OF_OPERATOR = {"tenant": "the name of the provider", "operator": "the name of the operator who is written to"}
_UNTIL = {"until": "when that ends, by the tenant's clock"}
_DAY = {"until": "the last day of it"}
_PACKAGE = {"package": "the name of the package"}
_INVOICE = {"number": "of the invoice", "day": "the due day", "amount": "what is to be paid"}
_LOGIN = {"username": "the network username", "password": "the network password"}
_TRANSFER = {
    "customer": "the name of the customer",
    "account": "the account number",
    "source": "the operator who had the customer",
    "target": "the operator who was to get the customer",
}
_ENDPOINT = {"endpoint": "its name", "problem": "what was met"}
_DEAR = "{tenant}: Dear {customer}, "

_ALL = (
    Event(
        "service.welcome",
        "A new service is ready: how to get on line",
        _DEAR + "welcome! Your package {package} is ready. Username: {username} Password: {password}",
        "{tenant}: welcome",
        {**_PACKAGE, **_LOGIN},
        secret=frozenset({"password"}),
        needed=True,
        urgent=True,
    ),
    Event(
        "service.suspended",
        "A service was suspended",
        _DEAR + "your internet service is suspended. {reason}",
        "{tenant}: your internet service is suspended",
        {"reason": "why, as a sentence; empty where that is not for the customer"},
        optional=frozenset({"reason"}),
        needed=True,
    ),
    Event(
        "service.activated",
        "A service was activated again",
        _DEAR + "your internet service is active.",
        "{tenant}: your internet service is active",
        needed=True,
    ),
    Event(
        "service.suspend_soon",
        "A service is going to be suspended on a day that was set",
        _DEAR + "your internet service will be suspended on {day}.",
        "{tenant}: your internet service will be suspended",
        {"day": "on which that happens"},
        needed=True,
    ),
    Event(
        "service.expiring",
        "The time of a service ends soon",
        _DEAR + "your package {package} ends {until}.",
        "{tenant}: your package ends soon",
        {**_PACKAGE, **_UNTIL},
    ),
    Event(
        "service.expired",
        "The time of a service is over",
        _DEAR + "your package {package} has ended ({until}). Pay to go on.",
        "{tenant}: your package has ended",
        {**_PACKAGE, **_UNTIL},
        needed=True,
    ),
    Event(
        "invoice.issued",
        "There is a new invoice",
        _DEAR + "invoice {number} over {amount} is due on {day}.",
        "{tenant}: invoice {number}",
        _INVOICE,
        needed=True,
    ),
    Event(
        "invoice.due",
        "An invoice is due soon",
        _DEAR + "invoice {number} is due on {day}. To be paid: {amount}.",
        "{tenant}: invoice {number} is due",
        _INVOICE,
        needed=True,
    ),
    Event(
        "invoice.overdue",
        "An invoice was not paid in time",
        _DEAR + "invoice {number} was due on {day}. To be paid: {amount}. {otherwise}",
        "{tenant}: invoice {number} is overdue",
        {**_INVOICE, "otherwise": "what happens when it is not paid, as a sentence; or empty"},
        optional=frozenset({"otherwise"}),
        needed=True,
    ),
    Event(
        "payment.received",
        "A payment was received",
        _DEAR + "we have received {amount}. Thank you. Receipt: {number}.",
        "{tenant}: payment received",
        {"amount": "what was paid", "number": "of the receipt"},
        needed=True,
    ),
    Event(
        "renewal.short",
        "The wallet does not cover the next period",
        _DEAR + "your internet service ends {until}. Another period of {package} costs {price}; your balance holds "
        "{held}.",
        "{tenant}: your balance does not cover the next period",
        {**_PACKAGE, **_UNTIL, "price": "of the next period", "held": "what the wallet holds"},
        needed=True,
    ),
    Event(
        "fup.near",
        "Most of what is carried at full speed is used",
        _DEAR + "you have used {percent} % of what your package {package} gives at full speed. From 100 % on it is "
        "{download}/{upload} kbit/s (down/up) until {until}.",
        "{tenant}: you have used {percent} % of your fast data",
        {
            **_PACKAGE,
            **_UNTIL,
            "percent": "how much is used",
            "download": "the reduced rate down, in kbit/s",
            "upload": "the reduced rate up, in kbit/s",
        },
    ),
    Event(
        "quota.near",
        "80 % of a volume is used",
        _DEAR + "you have used {percent} % of the {quota} that your package {package} gives until {until}.",
        "{tenant}: you have used {percent} % of your data",
        {**_PACKAGE, **_UNTIL, "percent": "how much is used", "quota": "the volume, such as 50 GB"},
    ),
    Event(
        "quota.reached",
        "A volume is used up",
        _DEAR + "the {quota} of your package {package} are used up until {until}.",
        "{tenant}: your data is used up",
        {**_PACKAGE, **_UNTIL, "quota": "the volume, such as 50 GB"},
        needed=True,
    ),
    Event(
        "time.reached",
        "A time limit is reached",
        _DEAR + "the {limit} of your package {package} are used up until {until}.",
        "{tenant}: your time is used up",
        {**_PACKAGE, **_UNTIL, "limit": "the time, such as 10 hours, or 2 hours of a session"},
    ),
    Event(
        "package.changed",
        "A service has another package",
        _DEAR + "your package is now {package} (before: {former}).",
        "{tenant}: your package has changed",
        {**_PACKAGE, "former": "the name of the package before"},
        needed=True,
    ),
    Event(
        "ticket.replied",
        "A ticket was answered",
        _DEAR + "ticket {number}: {body}",
        "{tenant}: ticket {number}",
        {"number": "of the ticket", "body": "the answer"},
        needed=True,
    ),
    Event(
        "payment_link.sent",
        "A link to pay by",
        _DEAR + "pay {amount} here: {url} (until {until})",
        "{tenant}: your payment link",
        {**_UNTIL, "amount": "what is to be paid", "url": "the address of the page"},
        needed=True,
        urgent=True,
    ),
    Event(
        "hotspot.recharged",
        "A hotspot login was recharged",
        _DEAR + "your hotspot login is ready until {until}. Package: {package} Username: {username} "
        "Password: {password}",
        "{tenant}: your hotspot login",
        {**_PACKAGE, **_UNTIL, **_LOGIN},
        secret=frozenset({"password"}),
        needed=True,
        urgent=True,
    ),
    Event(
        "portal.invited",
        "The admin of a portal is invited",
        "{tenant}: Dear {customer}, you are to look after the portal {portal}. Accept by {until}: {url}",
        "{tenant}: your portal {portal}",
        {"portal": "its name", "url": "the address of the invitation", "until": "the last day of it"},
        channels=(MessageChannel.EMAIL,),
        needed=True,
    ),
    Event(
        "portal.abandoned",
        "A portal was begun, and nobody goes on with it",
        "{tenant}: {operator}, the portal {portal} ({subdomain}, account {account}) was begun and left. Still to be "
        "done: {missing}. It is deleted {until} unless somebody goes on with it.",
        "{tenant}: the portal {portal} is not finished",
        {
            "portal": "its name",
            "subdomain": "its subdomain",
            "account": "the account number of its customer",
            "missing": "the steps that are not done",
            "until": "when it is deleted, by the tenant's clock",
        },
        channels=(MessageChannel.EMAIL,),
        to_operators=True,
    ),
    Event(
        "customer.invited",
        "A customer may sign in, and is to set a password",
        _DEAR + "you can sign in with your account number {account}. Set your password by {until}: {url}",
        "{tenant}: your access",
        {"url": "the address of the page", **_DAY},
        needed=True,
        urgent=True,
    ),
    Event(
        "customer.password_reset",
        "A customer has asked to set a password",
        _DEAR + "set the password of your account {account} here within an hour: {url} If you have not asked for "
        "this, do nothing.",
        "{tenant}: set your password",
        {"url": "the address of the page"},
        needed=True,
        urgent=True,
    ),
    Event(
        "customer.security",
        "Something about how a customer signs in has changed",
        _DEAR + "{what}. If this is news to you, call us.",
        "{tenant}: about your access",
        {"what": "what has happened, as a sentence without its end"},
        needed=True,
        urgent=True,
    ),
    Event(
        "operator.ticket_said",
        "A customer has written on a ticket that one works on",
        "{tenant}: {operator}, {customer} has written on ticket {number}: {body}",
        "{tenant}: ticket {number}",
        {"customer": "the name of the customer", "number": "of the ticket", "body": "what was written"},
        channels=(MessageChannel.EMAIL,),
        to_operators=True,
    ),
    Event(
        "operator.balance_low",
        "Few SMS credits are left",
        "{tenant}: {operator}, {credits} SMS credits are left.",
        "{tenant}: few SMS credits are left",
        {"credits": "how many"},
        channels=(MessageChannel.EMAIL,),
        to_operators=True,
    ),
    Event(
        "operator.password_reset",
        "A forgotten password is to be set anew",
        "{tenant}: {operator}, somebody has asked to set your password anew. If it was you, enter this code within an "
        "hour: {code} or open {url} Otherwise do nothing.",
        "{tenant}: set your password anew",
        {"code": "what proves that this was read; it works once", "url": "the address of a page that takes the code"},
        secret=frozenset({"code"}),
        channels=(MessageChannel.EMAIL,),
        urgent=True,
        to_operators=True,
    ),
    Event(
        "operator.security",
        "Something about how an operator signs in has changed",
        "{tenant}: {operator}, {what}. If this is news to you, tell whoever manages your account.",
        "{tenant}: about your account",
        {"what": "what has happened, as a sentence without its end"},
        channels=(MessageChannel.EMAIL,),
        urgent=True,
        to_operators=True,
    ),
    Event(
        "router.down",
        "A router does not answer",
        "{tenant}: the router {router} does not answer since {since}. {problem}",
        "{tenant}: {router} does not answer",
        {"router": "its name", "since": "when it was last heard of", "problem": "what was met"},
        optional=frozenset({"problem"}),
        channels=(MessageChannel.EMAIL,),
        urgent=True,
        to_operators=True,
    ),
    Event(
        "router.up",
        "A router answers again",
        "{tenant}: the router {router} answers again.",
        "{tenant}: {router} answers again",
        {"router": "its name"},
        channels=(MessageChannel.EMAIL,),
        urgent=True,
        to_operators=True,
    ),
    Event(
        "webhook.paused",
        "A webhook endpoint has taken nothing for days and is paused",
        "{tenant}: the webhook endpoint {endpoint} has taken nothing for days, and is paused. What happens waits until "
        "it is resumed. {problem}",
        "{tenant}: the webhook endpoint {endpoint} is paused",
        _ENDPOINT,
        channels=(MessageChannel.EMAIL,),
        urgent=True,
        to_operators=True,
    ),
    Event(
        "webhook.disabled",
        "A webhook endpoint said that it is gone",
        "{tenant}: the webhook endpoint {endpoint} is not told of anything any more. {problem}",
        "{tenant}: the webhook endpoint {endpoint} is gone",
        _ENDPOINT,
        channels=(MessageChannel.EMAIL,),
        urgent=True,
        to_operators=True,
    ),
    Event(
        "operator.transfer_asked",
        "A customer is to go to another operator, and you are to agree",
        "{tenant}: {operator}, the customer {customer} ({account}) is to go from {source} to {target}. Please agree to "
        "it or refuse. {reason}",
        "{tenant}: the transfer of {customer} waits for you",
        {**_TRANSFER, "reason": "why"},
        optional=frozenset({"reason"}),
        channels=(MessageChannel.EMAIL,),
        to_operators=True,
    ),
    Event(
        "operator.transfer_decided",
        "The transfer of a customer was decided",
        "{tenant}: {operator}, the transfer of the customer {customer} ({account}) from {source} to {target} was "
        "{outcome}. {note}",
        "{tenant}: the transfer of {customer} was {outcome}",
        {**_TRANSFER, "outcome": "carried out, or refused", "note": "what was said to it last"},
        optional=frozenset({"note"}),
        channels=(MessageChannel.EMAIL,),
        to_operators=True,
    ),
)
EVENTS: Mapping[str, Event] = {event.key: event for event in _ALL}
