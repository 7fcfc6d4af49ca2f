"""Who opens a page: people are counted, programs are not, and whoever only guesses is held back.

The counts are in Redis, shared by every process, and gone when it is: then everybody counts, and nobody is held back.
"""

import hashlib
import re
from collections.abc import Mapping

import redis
from redis.asyncio import Redis

from ispgraph.domain.throttle import network

ONCE_SECONDS = 10
"""Opened again by the same visitor within this time it counts once."""
GUESSES = 30
GUESSES_SECONDS = 600

# What looks at links in messages before, or instead of, the person that they are for; and plain programs.
_PROGRAMS = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|preview|facebookexternalhit|facebot|whatsapp|telegram|slack|discord|skype|viber|"
    r"twitter|linkedin|pinterest|embedly|quora|outbrain|vkshare|snapchat|mattermost|teams|google-safety|"
    r"googleimageproxy|yahoomailproxy|safelinks|barracuda|proofpoint|mimecast|scanner|monitor|uptime|lighthouse|"
    r"curl|wget|python|httpx|aiohttp|requests|go-http|java/|okhttp|axios|node-fetch|libwww|ruby|perl|php",
    re.IGNORECASE,
)


def by_person(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a request is a person's look at a page."""
    agent = headers.get("user-agent", "")
    told = (headers.get(name, "") for name in ("purpose", "sec-purpose", "x-purpose", "x-moz"))
    ahead = any(re.search("prefetch|preview|prerender", word, re.IGNORECASE) for word in told)
    return method == "GET" and not ahead and bool(agent.strip()) and _PROGRAMS.search(agent) is None


async def first_look(client: Redis, page: str, address: str | None, agent: str) -> bool:
    """Whether this visitor has not opened this page just before."""
    key = _key("look", f"{page} {network(address)} {agent}")
    try:
        return bool(await client.set(key, 1, nx=True, ex=ONCE_SECONDS))
    except redis.RedisError:
        return True


async def guesses_too_much(client: Redis, what: str, address: str | None) -> bool:
    """Whether too many guesses came from there of late."""
    try:
        return int(await client.get(_key(what, network(address))) or 0) >= GUESSES
    except redis.RedisError:
        return False


async def guessed(client: Redis, what: str, address: str | None) -> None:
    """Count a guess."""
    key = _key(what, network(address))
    try:
        async with client.pipeline(transaction=True) as steps:
            steps.incr(key)
            steps.expire(key, GUESSES_SECONDS, nx=True)
            await steps.execute()
    except redis.RedisError:
        return


def _key(kind: str, subject: str) -> str:
    return f"ispgraph:visits:{kind}:{hashlib.sha256(subject.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
