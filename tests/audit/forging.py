"""What somebody who owns the database, and does not have the key, may do to the record."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# What stands in the way of the owner, who may take it away.
UNLOCK = (
    "ALTER TABLE audit_entries DISABLE TRIGGER USER",
    "ALTER TABLE audit_links DISABLE TRIGGER USER",
    "ALTER TABLE audit_links DROP CONSTRAINT fk_audit_links_tenant_id_entry_id",
    "ALTER TABLE audit_links DROP CONSTRAINT uq_audit_links_tenant_id_entry_id",
    "ALTER TABLE audit_links DROP CONSTRAINT pk_audit_links",
)
_ENTRY = "(SELECT entry_id FROM audit_links WHERE sequence = {})"
_COLUMNS = "(at, operator_id, action, subject_id, details)"
_SWAP = (
    f"UPDATE audit_entries e SET {_COLUMNS} = (SELECT at, operator_id, action, subject_id, details FROM audit_entries o"
    " WHERE o.id <> e.id AND o.id IN ({a}, {b})) WHERE e.id IN ({a}, {b})"
)


@dataclass(frozen=True)
class Forgery:
    """Statements, and what is to be named: the number of a link, or the entry of the link that once had it."""

    name: str
    statements: Sequence[str]
    link: int | None
    entry: int | None = None


def _edit(change: str) -> Callable[[int, int], Forgery]:
    return lambda k, j: Forgery(
        f"edit {change}", [f"UPDATE audit_entries SET {change} WHERE id = {_ENTRY.format(k)}"], k
    )


def _relink(change: str) -> Callable[[int, int], Forgery]:
    return lambda k, j: Forgery(f"relink {change}", [f"UPDATE audit_links SET {change} WHERE sequence = {k}"], k)


def _lose(k: int, j: int) -> Forgery:
    return Forgery("delete the entry", [f"DELETE FROM audit_entries WHERE id = {_ENTRY.format(k)}"], k)


def _lose_both(k: int, j: int) -> Forgery:
    both = [f"DELETE FROM audit_entries WHERE id = {_ENTRY.format(k)}", f"DELETE FROM audit_links WHERE sequence = {k}"]
    return Forgery("delete the entry and its link", both, k)


def _close_up(k: int, j: int) -> Forgery:
    closed = [*_lose_both(k, j).statements, f"UPDATE audit_links SET sequence = sequence - 1 WHERE sequence > {k}"]
    return Forgery("delete both and count anew", closed, k)


def _cut(k: int, j: int) -> Forgery:
    lost = [
        f"DELETE FROM audit_entries WHERE id IN (SELECT entry_id FROM audit_links WHERE sequence >= {k})",
        f"DELETE FROM audit_links WHERE sequence >= {k}",
    ]
    return Forgery("cut off the end", lost, k)


def _unlink_end(k: int, j: int) -> Forgery:
    return Forgery("delete the links at the end", [f"DELETE FROM audit_links WHERE sequence >= {k}"], None, k)


def _swap(k: int, j: int) -> Forgery:
    swapped = [_SWAP.format(a=_ENTRY.format(k), b=_ENTRY.format(j))]
    return Forgery("swap two entries", swapped, min(k, j))


def _swap_links(k: int, j: int) -> Forgery:
    change = f"UPDATE audit_links SET sequence = {k + j} - sequence WHERE sequence IN ({k}, {j})"
    return Forgery("swap two links", [change], min(k, j))


def _insert(k: int, j: int) -> Forgery:
    again = (
        "INSERT INTO audit_entries SELECT (jsonb_populate_record(e, jsonb_build_object('id', "
        f"'ffffffff-0000-7000-8000-000000000000'))).* FROM audit_entries e WHERE id = {_ENTRY.format(k)}"
    )
    return Forgery("insert an entry", [again], None, -1)


def _insert_both(k: int, j: int) -> Forgery:
    shifted = [
        *_insert(k, j).statements,
        f"UPDATE audit_links SET sequence = sequence + 1 WHERE sequence > {k}",
        "INSERT INTO audit_links SELECT (jsonb_populate_record(l, jsonb_build_object('sequence', sequence + 1, "
        f"'entry_id', 'ffffffff-0000-7000-8000-000000000000'))).* FROM audit_links l WHERE sequence = {k}",
    ]
    return Forgery("insert an entry with a link", shifted, k + 1)


def _double(k: int, j: int) -> Forgery:
    return Forgery("double a link", [f"INSERT INTO audit_links SELECT * FROM audit_links WHERE sequence = {k}"], k + 1)


KINDS: Sequence[Callable[[int, int], Forgery]] = (
    _edit("at = at - interval '1 microsecond'"),
    _edit("at = 'infinity'"),
    _edit("at = '4713-01-01 BC'"),
    _edit("operator_id = NULL"),
    _edit("operator_id = (SELECT id FROM operators WHERE id <> operator_id LIMIT 1)"),
    _edit("action = action || 's'"),
    _edit("subject_id = id"),
    _edit("""details = details || '{"amount_minor": 1}'"""),
    _edit("details = '{}'"),
    _edit("id = tenant_id"),
    _relink("hash = sha256(hash)"),
    _relink("content = sha256(content)"),
    _relink("sealed_at = sealed_at + interval '1 microsecond'"),
    _relink("key_name = 'another'"),
    _relink("sequence = sequence + 1000000"),
    _lose,
    _lose_both,
    _close_up,
    _cut,
    _unlink_end,
    _swap,
    _swap_links,
    _insert,
    _insert_both,
    _double,
)


def forgeries(length: int, count: int, seed: int = 0) -> "Sequence[Forgery]":
    """So many for a chain of this length: every kind in turn, in places drawn by chance."""
    chance = random.Random(seed)
    drawn = ((KINDS[n % len(KINDS)], chance.sample(range(1, length + 1), 2)) for n in range(count))
    return [kind(*places) for kind, places in drawn]
