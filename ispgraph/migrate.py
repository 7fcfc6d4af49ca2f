"""Brings a database to the newest revision. Alembic takes over a second to import: only this program loads it."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from ispgraph.settings import SettingsError


def directory() -> Path:
    """Where the migrations are: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def configuration() -> Config:
    """Alembic's configuration. The database is named by ISPGRAPH_OWNER_DATABASE_URL alone."""
    config = Config()
    # A percent sign in a path would be read as interpolation.
    config.set_main_option("script_location", str(directory()).replace("%", "%%"))
    return config


def upgrade(owner_url: str | None) -> None:
    """Upgrade to the newest revision. Raises SettingsError without the URL of the owner role."""
    if not owner_url:
        raise SettingsError("ISPGRAPH_OWNER_DATABASE_URL is not set: migrations run as the role that owns the tables")
    command.upgrade(configuration(), "head")
