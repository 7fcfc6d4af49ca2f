"""Messages to customers: what they say, and how long they are. Whoever sends them takes the rows that are queued."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.models import Customer, Message, MessageChannel, MessageStatus, Tenant
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer

NEWEST = newest_first("messages", Message.id)

# What is said of an event. Every text may name the tenant and the customer.
_TEXTS = {
    "service.suspended": "{tenant}: Dear {customer}, your internet service is suspended. {reason}",
    "service.activated": "{tenant}: Dear {customer}, your internet service is active.",
    "service.suspend_soon": "{tenant}: Dear {customer}, your internet service will be suspended on {day}.",
    "invoice.due": "{tenant}: Dear {customer}, invoice {number} is due on {day}. To be paid: {amount}.",
    "invoice.overdue": "{tenant}: Dear {customer}, invoice {number} was due on {day}. To be paid: {amount}. "
    "{otherwise}",
    "renewal.short": "{tenant}: Dear {customer}, your internet service ends {until}. Another period of {package} costs "
    "{price}; your balance holds {held}.",
    "hotspot.recharged": "{tenant}: Dear {customer}, your hotspot access {username} has {package} until {until}.",
    "fup.near": "{tenant}: Dear {customer}, you have used {percent} % of what your package {package} gives at full "
    "speed. From 100 % on it is {download}/{upload} kbit/s (down/up) until {until}.",
}

# The alphabet that every phone knows, 7 bits a character (3GPP TS 23.038 section 6.2.1), and what takes two of them.
_ALPHABET = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΞΠΨΣΘÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")


@dataclass(frozen=True, slots=True)
class Contact:
    """Who is written to in the customer's place; what is None is as the customer's."""

    name: str | None
    mobile: str | None
    email: str | None


_NOBODY_ELSE = Contact(None, None, None)


async def tell(
    session: AsyncSession,
    customer: Customer,
    event: str,
    *,
    by: Viewer | None,
    contact: Contact | None = None,
    **said: str,
) -> list[Message]:
    """Queue what is to be said of an event, a message for each way the customer can be reached. `by` is None where the
    product itself has noticed it."""
    tenant = await session.get_one(Tenant, customer.tenant_id)
    there = contact or _NOBODY_ELSE
    body = _TEXTS[event].format(tenant=tenant.name, customer=there.name or customer.name, **said).strip()
    ways = [(MessageChannel.SMS, there.mobile or customer.mobile, segments(body))]
    if (email := there.email or customer.email) is not None:
        ways.append((MessageChannel.EMAIL, email, 0))
    made = [
        Message(
            tenant_id=customer.tenant_id,
            customer_id=customer.id,
            channel=channel,
            to=to,
            event=event,
            body=body,
            status=MessageStatus.QUEUED,
            segments=size,
            created_by_id=by.operator_id if by else None,
        )
        for channel, to, size in ways
    ]
    session.add_all(made)
    return made


def segments(text: str) -> int:
    """How many short messages a text takes, at least one.

    One holds 160 units, or 153 with the header that joins it to others (3GPP TS 23.040 section 9.2.3.24.1); 70 and 67
    where one character is outside the alphabet. A character of two units is never cut in two.
    """
    if all(character in _ALPHABET or character in _EXTENSION for character in text):
        widths = [2 if character in _EXTENSION else 1 for character in text]
        alone, joined = 160, 153
    else:
        widths = [2 if ord(character) > 0xFFFF else 1 for character in text]
        alone, joined = 70, 67
    if sum(widths) <= alone:
        return 1
    count, room = 1, joined
    for width in widths:
        if width > room:
            count, room = count + 1, joined
        room -= width
    return count
