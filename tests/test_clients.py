"""The clients that front-end teams use, on the whole schema and against a running API."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gql import Client, gql
from gql.dsl import DSLQuery, DSLSchema, dsl_gql
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport
from redis.asyncio import Redis

from ispgraph import demo
from ispgraph.settings import Settings
from ispgraph.up.ports import free_port
from tests.api import Api
from tests.npm import CLIENTS, needs_clients, told
from tests.operations import collection
from tests.programs import Program
from tests.servers import ROOT

pytestmark = [pytest.mark.npm, pytest.mark.long, needs_clients]

SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { token errors { message } } }"
TSCONFIG = {
    "compilerOptions": {
        **{"strict": True, "noEmit": True, "skipLibCheck": True, "types": []},
        **{"target": "ES2022", "module": "ESNext", "moduleResolution": "Bundler", "lib": ["ES2022", "DOM"]},
    },
    "include": ["src"],
}


def node(*command: str | Path, cwd: Path = CLIENTS, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of the packages of tests/clients."""
    return subprocess.run(
        ["node", *command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_codegen_makes_types_of_the_whole_collection(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    (tmp_path / "tsconfig.json").write_text(json.dumps(TSCONFIG))
    typed = (CLIENTS / "codegen/typed.ts").read_text()
    (tmp_path / "src/typed.ts").write_text(typed)
    made = node("node_modules/@graphql-codegen/cli/esm/bin.js", "--config", "codegen/codegen.mjs", OUT=str(tmp_path))
    assert made.returncode == 0, made.stdout + made.stderr
    tsc = CLIENTS / "node_modules/typescript/bin/tsc"
    checked = node(tsc, "-p", tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "")
    persisted = json.loads((tmp_path / "src/gql/persisted-documents.json").read_text())
    assert len(persisted) == len(collection()) + 1

    # What the schema does not have, and what may be null, TypeScript refuses.
    (tmp_path / "src/typed.ts").unlink()
    wrong = {"name": ("row.name}", "row.nickname}"), "null": ("row.service?.", "row.service.")}
    for file, (right, instead) in wrong.items():
        assert right in typed
        (tmp_path / f"src/{file}.ts").write_text(typed.replace(right, instead))
    checked = node(tsc, "-p", tmp_path)
    assert "src/name.ts" in checked.stdout
    assert "'row.service' is possibly 'null'" in checked.stdout


@dataclass
class Running:
    """The demo behind an API that is a program of its own."""

    port: int
    admin: dict[str, str]
    token: str
    customer: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql"

    @property
    def websocket(self) -> str:
        return f"ws://127.0.0.1:{self.port}/graphql"


@pytest.fixture
async def running(settings: Settings, api: Api, valkey: "Redis") -> AsyncIterator[Running]:
    operators = (await demo.run(settings))["operators"]
    admin = next(one for one in operators if one["role"] == "ADMIN" and one["tenant"] == "example-net")
    given = {"email": admin["email"], "password": admin["password"], "tenant": admin["tenant"]}
    token = str((await api.data(SIGN_IN, input=given))["signIn"]["token"])
    found = await api.data("{ customers(first: 1, orderBy: {field: NAME}) { nodes { id } } }", token=token)
    port = free_port()
    program = Program("app", settings, ISPGRAPH_PORT=str(port), ISPGRAPH_INTROSPECTION="open")
    try:
        await program.ready()
        yield Running(port, given, token, found["customers"]["nodes"][0]["id"])
    finally:
        program.kill()


def relay_compiled(folder: Path) -> Path:
    """What Relay's compiler makes of relay/page.js."""
    (folder / "src/__generated__").mkdir(parents=True)
    shutil.copy(CLIENTS / "relay/page.js", folder / "src")
    shutil.copy(ROOT / "schema.graphql", folder)
    names = {"src": "src", "schema": "schema.graphql", "artifactDirectory": "src/__generated__"}
    (folder / "relay.config.json").write_text(json.dumps({**names, "language": "javascript", "eagerEsModules": False}))
    made = node(CLIENTS / "node_modules/relay-compiler/cli.js", "relay.config.json", cwd=folder)
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


async def python(running: Running) -> tuple[list[str], dict[str, str]]:
    """gql: documents built from the schema that it was told by introspection, and a subscription."""
    headers = {"Authorization": f"Bearer {running.token}"}
    http = HTTPXAsyncTransport(url=running.url, headers=headers)
    async with Client(transport=http, fetch_schema_from_transport=True) as session:
        words = DSLSchema(session.client.schema)
        ordered = words.Query.customers(first=4, orderBy={"field": "NAME"})
        rows = ordered.select(words.CustomerConnection.nodes.select(words.Customer.id, words.Customer.name))
        page = await session.execute(dsl_gql(DSLQuery(rows)))
        with pytest.raises(AttributeError, match="nickname"):
            words.Customer.nickname  # noqa: B018
    socket = WebsocketsTransport(url=running.websocket, init_payload=headers)
    async with Client(transport=socket) as session:
        follow = gql("subscription Follow($id: ID!) { customerChanged(customerId: $id) { id name } }")
        follow.variable_values = {"id": running.customer}
        async for event in session.subscribe(follow):
            return [row["id"] for row in page["customers"]["nodes"]], event["customerChanged"]
    raise AssertionError("it ended without a value")


async def test_the_clients_read_change_and_follow(running: Running, tmp_path: Path) -> None:
    relay = relay_compiled(tmp_path / "relay")
    schema = ROOT / "schema.graphql"
    said = await asyncio.to_thread(
        told, "run/all.mjs", running.url, running.websocket, running.token, running.customer, schema, relay
    )
    # Two pages of two are the first four, in each cache, and an object is one object wherever it is read.
    assert len(said["ids"]) == len(set(said["ids"])) == 4
    for client in ("apollo", "urql", "relay"):
        assert said[client]["ids"] == said["ids"], client
    assert said["apollo"]["renamed"] == ["Aa of Apollo"]
    assert said["apollo"]["sent"] == ["hash", "document", "hash", "hash", "document"]
    assert (said["urql"]["renamed"], said["urql"]["complaints"]) == (["Aa of urql"], [])
    assert said["relay"]["renamed"] == ["Aa of Relay"]
    for client, value in (
        ("Urql", said["urql"]["followed"]),
        ("Relay", said["relay"]["followed"]),
        ("Socket", said["streams"]["socket"]),
        ("Events", said["streams"]["events"]),
    ):
        assert value["id"] == running.customer
        assert value["name"].startswith(f"Aa {client} ")
    ids, changed = await python(running)
    assert ids == said["ids"]
    assert changed["id"] == running.customer
    assert changed["name"].startswith("Aa Events ")


def newcomer_commands() -> list[str]:
    """The block of README.md."""
    section = (ROOT / "README.md").read_text().partition("### A typed query")[2]
    found = re.search(r"```sh\n(.*?)```", section, re.S)
    assert found is not None
    return found[1].strip().splitlines()


async def test_a_newcomer_has_a_typed_query_in_a_few_commands(running: Running, tmp_path: Path) -> None:
    commands, home = newcomer_commands(), tmp_path / "home"
    assert len(commands) < 10
    home.mkdir()
    (home / "up.json").write_text(json.dumps({"graphql": running.url, "operators": [running.admin]}))
    # An account with nothing in it; where packages come from is this machine's business.
    npmrc = Path.home() / ".npmrc"
    environment = {
        **{"PATH": os.environ["PATH"], "HOME": str(home), "ISPGRAPH": str(ROOT)},
        "ISPGRAPH_UP": str(home / "up.json"),
        **({"NPM_CONFIG_USERCONFIG": str(npmrc)} if npmrc.exists() else {}),
    }

    async def shell(script: str, folder: Path) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            cwd=folder,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 300)
        assert process.returncode is not None
        return process.returncode, output.decode()

    status, said = await shell("\n".join(commands), tmp_path)
    assert status == 0, said
    starter = tmp_path / "ispgraph/examples/starter"
    status, said = await shell("npm start", starter)
    assert status == 0, said
    assert len(re.findall(r"^.+: -?[\d.]+ [A-Z]{3}, (?:ACTIVE|PENDING|SUSPENDED|EXPIRED|no service)", said, re.M)) >= 4

    # A field that does not exist is refused: in the program by TypeScript, in the query by the generator.
    customers, right = starter / "src/customers.ts", (starter / "src/customers.ts").read_text()
    customers.write_text(
        right.replace("const { name, balance, service }", "const { nickname: name, balance, service }")
    )
    status, said = await shell("npm run check", starter)
    assert status != 0
    assert "Property 'nickname' does not exist" in said
    customers.write_text(right.replace("        name\n", "        nickname\n"))
    status, said = await shell("npm run types", starter)
    assert status != 0
    assert 'Cannot query field "nickname" on type "Customer"' in said
