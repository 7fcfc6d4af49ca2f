"""What operations cost whoever sends them: taken before they are carried out, and told with the answer."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import strawberry
from strawberry.extensions import SchemaExtension
from strawberry.types.graphql import OperationType

from ispgraph import clock
from ispgraph.domain import budgets
from ispgraph.domain.budgets import Spent
from ispgraph.schema.errors import ApiError
from ispgraph.schema.scalars import BigInt


@strawberry.type(description="Points of cost that may be spent: a bucket that is filled again all the time.")
class CostBudget:
    per_second: BigInt = strawberry.field(description="So many points come back in a second.")
    capacity: BigInt = strawberry.field(description="Points when it is full.")
    remaining: BigInt | None = strawberry.field(
        description="Points that are in it; null while nobody knows, and then everything passes."
    )
    full_at: datetime | None = strawberry.field(description="When it is full again, if nothing more is spent.")

    @classmethod
    def of(cls, budget: budgets.Budget) -> "CostBudget":
        """The public form."""
        left = budget.remaining
        missing = None if left is None else timedelta(seconds=(budget.capacity - left) / budget.per_second)
        return cls(
            per_second=BigInt(budget.per_second),
            capacity=BigInt(budget.capacity),
            remaining=None if left is None else BigInt(left),
            full_at=None if missing is None else clock.now() + missing,
        )


@strawberry.type(description="How much may be asked for. `extensions.cost` of each answer says what that one cost.")
class RateLimit:
    operation: int = strawberry.field(description="Points that one operation may cost at most.")
    token: CostBudget = strawberry.field(description="Of the token with which was signed in.")
    tenant: CostBudget = strawberry.field(description="Of all tokens of the provider together.")


class CostBudgets(SchemaExtension):
    """Charges every operation that is fit to be carried out. It stands behind `DocumentLimits`, which prices it."""

    _told: dict[str, Any] | None = None

    async def on_validate(self) -> AsyncIterator[None]:
        """Take the points, or refuse the operation."""
        context = self.execution_context.context
        kept = getattr(context, "budgets", None)
        if kept is not None and not self.execution_context.pre_execution_errors:
            await self._charge(context, kept)
        yield

    async def _charge(self, context: Any, kept: budgets.Budgets) -> None:
        cost: int = context.cost
        try:
            budget = await kept.charge(context.viewer, context.address, cost)
        except Spent as spent:
            self._told = {"requested": cost, "remaining": spent.remaining}
            self.execution_context.pre_execution_errors = [_refusal(cost, spent)]
            return
        self._told = {
            "requested": cost,
            "remaining": budget.remaining,
            "capacity": budget.capacity,
            "perSecond": budget.per_second,
        }

    def get_results(self) -> dict[str, Any]:
        """`extensions.cost`; of a subscription nothing, since its events cost nothing."""
        context = self.execution_context
        streams = not context.pre_execution_errors and context.operation_type is OperationType.SUBSCRIPTION
        return {} if self._told is None or streams else {"cost": self._told}


def _refusal(cost: int, spent: Spent) -> ApiError:
    if spent.retry_after is None:
        message = f"The operation costs {cost}, and a full budget has {spent.remaining}."
        return ApiError("COST_EXCEEDED", message, bound=spent.remaining, cost=cost)
    message = f"The operation costs {cost}, and {spent.remaining} are left: try again in {spent.retry_after} seconds."
    return ApiError("RATE_LIMITED", message, cost=cost, remaining=spent.remaining, retryAfter=spent.retry_after)
