"""The command ``ispgraph``: reads options and settings, and hands over to one program."""

import importlib
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ispgraph.settings import Settings, SettingsError
from ispgraph.up.process import UpError

DEFAULT_DATA = Path(".ispgraph")

app = typer.Typer(
    help="The backend of an internet service provider behind one GraphQL schema.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[
    Path | None,
    typer.Option(
        help="Data directory of a running `ispgraph up`; used when no ISPGRAPH_*_URL is set.", show_default=False
    ),
]


def main() -> None:
    """Run the command line. What a person can put right ends with one message and status 2."""
    try:
        app()
    except (UpError, SettingsError) as error:
        typer.echo(f"ispgraph: {error}", err=True)
        sys.exit(2)


def _load(module: str) -> Any:
    """Import the module of one program, and only that.

    The API must not pay for Alembic, nor the worker for Starlette, each time it starts: the imports of all programs
    together take seconds. Nothing else is imported late, save what sends traces (`traces.running`).
    """
    return importlib.import_module(f"ispgraph.{module}")


def _run(module: str) -> None:
    status = _load(module).main(Settings.from_env())
    raise typer.Exit(status or 0)


def _settings(data: Path | None) -> Settings:
    """Settings of the environment, or of the data directory when one is given or the environment names no server.

    Never a mixture: one URL of production beside one of a laptop would be worse than an error.
    """
    named = any(name.startswith("ISPGRAPH_") and name.endswith("_URL") for name in os.environ)
    if data is None and named:
        return Settings.from_env()
    found = _load("up.directory").DataDirectory(data or DEFAULT_DATA).environment()
    return Settings.from_env({**os.environ, **found})


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Fill a fictional ISP to look around in.")] = False,
    data: Annotated[Path, typer.Option(help="Where everything is kept.")] = DEFAULT_DATA,
    host: Annotated[str, typer.Option(help="Address of the API and the RADIUS responder.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the API.", min=1, max=65535)] = 8000,
) -> None:
    """Run everything on this machine, with its own PostgreSQL and Valkey. Ctrl-C stops it."""
    launch = _load("up.launch")
    launch.up(launch.Options(data=data, host=host, port=port, demo=demo), _say)


def _say(text: str) -> None:
    typer.echo(text)
    sys.stdout.flush()


@app.command()
def api() -> None:
    """Serve GraphQL over HTTP, WebSocket and server-sent events."""
    _run("app")


@app.command()
def worker() -> None:
    """Carry out jobs."""
    _run("worker")


@app.command()
def scheduler() -> None:
    """Start what is due, and send jobs again that were lost. Several may run; one works."""
    _run("scheduler")


@app.command()
def live() -> None:
    """Read the routers that somebody watches, and pass on what changes. Several may run; they share the routers."""
    _run("live.program")


@app.command()
def radius() -> None:
    """Answer RADIUS without FreeRADIUS (for one machine; production uses freeradius-config)."""
    _run("radius.responder")


@app.command()
def interims() -> None:
    """Store the Interims that FreeRADIUS passes on, many at once (freeradius-config --interims). One beside each."""
    _run("radius.interims")


@app.command()
def panel() -> None:
    """Be a hosting panel for the demo, on 127.0.0.1 (ISPGRAPH_PANEL_PORT, 8791 unless set)."""
    raise typer.Exit(_load("panel").main())


@app.command()
def lab() -> None:
    """Simulate a MikroTik network, ruled over HTTP on 127.0.0.1 (ISPGRAPH_LAB_PORT, 8790 unless set)."""
    raise typer.Exit(_load("lab.main").main())


@app.command()
def demo() -> None:
    """Fill a fictional ISP and print its operators as JSON. Again: nothing changes."""
    _run("demo")


@app.command()
def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Only print what would be done.")] = False,
    check: Annotated[bool, typer.Option("--check", help="The same, and status 1 if there is something to do.")] = False,
    contract: Annotated[
        bool, typer.Option("--contract", help="No program runs: what former versions use may be taken away.")
    ] = False,
    data: Data = None,
) -> None:
    """Bring the database to the newest revision (ISPGRAPH_OWNER_DATABASE_URL), while the programs run."""
    url = _settings(data).owner_database_url
    if url is not None:
        os.environ["ISPGRAPH_OWNER_DATABASE_URL"] = url  # where migrations/env.py reads it
    program = _load("migrate")
    if not (plan or check):
        program.upgrade(url, contract=contract, say=_say)
        return
    steps = program.plan(url)
    for step in steps:
        _say(
            f"{step.revision} {step.title}" + (f" (contracts: from {step.oldest_code} on)" if step.oldest_code else "")
        )
    raise typer.Exit(1 if check and steps else 0)


@app.command()
def export_schema(
    bare: Annotated[bool, typer.Option("--bare", help="Without descriptions: what is kept of a release.")] = False,
) -> None:
    """Print the schema in GraphQL's definition language."""
    _load("resolvers.build").main(bare=bare)


@app.command()
def check_schema(
    old: Annotated[Path, typer.Argument(help="The schema of the release before.")],
    new: Annotated[Path, typer.Argument(help="The one that is to follow.")],
) -> None:
    """Say what changes for clients. Status 1 when something goes that was not deprecated in the release before."""
    changes = _load("schema_changes")
    try:
        raise typer.Exit(changes.main(old, new))
    except changes.SchemaError as error:
        raise UpError(str(error)) from error


@app.command()
def reference(
    directory: Annotated[Path, typer.Argument(help="A new directory, or one this command made.")],
    operations: Annotated[
        Path | None, typer.Option(help="A folder of operations, for the examples.", show_default="examples/operations")
    ] = None,
) -> None:
    """Write the reference documentation of the schema: pages that need neither a server nor a network."""
    site = _load("reference.site")
    usual = Path("examples/operations")
    try:
        count = site.write(directory, operations or (usual if usual.is_dir() else None))
    except site.SiteError as error:
        raise UpError(str(error)) from error
    _say(f"{count} pages: {directory / 'index.html'}")


@app.command()
def create_operator(
    tenant: Annotated[str, typer.Option(help="Short name of the ISP; a new one is made.")],
    email: Annotated[str, typer.Option()],
    name: Annotated[str, typer.Option()],
    role: Annotated[str, typer.Option(help="SUPER_ADMIN, ADMIN, OPERATOR, SUB_OPERATOR, MANAGER, …")] = "ADMIN",
    tenant_name: Annotated[str | None, typer.Option(help="Full name of a new ISP.")] = None,
    currency: Annotated[str, typer.Option(help="Currency of a new ISP (ISO 4217).")] = "USD",
    country: Annotated[str, typer.Option(help="Country of a new ISP (ISO 3166, two letters).")] = "US",
    time_zone: Annotated[str, typer.Option(help="Time zone of a new ISP (IANA).")] = "UTC",
    data: Data = None,
) -> None:
    """Make an operator who can sign in; the password comes from a prompt or ISPGRAPH_OPERATOR_PASSWORD."""
    settings = _settings(data)
    password = os.environ.get("ISPGRAPH_OPERATOR_PASSWORD") or typer.prompt(
        "Password", hide_input=True, confirmation_prompt=True
    )
    status = _load("create_operator").main(
        settings,
        tenant=tenant,
        email=email,
        name=name,
        role=role,
        password=password,
        tenant_name=tenant_name,
        currency=currency,
        country=country,
        time_zone=time_zone,
    )
    raise typer.Exit(status or 0)


@app.command()
def bill(
    tenant: Annotated[str | None, typer.Option(help="Short name of one ISP; all are billed without it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be billed.")] = False,
    as_of: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="What ends by the end of this day, in the zone of the ISP."),
    ] = None,
    data: Data = None,
) -> None:
    """Bill what has come to an end, as the scheduler does each day. Status 1 when something could not be billed."""
    day = None if as_of is None else as_of.date()
    raise typer.Exit(_load("bill").main(_settings(data), tenant=tenant, dry_run=dry_run, as_of=day))


@app.command()
def freeradius_config(
    directory: Annotated[Path, typer.Argument(help="A new directory, or one this command made.")],
    host: Annotated[str | None, typer.Option(help="Where FreeRADIUS listens.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
    acct_port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
    interims: Annotated[bool, typer.Option("--interims", help="Pass Interims on to `ispgraph interims`.")] = False,
    data: Data = None,
) -> None:
    """Write a directory that FreeRADIUS runs as it is: freeradius -f -d DIRECTORY."""
    configuration = _load("radius.configuration")
    try:
        configuration.write(
            directory, _settings(data), host=host, auth_port=port, acct_port=acct_port, interims=interims
        )
    except configuration.ConfigurationError as error:
        raise UpError(str(error)) from error


@app.command()
def production_files(
    directory: Annotated[Path, typer.Argument(help="A new directory, or one this command made.")],
    database_host: Annotated[str, typer.Option(help="Where PostgreSQL is, for the settings.")] = "database",
    redis_host: Annotated[str, typer.Option(help="Where Redis or Valkey is, for the settings.")] = "redis",
    program: Annotated[
        Path | None, typer.Option(help="The command `ispgraph` that the units start.", show_default="this one")
    ] = None,
) -> None:
    """Write what it takes to run the programs in production. Passwords and keys are made once, and kept."""
    production = _load("production.directory")
    try:
        kept = production.write(directory, database_host=database_host, redis_host=redis_host, program=program)
    except production.ConfigurationError as error:
        raise UpError(str(error)) from error
    for name in kept:
        _say(f"{directory / name} was there already and is kept")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A new file; what belongs beside it gets .json behind its name.")],
    data: Data = None,
) -> None:
    """Write the whole database to a file (ISPGRAPH_BACKUP_DATABASE_URL). The keys are not in it."""
    _keep("backup", _settings(data), file)


@app.command()
def restore(file: Annotated[Path, typer.Argument(help="What `backup` has written.")]) -> None:
    """Restore a backup in a new database, and check it. Status 1 when something in it is wrong."""
    raise typer.Exit(_keep("restore", Settings.from_env(), file) or 0)


def _keep(module: str, settings: Settings, file: Path) -> int | None:
    program = _load(module)
    try:
        status: int | None = program.main(settings, file)
    except (program.BackupError, _load("postgres_tools").ToolError) as error:
        raise UpError(str(error)) from error
    return status


@app.command()
def rotate_network_key(
    check: Annotated[bool, typer.Option("--check", help="Only say what is sealed with a former key.")] = False,
    data: Data = None,
) -> None:
    """Seal with the new network key what the former one has sealed (ISPGRAPH_NETWORK_KEY=NEW,OLD). Status 1 while
    something needs the former key. Killed, it goes on when it is begun again."""
    raise typer.Exit(_load("rotate_network_key").main(_settings(data), check=check))


@app.command()
def check_invariants(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False, data: Data = None
) -> None:
    """Check that the books balance and nothing is half-made. Status 1 when something is wrong."""
    raise typer.Exit(_load("invariants").main(_settings(data), as_json))


@app.command()
def seed_mirror(
    as_json: Annotated[bool, typer.Option("--json", help="Print ids and tokens as JSON.")] = False, data: Data = None
) -> None:
    """Make two fictional ISPs with the same in them and an operator of every role, for security tests."""
    raise typer.Exit(_load("mirror").main(_settings(data), as_json=as_json))


@app.command()
def verify_audit(
    tenant: Annotated[str | None, typer.Option(help="Short name of one ISP; all are verified without it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    expect: Annotated[Path | None, typer.Option(help="An earlier report as JSON: where the chains once ended.")] = None,
    data: Data = None,
) -> None:
    """Check that the audit entries are those that were sealed. Status 1 when a chain is broken."""
    status = _load("verify_audit").main(_settings(data), tenant=tenant, as_json=as_json, expect=expect)
    raise typer.Exit(status)
