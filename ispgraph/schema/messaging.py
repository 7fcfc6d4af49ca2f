"""Texts of events, how they would arrive, SMS that are written by hand, and the credits they cost."""

from datetime import datetime
from typing import Any

import strawberry

from ispgraph import ids
from ispgraph.domain import models
from ispgraph.domain.messaging.templates import Words
from ispgraph.domain.messaging.texts import Encoding
from ispgraph.schema.base import Node, Payload, node
from ispgraph.schema.compiler.fields import one
from ispgraph.schema.messages import Message
from ispgraph.schema.operators import Operator

TEMPLATE = "mtp"
"""What ids of templates begin with."""


@strawberry.type(description="Something that a text may name in braces.")
class MessageVariable:
    name: str
    description: str = strawberry.field(description="What stands in its place.")


def _id(root: strawberry.Parent[Words]) -> strawberry.ID:
    return strawberry.ID(ids.encode(TEMPLATE, root.id))


@strawberry.type(
    description="What is said of an event on one channel in one language: words of the product, or in their place the "
    "tenant's; or a text of the tenant's own, to be sent by hand."
)
class MessageTemplate(Node):
    @classmethod
    def is_type_of(cls, value: Any, _info: Any) -> bool:
        """Whether this is one."""
        return isinstance(value, Words)

    id: strawberry.ID = strawberry.field(resolver=_id)
    key: str = strawberry.field(description="The event; those of the tenant's own texts begin with `own.`.")
    channel: models.MessageChannel
    language: str
    subject: str | None = strawberry.field(description="Of an e-mail; null on other channels.")
    body: str
    active: bool = strawberry.field(description="Otherwise nothing is sent where these words would be used.")
    changed: bool = strawberry.field(description="Whether these are the tenant's words.")

    @strawberry.field(description="What happens; null of a text of the tenant's own.")
    def title(root: strawberry.Parent[Words]) -> str | None:
        return None if root.event is None else root.event.title

    @strawberry.field(description="Whether it belongs to what the customer has bought: opting out does not stop it.")
    def needed(root: strawberry.Parent[Words]) -> bool:
        return root.event is not None and root.event.needed

    @strawberry.field(description="Whether quiet hours do not hold it back.")
    def urgent(root: strawberry.Parent[Words]) -> bool:
        return root.event is None or root.event.urgent

    @strawberry.field(description="What body and subject may name in braces.")
    def variables(root: strawberry.Parent[Words]) -> list[str]:
        return list(root.variables)

    @strawberry.field(description="The same, with what stands in their place.")
    def described(root: strawberry.Parent[Words]) -> list[MessageVariable]:
        return [MessageVariable(name=name, description=told) for name, told in root.variables.items()]


@strawberry.input
class MessageTemplateInput:
    key: str = strawberry.field(
        description="An event, or `own.` and a–z, 0–9 and _ for a text of your own, which operators send by hand."
    )
    channel: models.MessageChannel
    language: str | None = strawberry.field(default=None, description="Left out: en.")
    subject: str | None = strawberry.field(
        default=None, description="Of an e-mail, at most 200 characters; left out: that of the product."
    )
    body: str = strawberry.field(
        description="At most 1530 characters for SMS, 10000 for e-mail. A brace that is meant as such is written twice."
    )
    active: bool = strawberry.field(
        default=True, description="False: the event is not told where these words would be used."
    )
    idempotency_key: str | None = None


@strawberry.input
class MessageTemplateResetInput:
    key: str
    channel: models.MessageChannel
    language: str | None = strawberry.field(default=None, description="Left out: en.")
    idempotency_key: str | None = None


@strawberry.type
class MessageTemplatePayload(Payload):
    template: MessageTemplate | None = strawberry.field(
        default=None, description="After a reset the words of the product; null where it has none."
    )


@strawberry.input
class MessagePreviewInput:
    customer_id: strawberry.ID
    body: str | None = strawberry.field(default=None, description="Free text; or else a template's key.")
    template_key: str | None = None
    channel: models.MessageChannel = models.MessageChannel.SMS


@strawberry.type(description="How a text would arrive at a customer. Nothing was sent.")
class MessagePreview:
    to: str = strawberry.field(description="The mobile number or the e-mail address; empty: there is none.")
    subject: str | None
    body: str = strawberry.field(description="A password in it is a row of asterisks.")
    language: str
    unknown_variables: list[str] = strawberry.field(
        description="For which nothing is known. They stand in the body as they were written, and keep it from being "
        "sent by hand."
    )
    segments: int = strawberry.field(description="How many short messages it takes; 0 for an e-mail.")
    encoding: Encoding = strawberry.field(
        description="GSM_7: 160 characters in one short message, 153 in each of several. UCS_2: 70 and 67."
    )
    credits: int = strawberry.field(
        description="SMS credits that it would cost the viewer; 0 for the provider's own operators."
    )


@strawberry.input
class SendSmsInput:
    customer_id: strawberry.ID
    body: str | None = strawberry.field(
        default=None, description="Free text, at most 1530 characters; it may name variables. Or else a template's key."
    )
    template_key: str | None = None
    idempotency_key: str | None = None


@strawberry.type
class MessagePayload(Payload):
    message: Message | None = None


@strawberry.input
class AddSmsCreditsInput:
    operator_id: strawberry.ID
    credits: int = strawberry.field(
        description="From -1000000 to 1000000, not 0; below zero they are taken back. A reseller gives of its own."
    )
    note: str | None = strawberry.field(default=None, description="Stands in the book; at most 255 characters.")
    idempotency_key: str | None = None


@node("sce", models.SmsCreditEntry, description="One change of a reseller's SMS credits.")
class SmsCreditEntry(Node):
    operator: Operator = one("operator_id")
    kind: models.CreditKind
    credits: int
    balance: int = strawberry.field(description="What the operator had afterwards.")
    message: Message | None = one("message_id")
    note: str | None
    created_at: datetime
    created_by: Operator | None = one("created_by_id")
