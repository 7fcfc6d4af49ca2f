"""Where pictures are kept: in a directory, and in a bucket behind signatures; away, refused, and cleared."""

import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from ispgraph import clock, scheduler
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.adapters.errors import Refused, Unreachable
from ispgraph.adapters.payments.doubles import serve
from ispgraph.adapters.storage import Missing, open_storage
from ispgraph.adapters.storage_double import StorageDouble
from ispgraph.db import Database
from ispgraph.domain.models import Job, JobStatus, PortalFile
from ispgraph.settings import Settings, SettingsError
from tests.api import Api
from tests.factories import House
from tests.portals.studio import Studio, of, picture

BUCKET = StorageDouble().bucket


@pytest.fixture
async def bucket() -> AsyncIterator[tuple[StorageDouble, Settings]]:
    """A bucket, and what names it."""
    double = StorageDouble()
    async with serve(double.app) as address:
        named = Settings(
            "",
            "",
            b"",
            b"",
            s3_endpoint=address,
            s3_region=double.region,
            s3_bucket=double.bucket,
            s3_access_key=double.access_key,
            s3_secret_key=double.secret_key,
        )
        yield double, named


async def test_a_bucket_keeps_files_behind_signatures(bucket: tuple[StorageDouble, Settings]) -> None:
    double, named = bucket
    storage = open_storage(named)
    assert storage is not None
    await storage.put("portals/a/b.webp", b"picture", "image/webp")
    assert double.files == {"portals/a/b.webp": ("image/webp", b"picture")}
    assert await storage.get("portals/a/b.webp") == b"picture"
    for _ in range(2):
        await storage.delete("portals/a/b.webp")
    with pytest.raises(Missing):
        await storage.get("portals/a/b.webp")
    for wrong in ({"s3_secret_key": "another"}, {"s3_access_key": "AKIAOTHER"}, {"s3_region": "us-east-1"}):
        stranger = open_storage(replace(named, **wrong))
        assert stranger is not None
        with pytest.raises(Refused):
            await stranger.put("portals/x.webp", b"x", "image/webp")
    assert double.files == {}
    assert {status for _, _, status in double.log if status != 403} == {200, 204, 404}


async def test_a_directory_keeps_files(settings: Settings, tmp_path: Path) -> None:
    storage = open_storage(settings)
    assert storage is not None
    await storage.put("portals/a/b.webp", b"picture", "image/webp")
    (kept,) = (path for path in (tmp_path / "files").rglob("*") if path.is_file())
    assert kept.read_bytes() == b"picture"
    assert not kept.stat().st_mode & stat.S_IXUSR
    assert await storage.get("portals/a/b.webp") == b"picture"
    for _ in range(2):
        await storage.delete("portals/a/b.webp")
    with pytest.raises(Missing):
        await storage.get("portals/a/b.webp")
    # A directory that became a file cannot take any.
    (tmp_path / "files" / "broken").write_text("")
    with pytest.raises(Unreachable):
        await storage.put("broken/b.webp", b"picture", "image/webp")


def test_settings_name_one_storage_and_where_portals_are() -> None:
    given = {
        "ISPGRAPH_DATABASE_URL": "postgresql://x",
        "ISPGRAPH_REDIS_URL": "redis://x",
        "ISPGRAPH_TOKEN_KEY": "0" * 64,
        "ISPGRAPH_NETWORK_KEY": "0" * 64,
    }
    assert open_storage(Settings.from_env(given)) is None
    for wrong, named in (
        ({"ISPGRAPH_S3_BUCKET": "b"}, "ISPGRAPH_S3_ACCESS_KEY"),
        ({"ISPGRAPH_S3_BUCKET": "b", "ISPGRAPH_S3_ACCESS_KEY": "k"}, "ISPGRAPH_S3_SECRET_KEY"),
        ({"ISPGRAPH_S3_ENDPOINT": "s3.example"}, "ISPGRAPH_S3_ENDPOINT"),
        ({"ISPGRAPH_PORTAL_URL": "https://portal.example"}, "ISPGRAPH_PORTAL_URL"),
        ({"ISPGRAPH_PORTAL_URL": "javascript:{subdomain}"}, "ISPGRAPH_PORTAL_URL"),
    ):
        with pytest.raises(SettingsError, match=named):
            Settings.from_env(given | wrong)
    good = Settings.from_env(given | {"ISPGRAPH_PORTAL_URL": "https://{subdomain}.portal.example/"})
    assert good.portal_url == "https://{subdomain}.portal.example"
    keys = {"ISPGRAPH_S3_BUCKET": "b", "ISPGRAPH_S3_ACCESS_KEY": "id of a key", "ISPGRAPH_S3_SECRET_KEY": "the key"}
    assert "the key" not in repr(Settings.from_env(given | keys))


async def test_a_storage_that_is_away_fails_the_picture_and_not_the_portal(
    bucket: tuple[StorageDouble, Settings], database: Database, valkey: Redis, settings: Settings, studio: Studio
) -> None:
    double, named = bucket
    there = {name: getattr(named, name) for name in ("s3_endpoint", "s3_region", "s3_bucket")}
    keys = {"s3_access_key": named.s3_access_key, "s3_secret_key": named.s3_secret_key}
    api = Api(database, valkey, replace(settings, **there, **keys))
    studio.api = api
    await studio.save(active=True)
    double.fails = 503
    made = await studio.upload(logo=picture(), icon=b"no picture")
    assert [asset["status"] for asset in made["assets"]] == ["FAILED", "FAILED"]
    assert of(made, "LOGO")["error"] == "The storage for files could not be reached. Try again later."
    double.fails = 403
    assert "does not let us in" in (await studio.upload(logo=picture()))["assets"][0]["error"]
    double.fails = None
    logo = (await studio.upload(logo=picture()))["assets"][0]
    assert (logo["status"], logo["attempts"], logo["failures"]) == ("UPLOADED", 3, 2)
    assert len(double.files) == 1
    assert (await api.get(logo["url"])).status_code == 200
    # What cannot be shown now may be shown soon.
    double.fails = 500
    away = await api.get(logo["url"])
    assert (away.status_code, away.headers["cache-control"]) == (503, "private, no-store")
    await api.close()


async def test_without_a_storage_nothing_is_begun(
    database: Database, valkey: Redis, settings: Settings, studio: Studio
) -> None:
    api = Api(database, valkey, replace(settings, storage_dir=""))
    studio.api = api
    await studio.save()
    payload = await studio.upload(logo=picture())
    assert [error["code"] for error in payload["errors"]] == ["NOT_CONFIGURED"]
    assert of(await studio.read(), "LOGO")["attempts"] == 0
    await api.close()


async def test_files_that_nobody_sees_are_deleted_and_no_others(
    studio: Studio, house: House, database: Database, settings: Settings, tmp_path: Path, moved_clock: None
) -> None:
    await studio.save()
    await studio.upload(logo=picture())
    shown = (await studio.upload(logo=picture(size=(30, 30)), icon=picture()))["assets"]
    await studio.upload(background=b"no")
    assert len(_files(tmp_path)) == 3
    await scheduler.look_at_portals(database)
    assert await _sweeps(database, house) == []
    clock.set_clock(f"+{timedelta(hours=2).total_seconds():.0f}")
    for _ in range(2):
        await scheduler.look_at_portals(database)
    (job,) = await _sweeps(database, house)
    # The storage is away: the job says so, and nothing is forgotten.
    runner = Runner(database, replace(settings, storage_dir=""), ACTIONS)
    await runner.run_job(house.tenant.id.hex, job.id.hex)
    (job,) = await _sweeps(database, house)
    assert job.status is JobStatus.FAILED
    assert len(_files(tmp_path)) == 3
    clock.set_clock(f"+{timedelta(hours=4).total_seconds():.0f}")
    await scheduler.look_at_portals(database)
    _, job = await _sweeps(database, house)
    await Runner(database, settings, ACTIONS).run_job(house.tenant.id.hex, job.id.hex)
    _, job = await _sweeps(database, house)
    assert (job.status, job.message) == (JobStatus.SUCCEEDED, "2 files were deleted.")
    assert len(_files(tmp_path)) == 2
    async with database.read(house.tenant.id) as session:
        assert len((await session.scalars(select(PortalFile))).all()) == 2
    for asset in shown:
        assert (await studio.api.get(asset["url"])).status_code in (200, 404)
    found = [of(await studio.read(), kind)["url"] for kind in ("LOGO", "ICON")]
    assert [(await studio.api.get(url)).status_code for url in found] == [200, 200]
    clock.set_clock(f"+{timedelta(hours=6).total_seconds():.0f}")
    await scheduler.look_at_portals(database)
    assert len(await _sweeps(database, house)) == 2, "there is nothing to be done"


def _files(place: Path) -> list[Path]:
    return list((place / "files").rglob("*.webp"))


async def _sweeps(database: Database, house: House) -> list[Job]:
    async with database.read(house.tenant.id) as session:
        rows = select(Job).where(Job.kind == "storage.sweep").order_by(Job.id)
        return list((await session.scalars(rows)).all())
