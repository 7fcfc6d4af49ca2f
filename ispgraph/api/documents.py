"""Documents that are named instead of sent: by their SHA-256, as Apollo's automatic persisted queries do it, or by an
id of the manifest of trusted documents.

What is sent with its hash is kept, in this process and in Redis for all of them, when somebody signed in sends it.
Without Redis a hash may be unknown; a client then sends the whole document, as it has to be able to anyway.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ispgraph.api.body import Parameters
from ispgraph.domain.models import Role
from ispgraph.schema.errors import ApiError
from ispgraph.schema.limits import CACHED_DOCUMENTS, CACHED_LENGTH
from ispgraph.settings import Settings, SettingsError

KEPT_SECONDS = 7 * 86400
_ASK_SECONDS = 0.5
_AWAY_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Documents:
    """The documents that one process knows by name."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError for a manifest that cannot be read."""
        self._trusted = _manifest(settings.trusted_documents) if settings.trusted_documents else {}
        self._texts = frozenset(self._trusted.values())
        self._only_for = settings.trusted_only
        self._known: OrderedDict[str, str] = OrderedDict()
        self._away_until = 0.0

    async def text(self, parameters: Parameters, context: Any) -> str:
        """The document that is meant.

        Raises ApiError PERSISTED_QUERY_NOT_FOUND for a hash that nobody knows, BAD_REQUEST for one of another document,
        and FORBIDDEN for a document that is not trusted from who may send no other.
        """
        name, sent = parameters.document_id, parameters.query
        trusted = self._trusted.get(name) if name is not None else None
        if trusted is not None:
            if sent not in ("", trusted):
                raise ApiError("BAD_REQUEST", "The document is not the one that its id names.")
            return trusted
        if self._refuses_others(context.viewer) and sent not in self._texts:
            raise ApiError("FORBIDDEN", "Only documents of the manifest may be sent here.")
        if name is None:
            return sent
        if not sent:
            return await self._remembered(name, getattr(context, "redis", None))
        if hashlib.sha256(sent.encode("utf-8", "surrogatepass")).hexdigest() != name:
            raise ApiError("BAD_REQUEST", "The SHA-256 is not that of the document.")
        if context.viewer is not None and len(sent) <= CACHED_LENGTH and name not in self._known:
            self._know(name, sent)
            await self._ask(getattr(context, "redis", None), name, sent)
        return sent

    def _refuses_others(self, viewer: Any) -> bool:
        if self._only_for == "everybody":
            return True
        return self._only_for == "customers" and viewer is not None and viewer.role is Role.CUSTOMER

    async def _remembered(self, name: str, redis: Redis | None) -> str:
        found = self._known.get(name)
        if found is None:
            found = await self._ask(redis, name, None)
            if found is None:
                raise ApiError("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
            self._know(name, found)
        self._known.move_to_end(name)
        return found

    def _know(self, name: str, text: str) -> None:
        self._known[name] = text
        if len(self._known) > CACHED_DOCUMENTS:
            self._known.popitem(last=False)

    async def _ask(self, redis: Redis | None, name: str, text: str | None) -> str | None:
        """Keep a text for all processes, or ask for one."""
        if redis is None or self._away_until > time.monotonic():
            return None
        key = f"ispgraph:document:{name}"
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                if text is not None:
                    await redis.set(key, text, ex=KEPT_SECONDS)
                    return text
                found: Any = await redis.get(key)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + _AWAY_SECONDS
            _log.warning("persisted documents are not shared: Redis: %s", type(error).__name__)
            return None
        # Whoever else writes to Redis must not choose what is carried out.
        same = found is not None and hashlib.sha256(found).hexdigest() == name
        return str(found, "utf-8", "surrogatepass") if same else None


def _manifest(path: str) -> Mapping[str, str]:
    """Ids with documents, as code generators write them: one JSON object."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"ISPGRAPH_TRUSTED_DOCUMENTS: {path} cannot be read: {type(error).__name__}") from error
    if not isinstance(found, dict) or not all(isinstance(text, str) and text for text in found.values()):
        raise SettingsError("ISPGRAPH_TRUSTED_DOCUMENTS must name a JSON object of ids and documents")
    return {name.removeprefix("sha256:"): text for name, text in found.items()}
