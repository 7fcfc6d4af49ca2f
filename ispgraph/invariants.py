"""The program `check-invariants`: what must be true of the books at every moment, one SQL query per rule.

It connects as the owner, who is under row-level security like everyone, and asks tenant by tenant. A query answers
with one row per breach, and the row names the culprit. Nothing is changed.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TextIO
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, invariant_rules, voucher_rules
from ispgraph.db import Database
from ispgraph.domain.models import Tenant
from ispgraph.invariant_rules import Rule
from ispgraph.settings import Settings, SettingsError

RULES = (*invariant_rules.RULES, *voucher_rules.RULES)
SHOWN = 10
"""How many culprits of a rule are named; all are counted."""


@dataclass(slots=True)
class Finding:
    """How often a rule is broken over all tenants, and by whom, as `slug: culprit`."""

    rule: Rule
    broken: int = 0
    culprits: list[str] = field(default_factory=list)


async def check(database: Database) -> list[Finding]:
    """Try every rule on every tenant. `database` is the owner's."""
    findings = [Finding(rule) for rule in RULES]
    now = clock.now()
    async with database.read(None) as session:
        tenants = (await session.execute(select(Tenant.id, Tenant.slug).order_by(Tenant.slug))).all()
    for tenant_id, slug in tenants:
        async with database.read(tenant_id) as session:
            await session.execute(text("SET LOCAL statement_timeout = '10min'"))
            for finding in findings:
                _note(finding, slug, await breaches(session, finding.rule, tenant_id, now))
    return findings


async def breaches(session: AsyncSession, rule: Rule, tenant_id: UUID, now: datetime) -> Sequence[str]:
    """The culprits of one rule in one tenant, in the order of their names."""
    values = {"tenant": tenant_id} | ({"now": now} if ":now" in rule.query else {})
    return sorted(await session.scalars(text(rule.query), values), key=str)


def _note(finding: Finding, slug: str, culprits: Sequence[str]) -> None:
    finding.broken += len(culprits)
    room = SHOWN - len(finding.culprits)
    finding.culprits += [f"{slug}: {culprit}" for culprit in culprits[:room]]


def report(findings: Sequence[Finding], as_json: bool, out: TextIO) -> None:
    """One line for each rule, and under a broken one its first culprits; or all of it as one JSON object."""
    if as_json:
        rules = [
            {"name": f.rule.name, "meaning": f.rule.meaning, "broken": f.broken, "culprits": f.culprits}
            for f in findings
        ]
        out.write(json.dumps({"ok": not any(f.broken for f in findings), "rules": rules}, indent=2) + "\n")
        return
    for finding in findings:
        state = f"BROKEN {finding.broken}" if finding.broken else "ok"
        out.write(f"{finding.rule.name:28} {state:10} {finding.rule.meaning}\n")
        for culprit in finding.culprits:
            out.write(f"    {culprit}\n")


async def _checked(url: str) -> list[Finding]:
    database = Database(url, pool_size=1)
    try:
        return await check(database)
    finally:
        await database.dispose()


def main(settings: Settings, as_json: bool) -> int:
    """Check, report on standard output, and give the exit status: 1 when any rule is broken.

    Raises SettingsError without the owner's database.
    """
    if settings.owner_database_url is None:
        raise SettingsError("ISPGRAPH_OWNER_DATABASE_URL is not set")
    findings = asyncio.run(_checked(settings.owner_database_url))
    report(findings, as_json, sys.stdout)
    return 1 if any(finding.broken for finding in findings) else 0
