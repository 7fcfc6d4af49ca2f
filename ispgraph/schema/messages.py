"""What is written to customers."""

from datetime import datetime

import strawberry

from ispgraph.domain import models
from ispgraph.schema.base import Node, node


@node("msg", models.Message, description="One message to a customer, as it was or will be sent.")
class Message(Node):
    channel: models.MessageChannel
    to: str = strawberry.field(description="The mobile number or the e-mail address.")
    body: str
    status: models.MessageStatus
    segments: int = strawberry.field(description="How many short messages it takes; 0 for an e-mail.")
    error: str | None = strawberry.field(description="Why it could not be sent.")
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
