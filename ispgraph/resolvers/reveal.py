"""Showing secrets."""

import strawberry

from ispgraph.domain import reveal
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import action
from ispgraph.schema.context import Info
from ispgraph.schema.secrets import SecretPayload


async def network_password(
    info: Info, customer_id: strawberry.ID, service_id: strawberry.ID | None = None
) -> SecretPayload:
    """The network password of a service, the primary one unless `serviceId` says otherwise. Who has read it stands in
    the audit log and in the customer's timeline. LIMIT_EXCEEDED after 20 within ten minutes."""
    context = info.context
    secret = await reveal.network_password(
        context.session,
        typed_id("cus", customer_id, "customerId"),
        optional_id("svc", service_id, "serviceId"),
        key=context.settings.network_key,
        by=context.viewer_or_refuse(),
    )
    return SecretPayload(secret=secret)


@strawberry.type
class RevealMutations:
    customer_reveal_network_password = action(network_password, Permission.REVEAL_SECRETS)
