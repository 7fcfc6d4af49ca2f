"""Tokens that providers lend for an hour: kept by this process, each for one account and the credentials behind it.

There is no harm in losing one: the next request gets another.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ispgraph import clock
from ispgraph.domain.gateways import Opened

_MOST = 1000
_MARGIN = timedelta(seconds=60)

Key = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Token:
    """What is shown at each request, and what it may be replaced by another with."""

    text: str = field(repr=False)
    until: datetime
    renewal: str | None = field(default=None, repr=False)

    def fresh(self) -> bool:
        """Whether it holds for another minute."""
        return self.until - clock.now() > _MARGIN


_kept: OrderedDict[Key, Token] = OrderedDict()


def key_of(account: Opened) -> Key:
    """Other credentials, or another address, are another key."""
    digest = hashlib.sha256()
    for name, value in sorted(account.settings.items()):
        for part in (name, value):
            digest.update(b"%d:" % len(part.encode()) + part.encode())
    return f"{account.tenant_id} {account.id} {account.provider} {account.test_mode}", digest.digest()


def kept(key: Key) -> Token | None:
    """A token, if one was kept; it may be old."""
    token = _kept.get(key)
    if token is not None:
        _kept.move_to_end(key)
    return token


def keep(key: Key, token: Token) -> None:
    """The account's token from now on. Of too many accounts, the one that was longest unused is forgotten."""
    _kept[key] = token
    _kept.move_to_end(key)
    while len(_kept) > _MOST:
        _kept.popitem(last=False)


def drop(key: Key) -> None:
    """The provider does not take it any more."""
    _kept.pop(key, None)
