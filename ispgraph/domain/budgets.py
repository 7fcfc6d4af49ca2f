"""What may be spent in points of cost: by each token, by each tenant, and by each address where nobody is signed in.

A budget is a bucket that leaks so many points a second (the generic cell rate algorithm), kept in Redis and shared by
every process. A process takes points in advance for what follows within a second, so most requests ask nobody: a busy
token costs Redis a few questions a second, and what is left over is lost to it.

Without Redis everything passes: one document is bounded anyway, and fairness is not worth an outage.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ispgraph import clock
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.throttle import network

BURST_SECONDS = 60
"""So many seconds' worth of points are in a full bucket."""
ANONYMOUS = 50
"""An address without a token has this part of what a token has."""
_IN_ADVANCE = 20
_KEPT_SECONDS = 1.0
_ASK_SECONDS = 0.5
_AWAY_SECONDS = 2.0
_MOST_PURSES = 10_000

# KEYS: the buckets. ARGV: now in ms, points that are needed, points that are wanted, then for each bucket points in a
# second and points when full. Answers what was given (-1: nothing), the wait in ms, and the room left in each bucket.
_TAKE = """
local now, needed, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local given, wait, tats, rooms = wanted, 0, {}, {}
for place, key in ipairs(KEYS) do
  local rate, full = tonumber(ARGV[2 * place + 2]), tonumber(ARGV[2 * place + 3])
  tats[place] = math.max(tonumber(redis.call('GET', key) or '0'), now)
  rooms[place] = full - (tats[place] - now) * rate / 1000
  if rooms[place] < needed then wait = math.max(wait, (needed - rooms[place]) * 1000 / rate) end
  given = math.min(given, math.floor(rooms[place]))
end
if wait > 0 then
  given = -1
elseif given > 0 then
  for place, key in ipairs(KEYS) do
    local tat = tats[place] + given * 1000 / tonumber(ARGV[2 * place + 2])
    rooms[place] = rooms[place] - given
    redis.call('SET', key, string.format('%.3f', tat), 'PX', string.format('%.0f', tat - now + 1000))
  end
end
local answer = {given, math.ceil(wait)}
for _, room in ipairs(rooms) do answer[#answer + 1] = math.max(math.floor(room), 0) end
return answer
"""

_log = logging.getLogger(__name__)


class Spent(Exception):
    """There are not enough points left. `retry_after` seconds from now there will be; None: never are so many."""

    def __init__(self, retry_after: int | None, remaining: int) -> None:
        super().__init__(f"wait {retry_after} s")
        self.retry_after = retry_after
        self.remaining = remaining


@dataclass(frozen=True, slots=True)
class Budget:
    """A bucket: points in a second, points when full, and points that are in it; None when nobody knows."""

    per_second: int
    capacity: int
    remaining: int | None


@dataclass(frozen=True, slots=True)
class _Bucket:
    key: str
    per_second: int

    @property
    def capacity(self) -> int:
        return self.per_second * BURST_SECONDS


@dataclass(slots=True)
class _Purse:
    """What was taken in advance for one token, and the room that its bucket had then."""

    points: int = 0
    until: float = 0.0
    room: int = 0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def holds(self, cost: int) -> bool:
        """Whether there is enough in it."""
        return self.points >= cost and self.until > time.monotonic()


class Budgets:
    """The budgets of a whole installation, as one process sees them."""

    def __init__(self, redis: Redis, per_second: int, tenant_per_second: int) -> None:
        self._redis = redis
        self._per_second = per_second
        self._tenant_per_second = tenant_per_second
        self._purses: dict[str, _Purse] = {}
        self._away_until = 0.0

    async def charge(self, viewer: Viewer | None, address: str | None, cost: int) -> Budget:
        """Take points; what is left of the token's own. Asks Redis at most once. Raises Spent, and takes nothing."""
        buckets = self._buckets(viewer, address)
        own = buckets[0]
        if any(cost > bucket.capacity for bucket in buckets):
            raise Spent(None, own.capacity)
        purse = self._purse(own.key)
        if not purse.holds(cost):
            # One asks for all who wait: what it takes in advance is mostly enough for them.
            async with purse.asking:
                if not purse.holds(cost) and not await self._fill(purse, buckets, cost):
                    return Budget(own.per_second, own.capacity, None)
        purse.points -= cost
        return Budget(own.per_second, own.capacity, min(purse.room + purse.points, own.capacity))

    async def _fill(self, purse: "_Purse", buckets: list[_Bucket], cost: int) -> bool:
        """Have at least so many points in a purse; False when Redis is away. Raises Spent."""
        held = purse.points if purse.until > time.monotonic() else 0
        # Nobody spends them while Redis is asked.
        purse.points = 0
        answer = await self._take(buckets, cost - held, max(cost - held, buckets[0].per_second // _IN_ADVANCE))
        if answer is None:
            return False
        given, wait, *rooms = answer
        purse.points, purse.room = held + max(given, 0), rooms[0]
        if given < 0:
            raise Spent(-(-wait // 1000), rooms[0] + held)
        purse.until = time.monotonic() + _KEPT_SECONDS
        return True

    async def look(self, viewer: Viewer) -> list[Budget]:
        """The budgets of a token and of its tenant, as they stand."""
        buckets = self._buckets(viewer, None)
        answer = await self._take(buckets, 0, 0)
        rooms: list[int | None] = [None] * len(buckets) if answer is None else [*answer[2:]]
        return [Budget(each.per_second, each.capacity, room) for each, room in zip(buckets, rooms, strict=True)]

    def _buckets(self, viewer: Viewer | None, address: str | None) -> list[_Bucket]:
        if viewer is None:
            return [_Bucket(f"ispgraph:budget:address:{network(address)}", max(self._per_second // ANONYMOUS, 1))]
        token = _Bucket(_key("token", viewer.session_id), self._per_second)
        return [token, _Bucket(_key("tenant", viewer.tenant_id), self._tenant_per_second)]

    def _purse(self, key: str) -> _Purse:
        if len(self._purses) >= _MOST_PURSES and key not in self._purses:
            self._purses.clear()
        return self._purses.setdefault(key, _Purse())

    async def _take(self, buckets: list[_Bucket], needed: int, wanted: int) -> list[int] | None:
        """Redis' answer; None when it is away, and then it is left alone for a while."""
        if self._away_until > time.monotonic():
            return None
        terms = [str(term) for bucket in buckets for term in (bucket.per_second, bucket.capacity)]
        now = f"{clock.now().timestamp() * 1000:.3f}"
        keys = [bucket.key for bucket in buckets]
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                answer: list[int] = await self._redis.eval(
                    _TAKE, len(keys), *keys, now, str(needed), str(wanted), *terms
                )
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + _AWAY_SECONDS
            _log.warning("budgets are not kept: Redis: %s", type(error).__name__)
            return None
        return answer


def _key(kind: str, subject: UUID) -> str:
    return f"ispgraph:budget:{kind}:{subject.hex}"
