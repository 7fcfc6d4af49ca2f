"""What is shown to whoever may see it, and stands on record."""

import strawberry

from ispgraph.schema.base import Payload


@strawberry.type
class SecretPayload(Payload):
    secret: str | None = strawberry.field(default=None, description="Keep it nowhere: each reading is on record.")
