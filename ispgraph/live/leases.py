"""Which live program reads which router: whoever holds its lease. One that dies is relieved of all within seconds."""

from collections.abc import Iterable
from uuid import uuid4

import redis.asyncio

LEASE_MILLISECONDS = 3000

# Only what is ours is renewed, or given back.
_RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class Leases:
    """The leases of one program. Every call raises RedisError, OSError."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = client
        self._token = uuid4().hex

    async def hold(self, wanted: Iterable[str]) -> set[str]:
        """Those of the names that are ours from now on for a lease, because they were or because they are free."""
        names = list(wanted)
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.set(_key(name), self._token, nx=True, px=LEASE_MILLISECONDS)
            pipeline.eval(_RENEW, 1, _key(name), self._token, LEASE_MILLISECONDS)
        answers = await pipeline.execute() if names else []
        return {name for name, renewed in zip(names, answers[1::2], strict=True) if renewed}

    async def release(self, names: Iterable[str]) -> None:
        """Leave these to others."""
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.eval(_RELEASE, 1, _key(name), self._token)
        await pipeline.execute()


def _key(name: str) -> str:
    return f"ispgraph:live:lease:{name}"
