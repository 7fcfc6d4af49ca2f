"""The brake on guessing passwords: per account and per address, counted in Redis, shared by every process.

An attempt is counted before the password is looked at, so that attempts sent at once cannot slip through together, and
given back when it succeeds. Nobody is ever shut out for good: a wait is at most 15 minutes, and an address from which
an account was used before has a count of its own there, which strangers cannot drive up.
"""

import hashlib
import ipaddress
from dataclasses import dataclass

from redis.asyncio import Redis

from ispgraph import clock

ACCOUNT_FREE = 5
# Many people may share an address.
ADDRESS_FREE = 10
LONGEST_SECONDS = 900
_FORGET_SECONDS = 3600
_KNOWN_SECONDS = 30 * 86400

# KEYS: account, address, and the account as used from here before. ARGV: now in ms, two allowances, the longest wait
# in ms, seconds until all is forgotten. Answers the wait in ms (0: go on), what was set for each of the two, and
# whether the attempt counts for the address: strangers there must not shut out who is known there.
_BEGIN = """
local known = redis.call('EXISTS', KEYS[3]) == 1
local keys = known and {KEYS[3]} or {KEYS[1], KEYS[2]}
local now, wait = tonumber(ARGV[1]), 0
for _, key in ipairs(keys) do
  local held = tonumber(redis.call('HGET', key, 'until') or '0')
  if held > now then wait = math.max(wait, held - now) end
end
if wait > 0 then return {wait, 0, 0, 0} end
local set = {0, 0, 0, known and 0 or 1}
for place, key in ipairs(keys) do
  local over = redis.call('HINCRBY', key, 'failures', 1) - tonumber(ARGV[1 + place])
  if over >= 0 then
    set[1 + place] = now + math.min(1000 * 2 ^ math.min(over, 20), tonumber(ARGV[4]))
    redis.call('HSET', key, 'until', string.format('%.0f', set[1 + place]))
  end
  if key ~= KEYS[3] then redis.call('EXPIRE', key, ARGV[5]) end
end
return set
"""

# KEYS as above. ARGV: what was set for the address, seconds for which a used address stays known, whether it counted.
_GIVE_BACK = """
redis.call('DEL', KEYS[1])
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], 'failures', 0)
redis.call('EXPIRE', KEYS[3], ARGV[2])
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HINCRBY', KEYS[2], 'failures', -1)
  if redis.call('HGET', KEYS[2], 'until') == ARGV[1] then redis.call('HDEL', KEYS[2], 'until') end
end
return 0
"""


class Throttled(Exception):
    """Too many failures; try again after `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"wait {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was let through and stands as a failure until it is given back."""

    keys: tuple[str, str, str]
    address_until: int
    counted: int


async def begin(
    redis: Redis,
    account: str,
    address: str | None,
    *,
    realm: str = "",
    account_free: int = ACCOUNT_FREE,
    address_free: int = ADDRESS_FREE,
) -> Attempt:
    """Count an attempt on an account from an address. Raises Throttled, and redis' errors: no Redis, no sign-in.

    So many are free of a wait. What is tried in another `realm` counts for itself.
    """
    place = network(address)
    keys = (
        _key(f"{realm}account", account),
        _key(f"{realm}address", place),
        _key(f"{realm}known", f"{account} {place}"),
    )
    now = int(clock.now().timestamp() * 1000)
    arguments = (now, account_free, address_free, LONGEST_SECONDS * 1000, _FORGET_SECONDS)
    wait, _, until, counted = await redis.eval(_BEGIN, len(keys), *keys, *map(str, arguments))
    if wait > 0:
        raise Throttled(-(-wait // 1000))
    return Attempt(keys, until, counted)


async def give_back(redis: Redis, attempt: Attempt) -> None:
    """The attempt succeeded: it no longer counts for the address, and the account begins anew."""
    arguments = (str(attempt.address_until), str(_KNOWN_SECONDS), str(attempt.counted))
    await redis.eval(_GIVE_BACK, len(attempt.keys), *attempt.keys, *arguments)


def network(address: str | None) -> str:
    """Whoever has one IPv6 address has the 2^64 of its network."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def _key(kind: str, subject: str) -> str:
    return f"ispgraph:throttle:{kind}:{hashlib.sha256(subject.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
