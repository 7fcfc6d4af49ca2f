"""The network key, when it is changed: what the former one sealed is sealed anew, row by row, while everything runs.

Every program has both keys meanwhile (`secrets`), so a row may be read before it is sealed anew and after. Which rows
are done shows by the rows alone: whoever goes on after a kill passes over them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, Select, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from ispgraph.domain import jobs, secrets, voucher_codes
from ispgraph.domain.models import (
    Draft,
    File,
    FileChunk,
    Gateway,
    HostingAccount,
    HostingServer,
    ImportChunk,
    ImportRow,
    Job,
    PaymentLink,
    Router,
    SecondFactor,
    Service,
    Voucher,
    WebhookEndpoint,
)

BATCH = 500

Extra = Callable[[Any, bytes, bytes], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Place:
    """A column with sealed values: how to read it, what a value is bound to, and what else of the row then changes."""

    column: InstrumentedAttribute[Any]
    bound_to: Callable[[Any], str]
    reads: Sequence[InstrumentedAttribute[Any]] = ()
    of: Callable[[Select[Any]], Select[Any]] = field(default=lambda asked: asked)
    also: Extra | None = None

    @property
    def model(self) -> Any:
        """The table, as a model."""
        return self.column.class_

    @property
    def name(self) -> str:
        """As it is told: `services.password`."""
        return f"{self.model.__tablename__}.{self.column.key}"


class Passed(NamedTuple):
    """What came of a batch: where it ended, None after the last row; rows looked at; rows still of a former key, or
    sealed anew; and rows that none of the keys opens."""

    end: Sequence[Any] | None
    seen: int
    former: int
    lost: int


def _of_row(bound: Callable[[UUID, UUID], str]) -> Callable[[Any], str]:
    return lambda row: bound(row.tenant_id, row.id)


def _of_operator(bound: Callable[[UUID, UUID], str]) -> Callable[[Any], str]:
    return lambda row: bound(row.tenant_id, row.operator_id)


def _found_by(row: Any, network_key: bytes, _found: bytes) -> Mapping[str, object]:
    written = secrets.unseal(network_key, row.sealed, secrets.voucher_code(row.tenant_id, row.id))
    code = voucher_codes.read(written)
    assert code is not None
    return {"lookup": voucher_codes.lookup(network_key, row.tenant_id, code)}


def _pepper(row: Any, network_key: bytes, found: bytes) -> Mapping[str, object]:
    if not row.recovery or row.recovery_pepper is not None:
        return {}
    bound_to = secrets.recovery_pepper(row.tenant_id, row.operator_id)
    return {"recovery_pepper": secrets.seal(network_key, secrets.peppers(found)[0].hex(), bound_to)}


def _readings(asked: Select[Any]) -> Select[Any]:
    of_file = (File.tenant_id == FileChunk.tenant_id) & (File.id == FileChunk.file_id)
    of_job = (Job.tenant_id == File.tenant_id) & (Job.id == File.job_id)
    return asked.join(File, of_file).join(Job, of_job).where(Job.kind == jobs.READ_USERS)


PLACES: Sequence[Place] = (
    Place(Service.password, _of_row(secrets.service_password)),
    Place(Draft.password, _of_row(secrets.draft_password)),
    Place(Router.radius_secret, _of_row(secrets.router_radius)),
    Place(Router.api_password, _of_row(secrets.router_api)),
    Place(Gateway.secrets, _of_row(secrets.gateway)),
    Place(HostingServer.credentials, _of_row(secrets.hosting_server)),
    Place(HostingAccount.password, _of_row(secrets.hosting_account)),
    Place(PaymentLink.token_sealed, _of_row(secrets.payment_link)),
    Place(Voucher.code, _of_row(secrets.voucher_code), also=_found_by),
    Place(
        SecondFactor.secret,
        _of_operator(secrets.second_factor),
        reads=(SecondFactor.operator_id, SecondFactor.recovery, SecondFactor.recovery_pepper),
        also=_pepper,
    ),
    Place(SecondFactor.recovery_pepper, _of_operator(secrets.recovery_pepper), reads=(SecondFactor.operator_id,)),
    Place(WebhookEndpoint.secret, _of_row(secrets.webhook)),
    Place(WebhookEndpoint.former_secret, _of_row(secrets.webhook)),
    Place(ImportRow.password, _of_row(secrets.import_password)),
    Place(
        ImportChunk.body,
        lambda row: secrets.import_chunk(row.tenant_id, row.import_id, row.number),
        reads=(ImportChunk.import_id, ImportChunk.number),
    ),
    Place(
        FileChunk.body,
        lambda row: secrets.router_reading(row.tenant_id, row.job_id, row.number),
        reads=(File.job_id,),
        of=_readings,
    ),
)
"""Every column with values that `secrets.seal` has made."""


async def check(
    session: AsyncSession, place: Place, tenant_id: UUID, network_key: bytes, after: Sequence[Any] | None
) -> Passed:
    """Look at the next rows of a place, behind those that ended with `after`."""
    rows = await _next(session, place, tenant_id, after)
    found = [secrets.sealed_with(network_key, row.sealed, place.bound_to(row)) for row in rows]
    first = secrets.keys(network_key)[0]
    former = sum(1 for each in found if each not in (None, first))
    return Passed(_end(place, rows), len(rows), former, found.count(None))


async def reseal(
    session: AsyncSession, place: Place, tenant_id: UUID, network_key: bytes, after: Sequence[Any] | None
) -> Passed:
    """The same, and seal with the first key what a former one has sealed. Again: nothing changes."""
    rows = await _next(session, place, tenant_id, after)
    old = [row for row in rows if _former(place, row, network_key)]
    done = 0
    if old:
        await session.execute(text("SELECT set_config('ispgraph.resealing', 'yes', true)"))
        keys = [tuple(row[: _width(place)]) for row in old]
        asked = _rows(place, tenant_id).where(tuple_(*_primary(place)).in_(keys)).order_by(*_primary(place))
        for row in (await session.execute(asked.with_for_update(of=place.model))).all():
            # It may have been changed, or sealed anew, since it was looked at.
            found = _former(place, row, network_key)
            if found is not None:
                await session.execute(_resealed(place, row, network_key, found))
                done += 1
    lost = sum(1 for row in rows if secrets.sealed_with(network_key, row.sealed, place.bound_to(row)) is None)
    return Passed(_end(place, rows), len(rows), done, lost)


def _resealed(place: Place, row: Row[Any], network_key: bytes, found: bytes) -> Any:
    bound_to = place.bound_to(row)
    values: dict[str, object] = {
        place.column.key: secrets.seal(network_key, secrets.unseal(found, row.sealed, bound_to), bound_to)
    }
    if place.also is not None:
        values |= place.also(row, network_key, found)
    mine = [column == value for column, value in zip(_primary(place), row, strict=False)]
    return update(place.model).where(*mine).values(**values).execution_options(synchronize_session=False)


def _former(place: Place, row: Row[Any], network_key: bytes) -> bytes | None:
    found = secrets.sealed_with(network_key, row.sealed, place.bound_to(row))
    return None if found == secrets.keys(network_key)[0] else found


async def _next(
    session: AsyncSession, place: Place, tenant_id: UUID, after: Sequence[Any] | None
) -> Sequence[Row[Any]]:
    asked = _rows(place, tenant_id).order_by(*_primary(place)).limit(BATCH)
    if after is not None:
        asked = asked.where(tuple_(*_primary(place)) > tuple(after))
    rows: Sequence[Row[Any]] = (await session.execute(asked)).all()
    return rows


def _rows(place: Place, tenant_id: UUID) -> Select[Any]:
    # The primary key comes first; by its names and by those of the others a row tells what it is bound to.
    named = [column for column in (place.model.tenant_id, *place.reads) if column.key not in _names(place)]
    asked = select(*_primary(place), *named, place.column.label("sealed")).select_from(place.model)
    return place.of(asked).where(place.model.tenant_id == tenant_id, place.column.is_not(None))


def _primary(place: Place) -> list[Any]:
    return [getattr(place.model, name) for name in _names(place)]


def _names(place: Place) -> list[str]:
    return [column.key for column in place.model.__table__.primary_key]


def _width(place: Place) -> int:
    return len(_names(place))


def _end(place: Place, rows: Sequence[Row[Any]]) -> Sequence[Any] | None:
    return tuple(rows[-1][: _width(place)]) if len(rows) == BATCH else None
