"""The chain over the audit entries: every change is found, wherever it is made, and nothing else is reported."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from typer.testing import CliRunner

from ispgraph import cli, clock, ids, sealing, verify_audit
from ispgraph.db import Database
from ispgraph.domain import audit_chain
from ispgraph.domain.audit_chain import Keys
from ispgraph.domain.models import AuditEntry, AuditLink, AuditUnsealed, Role
from ispgraph.settings import Settings, SettingsError
from ispgraph.verify_audit import Anchor, Chain
from tests.audit import forging
from tests.factories import House

LENGTH = 8


@pytest.fixture
def keys(settings: Settings) -> Keys:
    return Keys.of(settings)


async def record(house: House, number: int, **fields: object) -> list[AuditEntry]:
    """So many entries of different kinds, in one transaction."""
    rows = [
        AuditEntry(
            **{
                "at": clock.now(),
                "operator_id": house.admin.id,
                "action": f"customer.update{n}",
                "subject_id": ids.uuid7() if n % 3 else None,
                "details": {"näme": ["Ärzte", f"line\n{n}"], "minor": n, "rate": n / 8, "none": None},
            }
            | fields
        )
        for n in range(number)
    ]
    await house.add(*rows)
    return rows


async def found(house: House, keys: Keys, expected: Anchor | None = None) -> Chain:
    async with house.database.read(house.tenant.id) as session:
        return await verify_audit.verify(session, house.tenant.id, house.tenant.slug, keys, expected)


@asynccontextmanager
async def as_owner(owner: Database, house: House) -> AsyncIterator[AsyncConnection]:
    """The owner, with everything out of the way; what is done is taken back."""
    async with owner.read(house.tenant.id) as session:
        for each in forging.UNLOCK:
            await session.execute(text(each))
        yield await session.connection()


async def all_are_found(house: House, owner: Database, keys: Keys, count: int) -> None:
    await house.operator(Role.STAFF)
    await record(house, LENGTH)
    await sealing.seal(house.database, keys)
    whole = await found(house, keys)
    assert (whole.problem, whole.sequence, whole.waiting) == (None, LENGTH, 0)
    anchor = Anchor(whole.sequence, whole.hash)
    async with as_owner(owner, house) as connection:
        entries = list(await connection.scalars(select(AuditLink.entry_id).order_by(AuditLink.sequence)))
        direct: Any = (await connection.get_raw_connection()).driver_connection
        await direct.execute("SAVEPOINT untouched")
        for number, forgery in enumerate(forging.forgeries(LENGTH, count)):
            # In one message: this is done ten thousand times.
            await direct.execute("; ".join(("ROLLBACK TO untouched", *forgery.statements)))
            chain = await verify_audit.verify(connection, house.tenant.id, "north", keys, anchor)
            told = (number, forgery, chain.problem)
            assert chain.problem is not None, told
            assert chain.problem.sequence == forgery.link, told
            if forgery.entry is not None:
                bad = entries[forgery.entry - 1].hex if forgery.entry > 0 else "ffffffff000070008000000000000000"
                assert chain.problem.entry == f"aud_{bad}", told
        await direct.execute("ROLLBACK TO untouched")
        assert (await verify_audit.verify(connection, house.tenant.id, "north", keys, anchor)).problem is None


async def test_whatever_the_owner_changes_is_found(house: House, owner: Database, keys: Keys) -> None:
    await all_are_found(house, owner, keys, 3 * len(forging.KINDS))


@pytest.mark.long
async def test_ten_thousand_forgeries_are_found(house: House, owner: Database, keys: Keys) -> None:
    await all_are_found(house, owner, keys, 10_000)


@pytest.mark.parametrize("chunk", [1, 5, LENGTH])
async def test_no_border_of_a_chunk_hides_anything(
    house: House, owner: Database, keys: Keys, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(verify_audit, "CHUNK", chunk)
    monkeypatch.setattr(audit_chain, "CHUNK", chunk)
    monkeypatch.setattr(sealing, "CHUNK", chunk)
    monkeypatch.setattr(sealing, "_CHUNKS", LENGTH + 1)
    await all_are_found(house, owner, keys, len(forging.KINDS))


async def test_an_entry_that_is_committed_late_is_sealed_when_it_is_seen(house: House, keys: Keys) -> None:
    async with house.database.transaction(house.tenant.id) as slow:
        late = AuditEntry(tenant_id=house.tenant.id, at=clock.now(), action="late", details={})
        slow.add(late)
        await slow.flush()
        await record(house, 2)
        await sealing.seal(house.database, keys)
        chain = await found(house, keys)
        assert (chain.problem, chain.sequence, chain.waiting) == (None, 2, 0), "as if the slow one were not there"
    chain = await found(house, keys)
    assert (chain.problem, chain.sequence, chain.waiting, chain.waiting_since) == (None, 2, 1, late.at)
    await sealing.seal(house.database, keys)
    chain = await found(house, keys)
    assert (chain.problem, chain.sequence, chain.waiting) == (None, 3, 0)
    async with house.database.read(house.tenant.id) as session:
        last = await session.scalar(select(AuditLink.entry_id).where(AuditLink.sequence == 3))
    assert last == late.id


async def test_two_that_seal_at_once_make_one_chain(
    house: House, other_house: House, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_chain, "CHUNK", 3)
    monkeypatch.setattr(sealing, "CHUNK", 3)
    monkeypatch.setattr(sealing, "_CHUNKS", 40)

    async def write(place: House) -> None:
        for _ in range(4):
            await record(place, 5)

    await asyncio.gather(
        write(house), write(other_house), *(sealing.seal(house.database, keys) for _ in range(4)), write(house)
    )
    await sealing.seal(house.database, keys)
    for place, number in ((house, 40), (other_house, 20)):
        chain = await found(place, keys)
        assert (chain.problem, chain.sequence, chain.waiting) == (None, number, 0)


async def test_one_tenants_trouble_is_not_the_others(house: House, other_house: House, owner: Database, keys: Keys):
    for place in (house, other_house):
        await record(place, 3)
    await sealing.seal(house.database, keys)
    for place in (house, other_house):
        await record(place, 1)
    first, second = sorted((house, other_house), key=lambda place: place.tenant.id)
    async with owner.transaction(first.tenant.id) as session:
        await session.execute(text("ALTER TABLE audit_links DISABLE TRIGGER USER"))
        await session.execute(text("UPDATE audit_links SET sequence = 9223372036854775807 WHERE sequence = 3"))
        await session.execute(text("ALTER TABLE audit_links ENABLE TRIGGER USER"))
    await sealing.seal(house.database, keys)
    broken, sound = await found(first, keys), await found(second, keys)
    assert (broken.problem and broken.problem.sequence, broken.waiting) == (3, 1), "it could not be sealed"
    assert (sound.problem, sound.sequence, sound.waiting) == (None, 4, 0)


async def test_what_is_put_in_later_shows(house: House, owner: Database, keys: Keys) -> None:
    await record(house, 3)
    await sealing.seal(house.database, keys)
    long_ago = clock.now() - timedelta(hours=2)
    (put_in,) = await record(house, 1, at=long_ago)
    await sealing.seal(house.database, keys)
    chain = await found(house, keys)
    assert chain.problem is not None
    assert (chain.problem.sequence, chain.problem.entry) == (4, ids.encode("aud", put_in.id))
    assert "was put in after" in chain.problem.what
    # Known since it was last looked at, by whoever kept the end of the chain.
    async with house.database.read(house.tenant.id) as session:
        last = await session.scalar(select(AuditLink.hash).where(AuditLink.sequence == 4))
    assert (await found(house, keys, Anchor(4, last.hex()))).problem is None


async def test_an_entry_that_is_left_waiting_shows(house: House, owner: Database, keys: Keys) -> None:
    (old,) = await record(house, 1, at=clock.now() - timedelta(minutes=11))
    assert (await found(house, keys)).problem is None, "nothing was sealed since"
    await record(house, 1)
    async with owner.transaction(house.tenant.id) as session:
        waits = delete(AuditUnsealed).where(AuditUnsealed.entry_id == old.id)
        await session.execute(waits)
    await sealing.seal(house.database, keys)
    chain = await found(house, keys)
    assert chain.problem is not None
    assert (chain.problem.entry, chain.waiting) == (ids.encode("aud", old.id), 0)
    assert "does not wait" in chain.problem.what
    async with owner.transaction(house.tenant.id) as session:
        await session.execute(insert(AuditUnsealed).values(tenant_id=house.tenant.id, entry_id=old.id))
    chain = await found(house, keys)
    assert chain.problem is not None
    assert (chain.problem.entry, chain.waiting) == (ids.encode("aud", old.id), 1)
    assert "waits for its link since" in chain.problem.what


async def test_a_chain_made_anew_with_the_key_is_not_the_one_that_stood_there(
    house: House, owner: Database, keys: Keys
) -> None:
    await record(house, 4)
    await sealing.seal(house.database, keys)
    whole = await found(house, keys)
    async with as_owner(owner, house) as connection:
        await connection.execute(text("DELETE FROM audit_links"))
        await connection.execute(text("DELETE FROM audit_entries WHERE action = 'customer.update1'"))
        await connection.execute(text("INSERT INTO audit_unsealed SELECT tenant_id, id FROM audit_entries"))
        session = AsyncSession(connection)
        assert await audit_chain.seal(session, house.tenant.id, keys) == 3
        chain = await verify_audit.verify(session, house.tenant.id, "north", keys)
        assert (chain.problem, chain.sequence) == (None, 3), "nothing in the database tells"
        for anchor, number, word in ((whole, 4, "was cut off"), (replace(whole, sequence=2), 2, "made anew")):
            expected = Anchor(anchor.sequence, anchor.hash)
            chain = await verify_audit.verify(session, house.tenant.id, "north", keys, expected)
            assert chain.problem is not None
            assert (chain.problem.sequence, word in chain.problem.what) == (number, True)


async def test_keys_are_changed_one_after_the_other(house: House, settings: Settings) -> None:
    derived = Keys.of(settings)
    first, second = (Keys.of(replace(settings, audit_keys=given)) for given in ((b"a" * 32,), (b"b" * 32, b"a" * 32)))
    assert len({derived.name, first.name, second.name}) == 3
    assert Keys.of(replace(settings, token_key=bytes(32))).name != derived.name
    for keys in (first, second):
        await record(house, 2)
        await sealing.seal(house.database, keys)
    assert (await found(house, second)).problem is None
    chain = await found(house, first)
    assert chain.problem is not None
    assert (chain.problem.sequence, "ISPGRAPH_AUDIT_KEY" in chain.problem.what) == (3, True)
    with pytest.raises(SettingsError, match="ISPGRAPH_AUDIT_KEY"):
        Settings.from_env(
            {
                **{f"ISPGRAPH_{name}_URL": "x" for name in ("DATABASE", "REDIS")},
                **{f"ISPGRAPH_{name}_KEY": "0" * 64 for name in ("TOKEN", "NETWORK")},
                "ISPGRAPH_AUDIT_KEY": "0" * 64 + ",1",
            }
        )


# As the description of the chain says, in SQL.
_BY_SQL = """
WITH told AS (
  SELECT l.*, ARRAY['ispgraph audit entry 1', replace(e.tenant_id::text, '-', ''), replace(e.id::text, '-', ''),
    trunc(extract(epoch FROM e.at) * 1000000)::text, coalesce(replace(e.operator_id::text, '-', ''), ''), e.action,
    coalesce(replace(e.subject_id::text, '-', ''), ''), e.details::text] AS entry,
    ARRAY['ispgraph audit link 1', encode(coalesce(lag(l.hash) OVER (ORDER BY l.sequence),
      decode(repeat('00', 32), 'hex')), 'hex'), replace(l.tenant_id::text, '-', ''), l.sequence::text,
    replace(l.entry_id::text, '-', ''), trunc(extract(epoch FROM l.sealed_at) * 1000000)::text, l.key_name,
    encode(l.content, 'hex')] AS link
    FROM audit_links l JOIN audit_entries e ON e.id = l.entry_id)
SELECT content = hmac(convert_to((SELECT string_agg(octet_length(f) || ':' || f, '' ORDER BY n)
         FROM unnest(entry) WITH ORDINALITY t (f, n)), 'UTF8'), :key, 'sha256')
   AND hash = hmac(convert_to((SELECT string_agg(octet_length(f) || ':' || f, '' ORDER BY n)
         FROM unnest(link) WITH ORDINALITY t (f, n)), 'UTF8'), :key, 'sha256') FROM told"""


async def test_the_sums_are_what_their_description_says(house: House, keys: Keys) -> None:
    await record(house, 3)
    await record(house, 1, operator_id=None, at=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
    await record(house, 1, at=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), details={})
    await sealing.seal(house.database, keys)
    async with house.database.read(house.tenant.id) as session:
        same = await session.scalars(text(_BY_SQL.replace("|| ':' ||", "|| '\\:' ||")), {"key": keys.sealing})
        assert list(same) == [True] * 5


async def test_the_application_cannot_take_anything_back(house: House, keys: Keys) -> None:
    await record(house, 1)
    await sealing.seal(house.database, keys)
    for statement in (
        "UPDATE audit_links SET sequence = 2",
        "DELETE FROM audit_links",
        "TRUNCATE audit_links",
        "UPDATE audit_entries SET action = 'x'",
        "DELETE FROM audit_entries",
        "UPDATE audit_unsealed SET entry_id = tenant_id",
    ):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with house.database.transaction(house.tenant.id) as session:
                await session.execute(text(statement))


def run(settings: Settings, *arguments: str) -> tuple[int, str]:
    """The command, as the shell would run it."""
    env = {
        "ISPGRAPH_DATABASE_URL": settings.database_url,
        "ISPGRAPH_REDIS_URL": settings.redis_url,
        "ISPGRAPH_TOKEN_KEY": settings.token_key.hex(),
        "ISPGRAPH_NETWORK_KEY": settings.network_key.hex(),
    }
    done = CliRunner().invoke(cli.app, ["verify-audit", *arguments], env=env)
    if isinstance(done.exception, SettingsError):
        return 2, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


async def test_the_command(
    house: House, other_house: House, owner: Database, keys: Keys, settings: Settings, tmp_path: Path
) -> None:
    for place in (house, other_house):
        await record(place, 3)
    await sealing.seal(house.database, keys)
    (new,) = await record(house, 1)
    status, told = await asyncio.to_thread(run, settings)
    whole = await found(house, keys)
    assert status == 0
    assert f"3 sealed, the last {whole.hash}\n    1 not sealed yet, the oldest of {new.at:%Y-%m-%d}" in told
    kept = tmp_path / "kept.json"
    status, printed = await asyncio.to_thread(run, settings, "--json")
    kept.write_text(printed)
    assert (status, json.loads(printed)["ok"]) == (0, True)
    assert json.loads(printed)["chains"][0] == {
        "tenant": "north",
        "sequence": 3,
        "hash": whole.hash,
        "waiting": 1,
        "waiting_since": new.at.isoformat(),
        "problem": None,
    }

    async with owner.transaction(house.tenant.id) as session:
        for table in ("audit_entries", "audit_links"):
            await session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        await session.execute(text("DELETE FROM audit_links WHERE sequence = 3"))
        await session.execute(text("DELETE FROM audit_entries WHERE action = 'customer.update2'"))
    assert (await asyncio.to_thread(run, settings))[0] == 0, "nothing in the database tells that the end is gone"
    status, told = await asyncio.to_thread(run, settings, "--expect", str(kept))
    assert status == 1
    assert "north                        BROKEN  2 sealed" in told
    assert "    link 3 is missing: the chain once went up to link 3, and its end was cut off\n" in told
    assert "south                        ok      3 sealed" in told
    status, told = await asyncio.to_thread(run, settings, "--expect", str(kept), "--tenant", "south")
    assert (status, "north" in told) == (0, False)
    status, told = await asyncio.to_thread(run, settings, "--expect", str(kept), "--tenant", "north", "--json")
    problem = json.loads(told)["chains"][0]["problem"]
    assert (status, problem["sequence"], problem["entry"]) == (1, 3, None)

    kept.write_text(json.dumps({"chains": [{"tenant": "gone", "sequence": 1, "hash": "00"}]}))
    status, told = await asyncio.to_thread(run, settings, "--expect", str(kept))
    assert (status, "    the tenant is gone" in told) == (1, True)
    for arguments, word in (
        (("--tenant", "west"), "there is no tenant west"),
        (("--expect", str(tmp_path / "none")), "cannot be read"),
        (("--expect", str(Path(__file__))), "must name what"),
    ):
        status, told = await asyncio.to_thread(run, settings, *arguments)
        assert (status, word in told) == (2, True), told


async def test_the_report_tells_of_a_chain_that_is_broken() -> None:
    out = io.StringIO()
    chain = Chain("north", problem=verify_audit.Problem(7, "aud_1", "was changed"))
    verify_audit.report([chain], False, out)
    assert out.getvalue().splitlines()[1] == "    link 7 (aud_1) was changed"
