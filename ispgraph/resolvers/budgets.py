"""How much may still be asked for."""

import strawberry

from ispgraph.resolvers.base import SIGNED_IN, query
from ispgraph.schema.budgets import CostBudget, RateLimit
from ispgraph.schema.context import Info
from ispgraph.schema.limits import COST_SIGNED_IN


async def rate_limit(info: Info) -> RateLimit | None:
    """The budgets of the token and of the provider, after this operation; null where none are kept."""
    kept = info.context.budgets
    if kept is None:
        return None
    token, tenant = await kept.look(info.context.viewer_or_refuse())
    return RateLimit(operation=COST_SIGNED_IN, token=CostBudget.of(token), tenant=CostBudget.of(tenant))


@strawberry.type
class BudgetQueries:
    rate_limit = query(rate_limit, SIGNED_IN)
