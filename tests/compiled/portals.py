"""Portals of the furnished tenant."""

from datetime import datetime, timedelta
from typing import Any

from ispgraph import ids
from ispgraph.domain import models
from ispgraph.domain.models import AssetKind, AssetStatus, DraftStatus, JobStatus, Operator, PortalStep
from ispgraph.domain.portals.subdomains import lookalike
from tests.factories import House

_STATES = (DraftStatus.DRAFT, DraftStatus.PARTIAL, DraftStatus.FAILED, DraftStatus.COMPLETED)


async def furnish(
    house: House, customers: list[models.Customer], operators: dict[str, Operator], now: datetime
) -> list[Any]:
    """Portals in every state, some left, with pictures, admins and a log; and jobs that clear the storage."""
    people = [operators[name] for name in ("admin", "reseller", "clerk")]
    portals = []
    for number, customer in enumerate(customers[:14]):
        name, finished = f"{house.tenant.slug}-portal-{number}", number % 4 == 3
        portals.append(
            models.Portal(
                id=ids.uuid7(),
                customer_id=customer.id,
                version=number,
                subdomain=name,
                lookalike=lookalike(name),
                display_name=f'Portal "{number}" রহিম\\',
                subtitle="<b>\u2028" if number % 2 else None,
                theme="#0a58ca" if number % 3 else None,
                active=finished and number % 8 == 3,
                status=_STATES[number % 4],
                completed_steps=[step.value for step in list(PortalStep)[: number % 4]],
                created_at=now - timedelta(hours=number),
                created_by_id=people[number % 3].id,
                updated_at=now - timedelta(minutes=number),
                modified_by_id=people[(number + 1) % 3].id,
                # Some of them to the very instant.
                expires_at=now + timedelta(hours=number % 3 - 1),
                finished_at=now if finished else None,
            )
        )
    await house.add(*portals)
    for number, portal in enumerate(portals):
        for kind in AssetKind:
            file = None
            if (number + len(kind.value)) % 2:
                file = models.PortalFile(
                    id=ids.uuid7(), portal_id=portal.id, kind=kind, digest=f"{number:064x}", created_at=now
                )
                await house.add(file)
            await house.add(
                models.PortalAsset(
                    portal_id=portal.id,
                    kind=kind,
                    status=list(AssetStatus)[number % 3],
                    attempts=number,
                    failures=number % 5,
                    error='no "picture"\n' if number % 3 == 2 else None,
                    file_id=file and file.id,
                    width=number + 1 if file else None,
                    height=7 if file else None,
                    size_bytes=2**20 if file else None,
                    content_type="image/webp" if file else None,
                    uploaded_at=now - timedelta(microseconds=number) if file else None,
                )
            )
        if number % 3:
            await house.add(
                models.PortalAdmin(
                    portal_id=portal.id,
                    name="Müller\t😀",
                    email=f"admin{number}@portal.example",
                    created_at=now,
                    created_by_id=people[0].id,
                    invitations=number % 2,
                    invitation_sent_at=now if number % 2 else None,
                    invitation_expires_at=now + timedelta(days=7) if number % 2 else None,
                )
            )
        await house.add(
            *(
                models.PortalLogEntry(
                    portal_id=portal.id,
                    step=list(PortalStep)[place % 3],
                    kind=AssetKind.ICON if place % 3 == 1 else None,
                    succeeded=place % 2 == 0,
                    error=None if place % 2 == 0 else "was \\ refused",
                    at=now + timedelta(seconds=place),
                    by_id=people[place % 3].id,
                )
                for place in range(number % 6)
            )
        )
    jobs = [
        models.Job(
            id=ids.uuid7(),
            kind="storage.sweep",
            status=list(JobStatus)[number % 5],
            arguments={},
            next_attempt_at=now,
            created_at=now - timedelta(minutes=number),
        )
        for number in range(3)
    ]
    await house.add(*jobs)
    return [*portals, *jobs]
