"""Where files are kept that are too many, or too large, for the database: a directory, or a bucket that speaks S3.

Every key is used once, so nothing is ever written over. Bodies are held in memory: keep to some megabytes.
"""

import functools
import logging
from datetime import timedelta
from pathlib import Path

import obstore
from obstore import exceptions
from obstore.store import LocalStore, S3Store

from ispgraph.adapters.errors import AdapterError, Refusal, Refused, Unreachable, one_line
from ispgraph.settings import Settings

_CONNECT, _ANSWER = timedelta(seconds=3), timedelta(seconds=10)
_RETRY = timedelta(seconds=5)
_AWAY = "The storage for files could not be reached. Try again later."

_log = logging.getLogger(__name__)


class Missing(AdapterError):
    """There is no such file."""


class Storage:
    """A place for files. Any event loop may use it."""

    def __init__(self, store: LocalStore | S3Store) -> None:
        self._store = store

    async def put(self, key: str, body: bytes, content_type: str) -> None:
        """Keep a file: whole or not at all. Raises AdapterError."""
        try:
            # A directory has no place for a content type.
            told = {"Content-Type": content_type} if isinstance(self._store, S3Store) else None
            await obstore.put_async(self._store, key, body, attributes=told, use_multipart=False)
        except _FAILURES as error:
            raise _failed(error) from error

    async def get(self, key: str) -> bytes:
        """A file. Raises Missing, AdapterError."""
        try:
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise Missing("There is no such file.") from error
        except _FAILURES as error:
            raise _failed(error) from error

    async def delete(self, key: str) -> None:
        """Delete a file; one that is not there is no error. Raises AdapterError."""
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        except _FAILURES as error:
            raise _failed(error) from error


@functools.lru_cache(maxsize=8)
def open_storage(settings: Settings) -> Storage | None:
    """The storage that the settings name; None where they name none. One for a process: it keeps connections."""
    if settings.s3_bucket:
        return Storage(
            S3Store(
                settings.s3_bucket,
                endpoint=settings.s3_endpoint or None,
                region=settings.s3_region,
                access_key_id=settings.s3_access_key,
                secret_access_key=settings.s3_secret_key,
                virtual_hosted_style_request=False,
                # Not every server that speaks S3 knows how to delete several at once.
                disable_bulk_delete=True,
                client_options={
                    "connect_timeout": _CONNECT,
                    "timeout": _ANSWER,
                    "allow_http": settings.s3_endpoint.startswith("http://"),
                    "user_agent": "ispgraph",
                },
                retry_config={"max_retries": 1, "retry_timeout": _RETRY},
            )
        )
    if settings.storage_dir:
        return Storage(LocalStore(Path(settings.storage_dir).absolute(), mkdir=True))
    return None


# obstore raises the system's own errors as well.
_FAILURES = (exceptions.BaseError, OSError, ValueError)


def _failed(error: Exception) -> AdapterError:
    _log.warning("the storage for files: %s", one_line(str(error)))
    if isinstance(error, exceptions.UnauthenticatedError | exceptions.PermissionDeniedError):
        return Refused(Refusal.BAD_LOGIN, "The storage for files does not let us in.")
    return Unreachable(_AWAY)
