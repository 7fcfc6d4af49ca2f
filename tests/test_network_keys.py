"""The network key is changed: everything that is sealed opens before, meanwhile and afterwards."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from ispgraph import clock, ids, mirror, rotate_network_key
from ispgraph.backup import fingerprints
from ispgraph.db import Base, Database
from ispgraph.domain import (
    files,
    jobs,
    network_keys,
    one_time_codes,
    password_codes,
    router_readings,
    secrets,
    vouchers,
)
from ispgraph.domain.models import (
    Draft,
    ImportChunk,
    ImportOutcome,
    ImportRow,
    Job,
    Operator,
    Router,
    SecondFactor,
    Service,
    Voucher,
    WebhookEndpoint,
)
from ispgraph.domain.portals import invitations
from ispgraph.settings import Settings, SettingsError
from tests.factories import NETWORK_KEY as OLD

NEW = bytes(range(50, 82))
BOTH = NEW + OLD
# What is kept of a secret without being sealed: digests and hashes, and bodies that are none.
NOT_SEALED = {
    *("idempotency_keys.input_hash", "tenant_logos.body", "api_tokens.digest", "password_resets.digest"),
    *("second_factors.recovery", "audit_links.content", "audit_links.hash", "portal_admins.invitation_hash"),
    *("customer_password_resets.digest", "payment_links.token_hash", "gateway_events.body_digest"),
}


def test_every_column_of_bytes_is_sealed_anew_or_not_sealed() -> None:
    columns = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if "BYTEA" in str(column.type).upper() or "BLOB" in str(column.type).upper() or "Binary" in repr(column.type)
    }
    assert columns - NOT_SEALED == {place.name for place in network_keys.PLACES}


def test_the_first_key_seals_and_all_open(settings: Settings) -> None:
    environment = {
        "ISPGRAPH_DATABASE_URL": "postgresql://h/d",
        "ISPGRAPH_REDIS_URL": "redis://h",
        "ISPGRAPH_TOKEN_KEY": "00" * 32,
    }
    told = f"{NEW.hex()},{OLD.hex()}"
    assert Settings.from_env(environment | {"ISPGRAPH_NETWORK_KEY": told}).network_key == BOTH
    for wrong in ("", "00", told.replace(",", "")):
        with pytest.raises(SettingsError, match="ISPGRAPH_NETWORK_KEY"):
            Settings.from_env(environment | {"ISPGRAPH_NETWORK_KEY": wrong})
    former, fresh = secrets.seal(OLD, "word", "a"), secrets.seal(BOTH, "word", "a")
    assert secrets.unseal(BOTH, former, "a") == secrets.unseal(NEW, fresh, "a") == "word"
    for key, blob, owner in ((NEW, former, "a"), (OLD, fresh, "a"), (BOTH, former, "b")):
        with pytest.raises(secrets.BadSecret):
            secrets.unseal(key, blob, owner)
    # A message that was written before the change brings the code that was meant then.
    tenant, key = ids.uuid7(), ids.uuid7()
    code, token = password_codes.code(OLD, tenant, key), invitations.token(OLD, key, 3)
    known = password_codes.digest(code)
    assert password_codes.of_message(BOTH, tenant, password_codes.once(key), known) == code
    assert password_codes.of_message(BOTH, tenant, password_codes.once(key), None) != code
    assert invitations.in_message(BOTH, invitations.once(key, 3), invitations.hashed(token)) == token
    assert fingerprints(BOTH) == [*fingerprints(NEW), *fingerprints(OLD)]


RECOVERY = "abcd2345efgh"


async def _fill(settings: Settings, database: Database, capsys: pytest.CaptureFixture[str]) -> UUID:
    """The mirrored providers, and of one of them what they lack: at least one value at every place, all under OLD."""
    await asyncio.to_thread(mirror.main, settings, as_json=True)
    tenant = UUID(hex=ids.decode("ten", json.loads(capsys.readouterr().out)["tenants"][0]["id"]).hex)
    async with database.transaction(tenant) as session:

        async def some(model: type[Any]) -> Any:
            return await session.scalar(select(model).limit(1))

        draft, router, endpoint = await some(Draft), await some(Router), await some(WebhookEndpoint)
        draft.password = secrets.seal(OLD, "a draft's", secrets.draft_password(tenant, draft.id))
        router.username, router.api_password = "api", secrets.seal(OLD, "door", secrets.router_api(tenant, router.id))
        endpoint.former_secret = secrets.seal(OLD, "whsec_former", secrets.webhook(tenant, endpoint.id))
        endpoint.former_until = clock.now() + timedelta(hours=1)
        operator, chunk = await some(Operator), await some(ImportChunk)
        row = ids.uuid7()
        sealed = secrets.seal(OLD, "an imported one's", secrets.import_password(tenant, row))
        session.add(
            ImportRow(
                **{"id": row, "tenant_id": tenant, "import_id": chunk.import_id, "number": 77},
                **{"outcome": ImportOutcome.NEW, "password": sealed},
            )
        )
        # From before recovery codes had a key of their own.
        session.add(
            SecondFactor(
                tenant_id=tenant,
                operator_id=operator.id,
                secret=secrets.seal(
                    OLD, "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", secrets.second_factor(tenant, operator.id)
                ),
                confirmed_at=clock.now(),
                recovery=[bytes.fromhex(secrets.digest(OLD, f"recovery:{RECOVERY}")), b"another"],
            )
        )
        job = await some(Job)
        job.kind = jobs.READ_USERS
        file = await files.begin(session, job, name="r.ndjson", media_type=router_readings.MEDIA_TYPE)
        for number, body in enumerate(router_readings.sealed(job, ["line"], OLD)):
            files.append(session, file, number, body)
    return tenant


async def _left(database: Database, tenant: UUID, key: bytes) -> dict[str, tuple[int, int, int]]:
    async with database.read(tenant) as session:
        found = {
            place.name: await network_keys.check(session, place, tenant, key, None) for place in network_keys.PLACES
        }
    return {name: (passed.seen, passed.former, passed.lost) for name, passed in found.items()}


async def test_everything_is_sealed_anew_and_nothing_else_changes(
    settings: Settings, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = await _fill(settings, database, capsys)
    before = await _left(database, tenant, BOTH)
    filled = {name: seen for name, (seen, _, _) in before.items() if name != "second_factors.recovery_pepper"}
    assert all(filled.values()), filled
    assert all(former == seen and not lost for seen, former, lost in before.values())

    async def command(key: bytes, *, check: bool = False) -> tuple[int, str]:
        given = replace(settings, network_key=key)
        status = await asyncio.to_thread(rotate_network_key.main, given, check=check)
        return status, capsys.readouterr().out

    async with database.read(tenant) as session:
        voucher = await session.scalar(select(Voucher).where(Voucher.redeemed_at.is_(None)).limit(1))
        assert voucher is not None
        written = secrets.unseal(OLD, voucher.code, secrets.voucher_code(tenant, voucher.id))
        names = {row.id: row.username for row in await session.scalars(select(Service))}

    async def usable(key: bytes) -> None:
        async with database.read(tenant) as session:
            held = await vouchers.held(session, written, tenant_id=tenant, network_key=key, at=("code",))
            assert held[0].id == voucher.id
            assert await one_time_codes.take(
                session, replace(settings, network_key=key), (await factor()).operator_id, "ABCD-2345-EFGH"
            )

    async def factor() -> SecondFactor:
        async with database.read(tenant) as session:
            found = await session.scalar(select(SecondFactor))
            assert found is not None
            return found

    await usable(OLD)
    await usable(BOTH)
    # Nothing is done with one key alone, and a look changes nothing and says what there is.
    with pytest.raises(SettingsError, match="NEW,OLD"):
        rotate_network_key.main(replace(settings, network_key=NEW), check=False)
    status, said = await command(BOTH, check=True)
    assert (status, "services.password: " in said) == (1, True)
    status, said = await command(NEW, check=True)
    assert (status, "with a key that is not here" in said) == (1, True)
    assert await _left(database, tenant, BOTH) == before

    status, said = await command(BOTH)
    assert status == 0, said
    assert "sealed anew" in said
    after = await _left(database, tenant, NEW)
    assert {name: (seen, 0, 0) for name, (seen, _, _) in before.items()} | {
        "second_factors.recovery_pepper": (1, 0, 0)
    } == after
    await usable(BOTH)
    await usable(NEW)
    assert (await command(NEW, check=True))[0] == 0
    assert "sealed anew" not in (await command(BOTH))[1]
    async with database.read(tenant) as session:
        assert {row.id: row.username for row in await session.scalars(select(Service))} == names
    # Another one, and the recovery codes are still those that somebody has in a drawer.
    third = bytes(range(90, 122))
    assert (await command(third + NEW))[0] == 0
    await usable(third)
    # What a program has sealed meanwhile that was forgotten with the former key alone is found.
    async with database.transaction(tenant) as session:
        key = next(iter(names))
        sealed = secrets.seal(OLD, "late", secrets.service_password(tenant, key))
        await session.execute(update(Service).where(Service.id == key).values(password=sealed))
    status, said = await command(third, check=True)
    assert (status, "services.password: 1 of" in said) == (1, True)


async def test_a_voucher_is_what_it_is_but_for_its_seal(
    settings: Settings, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trigger lets the seal alone be changed, and only by whoever says that this is done."""
    tenant = await _fill(settings, database, capsys)
    for words, saying in (
        ("code = '\\x00'", "no"),
        ("batch_id = gen_random_uuid()", "yes"),
        ("expires_at = now()", "yes"),
    ):
        async with database.read(tenant) as session:
            await session.execute(text("SELECT set_config('ispgraph.resealing', :saying, true)"), {"saying": saying})
            with pytest.raises(DBAPIError, match="a voucher stays what it is"):
                await session.execute(text(f"UPDATE vouchers SET {words}"))
