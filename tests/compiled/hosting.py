"""Hosting servers and accounts of every status, with figures that are there, missing or large."""

from datetime import datetime, timedelta
from typing import Any

from ispgraph import ids
from ispgraph.domain import hosting_servers, models
from ispgraph.domain.models import HostingStatus, HostingWish
from tests.factories import NETWORK_KEY, House

_FIGURES: tuple[dict[str, object] | None, ...] = (
    None,
    {},
    {"total_domains": 3, "storage_used": 5_000_000_000, "last_login": '2026-06-01T00:00:00 "ঢাকা" \\'},
    {"total_databases": 0, "total_email_accounts": 10, "total_ssl_certificates": 1, "account_age_days": 30},
)


async def furnish(house: House, customers: list[models.Customer], now: datetime) -> list[Any]:
    """Two servers, one of them nearly full, and accounts of some of the customers."""
    servers = []
    for number, (name, capacity) in enumerate((('Panel "1" রহিম', 4), ("Panel \\ 2", 100))):
        server = models.HostingServer(
            id=ids.uuid7(),
            tenant_id=house.tenant.id,
            name=name,
            base_url=f"https://panel{number}.example/\\a",
            capacity=capacity,
            active=True,
            online=number == 0,
            problem=None if number == 0 else 'no "answer"',
            last_checked_at=now - timedelta(microseconds=5) if number else None,
            created_at=now,
            updated_at=now,
        )
        server.credentials = hosting_servers._sealed(NETWORK_KEY, server, hosting_servers.Keys("npk_a", "nps_a"))
        servers.append(server)
    await house.add(*servers)
    accounts = []
    for number in range(20):
        status = list(HostingStatus)[number % 5]
        accounts.append(
            models.HostingAccount(
                customer_id=customers[number % 7].id,
                server_id=servers[number % 2].id,
                any_server=number % 2 == 0,
                placed=number % 6 != 5,
                username=f"user{number}",
                package='7 "gold"' if number % 3 else None,
                external_id=str(1000 + number) if status is not HostingStatus.PENDING else None,
                status=status,
                wish=HostingWish.ACTIVE,
                held=number % 4 == 0,
                error="The panel said:\tno" if number % 4 == 3 else None,
                stats=_FIGURES[number % 4],
                stats_at=now if number % 4 else None,
                created_at=now - timedelta(days=number),
                updated_at=now,
            )
        )
    await house.add(*accounts)
    return [*servers, *accounts]
