"""How codes of vouchers are made, written and read. Pure but for the randomness.

A code is eleven random characters of thirty-one, 54 bits, and one by which mistyping is noticed; a prefix before them
is for people and says nothing. None of the characters is taken for another one: no 0, O, 1, I or l.
"""

import re
import secrets
from collections.abc import Sequence
from uuid import UUID

from ispgraph.domain import secrets as sealing

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
RANDOM = 11
LENGTH = RANDOM + 1
PREFIX = re.compile(r"[A-Z0-9]{1,8}")
HIDDEN = "****-****-****"
"""What is shown of a code to those who may not know it."""
_GROUP = 4
_LONGEST = 60
# What people type between the groups: a space, and whatever a telephone makes of a dash.
_BETWEEN = re.compile(r"[\s\-\u2010-\u2015\u2212._]+")


def generate() -> str:
    """A new code, without prefix and dashes."""
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM))
    return random + check_character(random)


def check_character(random: str) -> str:
    """What follows these characters.

    Each counts as often as its place says, and the sum is a multiple of 31, a prime: any one character mistyped, and
    any two that changed places, make it another.
    """
    total = sum(place * ALPHABET.index(character) for place, character in enumerate(random, start=1))
    # The last one counts twelve times.
    return ALPHABET[-total * pow(LENGTH, -1, len(ALPHABET)) % len(ALPHABET)]


def written(code: str, prefix: str | None) -> str:
    """As it is shown: CAFE-2345-6789-ABCD."""
    groups = [code[place : place + _GROUP] for place in range(0, len(code), _GROUP)]
    return "-".join([prefix, *groups] if prefix else groups)


def read(typed: str) -> str | None:
    """The code in what somebody typed, in whatever case, with prefix and dashes or without; None for what is none."""
    if len(typed) > _LONGEST:
        return None
    plain = _BETWEEN.sub("", typed).upper()
    prefix, code = plain[:-LENGTH], plain[-LENGTH:]
    if len(code) != LENGTH or not set(code) <= set(ALPHABET) or check_character(code[:-1]) != code[-1]:
        return None
    return code if not prefix or PREFIX.fullmatch(prefix) else None


def lookup(network_key: bytes, tenant_id: UUID, code: str) -> str:
    """By which a code is found: whoever has the database without the key cannot try codes."""
    return lookups(network_key, tenant_id, code)[0]


def lookups(network_key: bytes, tenant_id: UUID, code: str) -> Sequence[str]:
    """The same, and by which the code was found with each former key."""
    return sealing.digests(network_key, f"voucher:{tenant_id}:{code}")
