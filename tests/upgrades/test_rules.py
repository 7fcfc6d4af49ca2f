"""Migrations do not stop the programs: no big table is locked for long, and nothing goes that the last version uses.

Each is carried out on a database with rows in it, and watched (`observed.py`); and squawk, a linter of migrations,
reads its statements. Toy migrations show that either sees what it is there to see.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from ispgraph.migrate import configuration
from ispgraph.settings import Settings
from tests.conftest import Dsns
from tests.upgrades.databases import filled, form, migrating, upgraded, with_more
from tests.upgrades.observed import Observed, judged, of_big_tables, watching

# What was there when the rules were made.
BASELINE = "0045"

# Of squawk's rules, those that are not about locks and not about what the last version uses; and the time limits,
# which migrations/env.py sets for all.
_LEFT_OUT = (
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-timestamp-tz",
    "require-lock-timeout",
    "require-statement-timeout",
    "require-timeout-settings",
)
# What a migration that says which version it serves may do.
_CONTRACTS = ("ban-drop-column", "ban-drop-table", "ban-drop-not-null", "renaming-column", "renaming-table")


async def carried_out(dsns: Dsns, revision: str, config: Config) -> list[str]:
    """The faults of one migration, from the revision before it."""
    before = await form(dsns)
    with watching(before) as observed:
        await upgraded(dsns, revision, config)
    module = ScriptDirectory.from_config(config).get_revision(revision).module
    oldest_code = getattr(module, "oldest_code", None)
    faults = judged(observed, before, await form(dsns), revision, oldest_code)
    return faults + linted(observed, contracts=oldest_code is not None)


def linted(observed: Observed, *, contracts: bool) -> list[str]:
    """What squawk says."""
    found = []
    for inside in (True, False):
        statements = [sql for sql, within in of_big_tables(observed.statements) if within is inside]
        command_line = [
            str(Path(sys.executable).parent / "squawk"),
            "--pg-version=15.0",
            "--reporter=json",
            f"--exclude={','.join(_LEFT_OUT + (_CONTRACTS if contracts else ()))}",
            *(["--assume-in-transaction"] if inside else []),
        ]
        text = ";\n".join(sql.strip().rstrip(";").replace("%%", "%") for sql in statements) + ";\n"
        done = subprocess.run(command_line, input=text, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        found += [f"{each['rule_name']}: {each['message']}" for each in json.loads(done.stdout or "[]")]
    return found


@pytest.fixture
async def rows(settings: Settings, dsns: Dsns) -> None:
    await filled(settings)
    await migrating(dsns, command.downgrade, BASELINE)


async def test_no_migration_stops_the_programs(rows: None, dsns: Dsns) -> None:
    config = configuration()
    scripts = ScriptDirectory.from_config(config)
    new = [each.revision for each in reversed(list(scripts.iterate_revisions("head", BASELINE)))]
    assert new, "the rules hold from the baseline on"
    faults = {revision: found for revision in new if (found := await carried_out(dsns, revision, config))}
    assert faults == {}


_TOY = """
from alembic import op
from ispgraph import big_tables
revision = "{name}"
down_revision = "{behind}"
{more}

def upgrade():
    {body}
"""

# What each does, what is to be found by watching, and a rule of squawk's for what it can read.
_BAD = {
    "volatile default": (
        'op.execute("ALTER TABLE jobs ADD COLUMN toy uuid DEFAULT gen_random_uuid()")',
        "writes jobs anew",
        "adding-field-with-default",
    ),
    "type": (
        'op.execute("ALTER TABLE jobs ALTER COLUMN attempts TYPE bigint")',
        "writes jobs anew",
        "changing-column-type",
    ),
    "index": (
        'op.execute("CREATE INDEX toys ON customers (name)")',
        "reads through customers while nobody may write customers",
        "require-concurrent-index-creation",
    ),
    "constraint": (
        'op.execute("ALTER TABLE services ADD CONSTRAINT toys CHECK (desired_version >= 0)")',
        "reads through services while nobody may write services",
        "constraint-missing-not-valid",
    ),
    "foreign key": (
        'op.execute("ALTER TABLE invoices ADD CONSTRAINT toy FOREIGN KEY (tenant_id) REFERENCES tenants (id)")',
        "reads through invoices while nobody may write invoices",
        "adding-foreign-key-constraint",
    ),
    "validated at once": (
        """op.execute("ALTER TABLE services ADD CONSTRAINT toy CHECK (desired_version >= 0) NOT VALID")
    op.execute("ALTER TABLE services VALIDATE CONSTRAINT toy")""",
        "reads through services while nobody may write services",
        None,
    ),
    "rows": (
        """op.execute("SELECT set_config('app.tenant_id', (SELECT min(tenant_id::text) FROM all_tenants()), true)")
    op.execute("DO $$ BEGIN UPDATE customers SET name = name; END $$")""",
        "changes rows of customers in one transaction",
        None,
    ),
    "required": (
        """op.execute("ALTER TABLE zones ADD COLUMN toy text DEFAULT '' NOT NULL")
    op.execute("ALTER TABLE zones ALTER COLUMN toy DROP DEFAULT")""",
        "asks for zones.toy, which the last version does not give",
        None,
    ),
    "gone": (
        'op.execute("ALTER TABLE customers DROP COLUMN company")',
        "takes away customers.company, and does not say",
        "ban-drop-column",
    ),
    "renamed": (
        'op.execute("ALTER TABLE customers RENAME COLUMN street TO toy")',
        "takes away customers.street, and does not say",
        "renaming-column",
    ),
    "function gone": (
        'op.execute("DROP FUNCTION monitoring_figures(timestamptz)")',
        "takes away monitoring_figures(timestamp with time zone), and does not say",
        None,
    ),
}

_GOOD = {
    "a column": ('op.execute("ALTER TABLE jobs ADD COLUMN kept bigint NOT NULL DEFAULT 0")', ""),
    "an index": ('big_tables.index("kept", "customers", "(tenant_id, name)")', ""),
    "a constraint": (
        """op.execute("ALTER TABLE services ADD CONSTRAINT kept CHECK (desired_version >= 0) NOT VALID")
    big_tables.validate("services", "kept")""",
        "",
    ),
    "rows in batches": (
        """op.execute("ALTER TABLE customers ADD COLUMN kept text")
    assert big_tables.backfill("customers", "kept = name", "kept IS NULL", batch=3) > 3""",
        "",
    ),
    "a table": (
        """op.execute("CREATE TABLE keeper (id uuid PRIMARY KEY, tenant_id uuid REFERENCES tenants, name text)")
    op.execute("CREATE INDEX keepers ON keeper (name)")""",
        "",
    ),
    "something less": ('op.execute("ALTER TABLE customers DROP COLUMN state")', 'oldest_code = "0045"'),
}


def toys(place: Path, bodies: dict[str, tuple[str, str]]) -> tuple[Config, dict[str, str]]:
    """A chain of them; and its revisions, by what they are to show."""
    behind = ScriptDirectory.from_config(configuration()).get_current_head() or ""
    written, names = {}, {}
    for number, (title, (body, more)) in enumerate(bodies.items()):
        name = f"9{number:03}"
        written[name] = _TOY.format(name=name, behind=behind, body=body, more=more)
        names[name], behind = title, name
    return with_more(place, **written), names


@pytest.mark.long
async def test_what_would_stop_them_is_noticed_and_the_right_way_is_not(rows: None, dsns: Dsns, tmp_path: Path) -> None:
    await upgraded(dsns, "head")
    config, names = toys(tmp_path, {title: (body, "") for title, (body, _, _) in _BAD.items()} | _GOOD)
    for revision, title in names.items():
        found = await carried_out(dsns, revision, config)
        if title in _GOOD:
            assert found == [], title
            continue
        _, seen, rule = _BAD[title]
        assert any(each.startswith(seen) for each in found), (title, found)
        assert rule is None or any(each.startswith(rule) for each in found), (title, found)
