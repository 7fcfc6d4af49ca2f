"""Hosting servers, and the accounts of customers on them."""

from datetime import datetime
from typing import Annotated, Any

import strawberry
from sqlalchemy import BigInteger, Integer, case, cast, literal

from ispgraph.domain import hosting_servers, models
from ispgraph.schema.base import Node, Payload, node
from ispgraph.schema.compiler.fields import declared, expression, many, one, part
from ispgraph.schema.compiler.sources import Expression
from ispgraph.schema.jobs import Job
from ispgraph.schema.scalars import BigInt

CustomerLink = Annotated["Customer", strawberry.lazy("ispgraph.schema.customers")]  # type: ignore[name-defined]  # noqa: F821
_NEARLY_FULL = f"At least {hosting_servers.ADVICE_PERCENT} % of its places are taken: add a server, or make room."


def _advice(server: Any) -> Any:
    taken = hosting_servers.count_of(server) * 100
    full = taken >= server.capacity * hosting_servers.ADVICE_PERCENT
    return case((full, literal(_NEARLY_FULL)))


@node("hsv", models.HostingServer, description="A NextPanel that accounts are made on.")
class HostingServer(Node):
    name: str
    base_url: str
    online: bool = strawberry.field(
        description="Whether it answered, and took our key and secret, when it was last asked; that is every minute."
    )
    problem: str | None = strawberry.field(description="Why it is not online.")
    last_checked_at: datetime | None
    active: bool = strawberry.field(description="Whether it gets new accounts.")
    capacity: int
    account_count: int = expression(
        lambda server, asked: hosting_servers.count_of(server),
        description="Places that are taken: by accounts that are there, promised or failed, and not deleted.",
    )
    available: bool = expression(
        lambda server, asked: hosting_servers.available(server),
        description="Whether it is active, online, and has a place that is free.",
    )
    advice: str | None = expression(
        lambda server, asked: _advice(server),
        description=f"What to do about it from {hosting_servers.ADVICE_PERCENT} % on.",
    )


def _figure(name: str, kind: Any = Integer) -> Any:
    return declared(Expression(lambda account, asked: cast(account.stats[name].astext, kind())))


@strawberry.type(description="What an account holds, as the panel says it; null where it says nothing.")
class HostingStats:
    domains: int | None = _figure("total_domains")
    databases: int | None = _figure("total_databases")
    email_accounts: int | None = _figure("total_email_accounts")
    certificates: int | None = _figure("total_ssl_certificates")
    storage_used: BigInt | None = _figure("storage_used", BigInteger)
    account_age_days: int | None = _figure("account_age_days")
    last_login: str | None = declared(Expression(lambda account, asked: account.stats["last_login"].astext))
    read_at: datetime = declared(Expression(lambda account, asked: account.stats_at))


@node("hac", models.HostingAccount, description="An account of a customer on a hosting server.")
class HostingAccount(Node):
    customer: CustomerLink = one("customer_id")
    server: HostingServer = one("server_id")
    username: str
    package_id: str | None = declared(
        Expression(lambda account, asked: account.package), "The panel's id of its package."
    )
    external_id: str | None = strawberry.field(description="The panel's id of the account.")
    status: models.HostingStatus = strawberry.field(
        description="What the panel has: PENDING until it has made the account, FAILED when that could not be done."
    )
    error: str | None = strawberry.field(
        description="Why it is not, or not yet, as it should be; `hostingRetry` tries again."
    )
    held_for_debt: bool = declared(
        Expression(lambda account, asked: account.held),
        "Whether it is suspended for as long as a service of the customer is because of debts.",
    )
    stats: HostingStats | None = part(
        lambda account, asked: account.stats.is_not(None), description="Read every day, and by `hostingRefreshStats`."
    )
    created_at: datetime
    updated_at: datetime


def hosting_of_customer() -> Any:
    """The field `hostingAccounts` of a customer."""
    return many("customer_id", description="Accounts on hosting servers, also those that were deleted, oldest first.")


@strawberry.input(description="An account on a hosting server. Its password is another one than that of the network.")
class HostingInput:
    username: str = strawberry.field(
        description="1 to 32 letters a–z and digits, beginning with a letter. TAKEN when another account has it."
    )
    password: str = strawberry.field(
        description="8 to 128 characters. It goes to the panel, is forgotten then, and shown to nobody."
    )
    server_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="Left out: the server of which the smallest part is taken, one that is online if there is any.",
    )
    package_id: str | None = strawberry.field(default=None, description="The panel's id of a package.")


@strawberry.input
class HostingProvisionInput:
    customer_id: strawberry.ID = strawberry.field(description="One with an e-mail address.")
    hosting: HostingInput
    idempotency_key: str | None = None


@strawberry.input(description="The key needs the level BILLING or SUPER_ADMIN and the scope Account Management.")
class HostingServerInput:
    name: str = strawberry.field(description="Unique, at most 100 characters.")
    base_url: str = strawberry.field(description="Such as https://panel.example.")
    api_key: str = strawberry.field(description="Begins with npk_. Sealed, and shown to nobody again, as the secret.")
    api_secret: str = strawberry.field(description="Begins with nps_.")
    capacity: int = strawberry.field(default=100, description="How many accounts it takes: from 1 to 1000000.")
    idempotency_key: str | None = None


@strawberry.input(description="What is left out stays as it is. With another address give key and secret again.")
class HostingServerUpdateInput:
    server_id: strawberry.ID
    name: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    api_secret: str | None = None
    capacity: int | None = strawberry.field(
        default=None, description="Below what is taken: the accounts stay, and no more are made."
    )
    active: bool | None = strawberry.field(default=None, description="False: it gets no new accounts.")
    idempotency_key: str | None = None


@strawberry.type
class HostingPayload(Payload):
    account: HostingAccount | None = None
    server: HostingServer | None = None
    jobs: list[Job] = strawberry.field(default_factory=list, description="What carries it out.")
