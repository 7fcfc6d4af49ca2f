"""Accounts with those who carry messages and take money."""

from datetime import datetime

import strawberry
from sqlalchemy import Uuid, and_, cast

from ispgraph.domain import gateways, models, visibility
from ispgraph.domain.jobs import GATEWAY_TEST
from ispgraph.domain.providers import PROVIDERS
from ispgraph.schema.base import Node, Payload, node
from ispgraph.schema.compiler.fields import one
from ispgraph.schema.context import Info
from ispgraph.schema.jobs import Job, of_kind

_SECRETS = "Secrets are sealed where they rest, and shown to nobody again."


@strawberry.type(description="One thing that is known of an account.")
class GatewaySetting:
    name: str
    value: str


@node(
    "gwy",
    models.Gateway,
    description="An account with a provider of short messages, e-mail or payments. Of several of a kind that are "
    "active messages go by the first, and payers choose.",
)
class Gateway(Node):
    kind: models.GatewayKind
    provider: str = strawberry.field(description="The slug of one of `gatewayProviders`.")
    name: str = strawberry.field(description="What operators, and payers on the payment page, see.")
    test_mode: bool = strawberry.field(description="Whether the provider's sandbox is meant.")
    active: bool
    position: int = strawberry.field(description="The lowest comes first.")
    created_at: datetime
    updated_at: datetime

    @strawberry.field(description="What is filled in, in the order of the provider's form. Secrets are not among it.")
    def settings(root: strawberry.Parent[models.Gateway]) -> list[GatewaySetting]:
        provider = PROVIDERS.get(root.provider)
        order = [setting.name for setting in provider.settings] if provider else sorted(root.settings)
        return [GatewaySetting(name=name, value=root.settings[name]) for name in order if name in root.settings]

    @strawberry.field(description="The names of the secrets that are set.")
    def secrets_set(root: strawberry.Parent[models.Gateway], info: Info) -> list[str]:
        return gateways.secret_names(info.context.settings.network_key, root)

    @strawberry.field(
        description="Where the provider should tell what became of messages and payments; null where it has nothing to "
        "tell."
    )
    def callback_url(root: strawberry.Parent[models.Gateway], info: Info) -> str | None:
        return gateways.callback_url(info.context.settings.origin, root)


@strawberry.type(description="One thing that a provider asks for.")
class GatewayProviderSetting:
    name: str
    label: str
    secret: bool = strawberry.field(description=_SECRETS)
    required: bool
    default: str | None = strawberry.field(description="What counts when it is left empty.")
    choices: list[str] = strawberry.field(description="What it has to be one of; empty: any text.")
    note: str | None = strawberry.field(description="Where it is found at the provider, and in which form.")


@strawberry.type(description="One whom an account can be with.")
class GatewayProvider:
    slug: str
    kind: models.GatewayKind
    label: str
    currencies: list[str] = strawberry.field(description="In which money can be taken (ISO 4217); empty: any.")
    settings: list[GatewayProviderSetting]


@node("job", models.Job, when=lambda job: job.kind == GATEWAY_TEST, description="A job that tests an account.")
class GatewayJob(Job):
    is_type_of = of_kind(lambda kind: kind == GATEWAY_TEST)
    gateway: Gateway | None = one(
        lambda job, gateway, asked: and_(
            gateway.id == cast(job.arguments["gateway"].astext, Uuid),
            visibility.condition(asked.viewer, models.Gateway, gateway),
        )
    )


@strawberry.input
class GatewaySettingInput:
    name: str
    value: str = strawberry.field(description="An empty text takes the setting away.")


@strawberry.input(
    description="An account with a provider. Of one that exists, what is left out stays as it is, and so do settings "
    "that are not named. Take an account out of use with `active: false`: what it was used for stays."
)
class GatewayInput:
    id: strawberry.ID | None = strawberry.field(default=None, description="Left out: a new account.")
    kind: models.GatewayKind | None = strawberry.field(default=None, description="Needed for a new account.")
    provider: str | None = strawberry.field(default=None, description="Needed for a new account.")
    name: str | None = strawberry.field(default=None, description="Needed for a new account. Unique among its kind.")
    settings: list[GatewaySettingInput] | None = strawberry.field(
        default=None, description=f"What `gatewayProviders` tells of. {_SECRETS}"
    )
    test_mode: bool | None = None
    active: bool | None = strawberry.field(default=None, description="A new account is, unless this says otherwise.")
    position: int | None = strawberry.field(
        default=None, description="From 0 to 9999. A new account comes last, unless this says otherwise."
    )
    idempotency_key: str | None = None


@strawberry.type
class GatewayPayload(Payload):
    gateway: Gateway | None = None
