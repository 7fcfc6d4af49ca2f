"""What is written to customers."""

from datetime import datetime

import strawberry

from ispgraph.domain import models
from ispgraph.schema.base import Node, node


@node("msg", models.Message, description="One message to a customer or an operator, as it was or will be sent.")
class Message(Node):
    channel: models.MessageChannel
    to: str = strawberry.field(description="The mobile number or the e-mail address.")
    event: str = strawberry.field(
        description="What it tells of, such as invoice.issued; `sms` or the key of a text that an operator has sent."
    )
    language: str
    subject: str | None = strawberry.field(description="Of an e-mail.")
    body: str = strawberry.field(description="A password in it is a row of asterisks; it goes out in clear.")
    status: models.MessageStatus
    segments: int = strawberry.field(description="How many short messages it takes; 0 for an e-mail.")
    error: str | None = strawberry.field(description="Why it could not be sent.")
    attempts: int = strawberry.field(description="How often it was handed to a gateway.")
    not_before: datetime = strawberry.field(
        description="When it is sent or tried again, while it is queued: quiet hours may hold it back."
    )
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
