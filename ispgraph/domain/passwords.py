"""Passwords of operators: argon2id, computed beside the event loop."""

import asyncio
import functools
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from ispgraph.domain.values import Unfit

T = TypeVar("T")

MINIMUM = 10
MAXIMUM = 200

# OWASP's smallest recommended cost; about 30 ms of one core. Two threads, so that a storm of sign-ins leaves the
# event loop its share of the machine.
_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1, type=Type.ID)
_DUMMY = _hasher.hash(secrets.token_bytes(16))
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")


async def hashed(password: str) -> str:
    """The argon2id string (PHC format) of a password."""
    return await _beside(functools.partial(_hasher.hash, _bytes(password)))


async def verify(password_hash: str | None, password: str) -> bool:
    """Whether the password is the hashed one. Without a hash the same work is done, and the answer is no."""
    return await _beside(functools.partial(_verify, password_hash, _bytes(password)))


def is_stale(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)


def fit(raw: str, email: str | None) -> str:
    """A new password for the owner of `email`. Raises Unfit."""
    if len(raw) < MINIMUM:
        raise Unfit(f"A password has at least {MINIMUM} characters.")
    if len(raw) > MAXIMUM:
        raise Unfit(f"A password has at most {MAXIMUM} characters.")
    if email is not None and raw.strip().lower() == email:
        raise Unfit("The password must not be the e-mail address.")
    return raw


def _verify(password_hash: str | None, password: bytes) -> bool:
    try:
        return _hasher.verify(password_hash or _DUMMY, password) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


def _bytes(password: str) -> bytes:
    # The same text may come composed or decomposed, depending on the keyboard. Lone surrogates are legal in JSON.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


async def _beside(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
