"""Giving customers to other operators: asking for it, agreeing to it, and looking at what was asked."""

from typing import Any

import strawberry

from ispgraph.domain import transfers
from ispgraph.domain.models import TransferStatus
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.pages import Connection
from ispgraph.schema.transfers import CustomerTransfer, TransferDecisionInput, TransferInput, TransferPayload


async def list_transfers(
    info: Info,
    status: list[TransferStatus] | None = None,
    customer_id: strawberry.ID | None = None,
    mine: bool | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[CustomerTransfer]:
    """Transfers from or to an operator whom the viewer sees, newest first. With `mine` true those that wait for the
    viewer to agree, with false the others."""
    wanted = {"status": status, "customer": optional_id("cus", customer_id, "customerId"), "mine": mine}
    found: Connection[CustomerTransfer] = page_of(
        roots.CUSTOMER_TRANSFERS, wanted, first=first, after=after, last=last, before=before
    )
    return found


@once(keeping=("warnings",))
async def request(info: Info, input: TransferInput) -> TransferPayload:
    """Ask that a customer goes to another operator: for admins (NOT_PERMITTED for others). Both operators are to agree;
    who asks and is one of them has agreed by that. When nobody else is to, it is carried out at once.

    TAKEN while another transfer of the customer is not decided: so of a request that is sent twice the second does
    nothing."""
    done = await transfers.request(
        info.context.session,
        transfers.Wanted(
            customer_id=typed_id("cus", input.customer_id, "input", "customerId"),
            to_operator_id=typed_id("opr", input.to_operator_id, "input", "toOperatorId"),
            transfer_invoices=input.transfer_invoices,
            reason=input.reason,
        ),
        by=info.context.viewer_or_refuse(),
    )
    return _payload(done)


@once(keeping=("warnings",))
async def decide(info: Info, input: TransferDecisionInput) -> TransferPayload:
    """Agree to a transfer, for the operator for whom it waits, or refuse it, for either of the two. Who asked for it,
    and an admin, take it back by refusing. NOT_PERMITTED for others who see it; INVALID_STATE when it is decided.

    With the second agreement the customer changes hands: who does not see the customer any more loses the tickets that
    are not done, and what the customer pays from then on earns commission for the new operator and those above. What
    was earned before, and who took which payment, stays. Prices agreed with the new operator hold from the next period.
    """
    done = await transfers.decide(
        info.context.session,
        typed_id("trf", input.transfer_id, "input", "transferId"),
        approve=input.approve,
        note=input.note,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(done)


def _payload(done: transfers.Transferred) -> TransferPayload:
    row: Any = done.transfer
    return TransferPayload(transfer=row, warnings=list(done.warnings))


@strawberry.type
class TransferQueries:
    customer_transfers = query(list_transfers, Permission.VIEW_CUSTOMERS)


@strawberry.type
class TransferMutations:
    customer_request_transfer = action(request, Permission.CHANGE_OPERATOR)
    customer_decide_transfer = action(decide, Permission.VIEW_CUSTOMERS)
