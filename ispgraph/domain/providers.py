"""By whom messages are carried and money is taken: the providers a tenant has an account with."""

from collections.abc import Mapping

from ispgraph.domain.gateway_providers import Provider
from ispgraph.domain.message_providers import EMAIL, SMS
from ispgraph.domain.payment_providers import PAYMENT

PROVIDERS: Mapping[str, Provider] = {each.slug: each for each in (*SMS, *EMAIL, *PAYMENT)}
"""By slug, in the order in which they are offered."""
