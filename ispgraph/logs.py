"""The log of a program: one entry a line on standard error, as text or as JSON, without anything secret."""

import logging
import re
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from ispgraph import traces
from ispgraph.settings import Settings

STRUCK = "[struck out]"
_SECRET_NAMES = re.compile(r"password|passwd|secret|token|authorization|cookie|credential|(^|_)key$", re.IGNORECASE)
# The word before stays, so that the entry can still be read.
_SECRETS = re.compile(
    r"((?i:\b(?:bearer|basic)\s+)|(?<=://)[^\s:@/]*:(?=[^\s@/]+@))[^\s,;'\"@]+"
    r"|\b(?:ispg_|whsec_|eyJ)[A-Za-z0-9_\-.=+/]{8,}"
)
_LONGEST = 20_000


def configure(program: str, settings: Settings) -> None:
    """Have everything that this program and its libraries log go one way. Ours from INFO, others' from WARNING."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _traced,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )

    def named(_logger: Any, _method: str, entry: EventDict) -> EventDict:
        return {"program": program, **entry}

    as_json = settings.log == "json"
    shown: Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=False, timestamp_key="at")
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *([named] if as_json else []),
                strike,
                shown,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("ispgraph").setLevel(logging.INFO)


def _traced(_logger: Any, _method: str, entry: EventDict) -> EventDict:
    if (under_way := traces.ids()) is not None:
        entry.setdefault("trace_id", under_way[0])
        entry["span_id"] = under_way[1]
    return entry


def strike(_logger: Any, _method: str, entry: EventDict) -> EventDict:
    """Strike out what must not be read: whatever has the name of a secret, and what looks like one elsewhere."""
    return {name: _clean(name, value) for name, value in entry.items()}


def _clean(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name) and value is not None:
        return STRUCK
    if isinstance(value, str):
        return _SECRETS.sub(lambda found: (found[1] or "") + STRUCK, value[:_LONGEST])
    if isinstance(value, dict):
        return {key: _clean(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean("", item) for item in value]
    return value
