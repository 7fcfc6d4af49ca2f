"""Others who are told of what happens, what makes their payloads, and what became of each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
import strawberry
from graphql import DocumentNode, GraphQLError, OperationDefinitionNode, print_ast
from sqlalchemy import Text, case, cast, func, literal_column
from strawberry.types.graphql import OperationType

from ispgraph.domain import models
from ispgraph.domain.models import DeliveryStatus, WebhookStatus
from ispgraph.domain.webhooks.catalogue import WHEN, WebhookEvent, spelt
from ispgraph.schema.base import Node, Payload, node
from ispgraph.schema.compiler.fields import column, expression, one
from ispgraph.schema.context import Context
from ispgraph.schema.errors import ApiSchema
from ispgraph.schema.limits import COST_SIGNED_IN, documents_of
from ispgraph.schema.operators import Operator

strawberry.enum(
    WebhookEvent, description="What others can be told of. In payloads an event is called as its description begins."
)
for _value in WebhookEvent.__strawberry_definition__.values:  # type: ignore[attr-defined]
    _value.description = f"`{spelt(_value.name)}`: {WHEN[WebhookEvent[_value.name]]}"

_SUBJECT = "subject"


def wrong_with(schema: Any, text: str) -> list[str]:
    """What keeps a document from making payloads, in words for a person; nothing of one that is fit."""
    try:
        checked = documents_of(schema).check(text)
    except GraphQLError as error:
        return [error.message]
    if checked.errors:
        return [error.message for error in checked.errors]
    problems = [*_unfit(checked.document)]
    if checked.introspective:
        problems.append("It may not ask for the schema.")
    if not problems and checked.pricing is not None:
        cost = checked.pricing.cost(None, {_SUBJECT: ""})
        if cost > COST_SIGNED_IN:
            problems.append(f"It costs {cost}, at most {COST_SIGNED_IN} is allowed. Ask for smaller pages.")
    return problems


async def executed(schema: ApiSchema, document: str, subject: str, context: Context) -> tuple[Any, list[Any]]:
    """What a document says of an object, as plain JSON values, and the errors in it; None when it was refused."""
    result = await schema.execute(
        document, {_SUBJECT: subject}, context_value=context, allowed_operation_types={OperationType.QUERY}
    )
    errors = [each.formatted for each in result.errors or ()]
    return orjson.loads(orjson.dumps(result.data)), errors


def _unfit(document: DocumentNode) -> Sequence[str]:
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    if len(operations) != 1 or operations[0].operation.value != "query":
        return ["A document is one query."]
    for variable in operations[0].variable_definitions or ():
        if variable.variable.name.value != _SUBJECT or print_ast(variable.type) != "ID!":
            return [f"The only variable there is: ${_SUBJECT}: ID!, the id of what the event is about."]
    return []


@node(
    "whe",
    models.WebhookEndpoint,
    description="An address outside that is told of events, by the Standard Webhooks specification.",
)
class WebhookEndpoint(Node):
    name: str
    url: str
    events: list[WebhookEvent] = strawberry.field(description="Of what it is told.")
    document: str | None = strawberry.field(
        description="The query whose data is the payload; null: the id of the object and of its customer, and statuses."
    )
    owner: Operator = one("owner_id", description="Who saved it last. Nothing is sent that the owner may not see.")
    status: WebhookStatus = strawberry.field(
        description="PAUSED: what happens waits. DISABLED: it answered 410, and what happens is not kept for it."
    )
    problem: str | None = strawberry.field(description="Why it is not ACTIVE, or what the last attempt met.")
    failures: int = strawberry.field(description="Attempts that failed since the last that succeeded.")
    failing_since: datetime | None = strawberry.field(
        description="When it began to fail. After 5 days of that it is paused, and operators are told by e-mail."
    )
    delivered_at: datetime | None = strawberry.field(description="When it last took something.")
    former_secret_until: datetime | None = column(
        "former_until", description="Until then what is sent is signed with the former secret as well."
    )
    created_at: datetime
    updated_at: datetime


@strawberry.type(description="One call of an endpoint.")
class WebhookAttempt:
    at: datetime = strawberry.field(description="When it ended.")
    response_status: int | None = strawberry.field(description="The status of HTTP; null without an answer.")
    error: str | None = strawberry.field(description="Why there was no answer.")
    milliseconds: int = strawberry.field(description="How long it took.")


@node(
    "whd",
    models.WebhookDelivery,
    description="One event for one endpoint. Of one object, a later event waits until the earlier has ended.",
)
class WebhookDelivery(Node):
    endpoint: WebhookEndpoint = one("endpoint_id")
    event: WebhookEvent
    message_id: str = expression(
        lambda row, asked: func.concat(
            literal_column("'evt_'"),
            func.replace(cast(row.event_id, Text), literal_column("'-'"), literal_column("''")),
        ),
        description="The header `webhook-id`: the same at every attempt, and at every endpoint.",
    )
    subject_id: strawberry.ID = column("subject", description="What the event is about; it may be gone by now.")
    customer_id: strawberry.ID | None = column("customer", description="Whose that is.")
    occurred_at: datetime
    status: DeliveryStatus = strawberry.field(
        description="GIVEN_UP: after ten attempts, or because the endpoint is gone. WITHHELD: the owner of the "
        "endpoint may not see the object, and nothing was sent."
    )
    attempt_count: int = column("attempts", description="How often it was sent, since it was last sent anew.")
    next_attempt_at: datetime | None = expression(
        lambda row, asked: case(
            (row.status == DeliveryStatus.PENDING, func.greatest(row.next_attempt_at, row.created_at))
        ),
        description="When it is sent at the earliest; null when it has ended.",
    )
    response_status: int | None = strawberry.field(description="Of the last attempt; null without an answer.")
    response_body: str | None = strawberry.field(description="The first 1,024 characters of the last answer.")
    error: str | None = strawberry.field(description="Why it was not delivered.")
    payload: str | None = column("body", description="What is sent, as JSON; null before the first attempt.")
    created_at: datetime
    ended_at: datetime | None

    @strawberry.field(description="The last 20 attempts, oldest first.")
    def attempts(root: strawberry.Parent[models.WebhookDelivery]) -> list[WebhookAttempt]:
        return [
            WebhookAttempt(
                at=datetime.fromisoformat(str(each["at"])),
                response_status=_number(each["status"]),
                error=None if each["error"] is None else str(each["error"]),
                milliseconds=_number(each["milliseconds"]) or 0,
            )
            for each in root.log
        ]


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


@strawberry.input(description="An endpoint. Of one that exists, what is left out stays as it is.")
class WebhookEndpointInput:
    id: strawberry.ID | None = strawberry.field(default=None, description="Left out: a new endpoint.")
    name: str | None = strawberry.field(default=None, description="Needed for a new one. At most 100 characters.")
    url: str | None = strawberry.field(
        default=None, description="Needed for a new one: https, and no address of a private network."
    )
    events: list[WebhookEvent] | None = strawberry.field(
        default=None, description="Needed for a new one: at least one."
    )
    document: str | None = strawberry.field(
        default=None,
        description="A query, whose data is the payload. It may have one variable, `$subject: ID!`, the id of what the "
        "event is about: `query ($subject: ID!) { node(id: $subject) { ... on Invoice { number } } }`. It is carried "
        "out as you when the event is first sent. An empty text takes it away.",
    )
    idempotency_key: str | None = None


@strawberry.type
class WebhookEndpointPayload(Payload):
    endpoint: WebhookEndpoint | None = None
    secret: str | None = strawberry.field(
        default=None, description="What receivers check signatures with (`whsec_…`), when it is new. It is told once."
    )


@strawberry.type
class WebhookEndpointDeletePayload(Payload):
    endpoint_id: strawberry.ID | None = strawberry.field(default=None, description="Of the one that is gone.")


@strawberry.type
class WebhookDeliveryPayload(Payload):
    delivery: WebhookDelivery | None = None
