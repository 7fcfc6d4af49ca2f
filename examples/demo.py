"""What the tours of the demo share: an operator who asks the API, the control of the simulated network, and the end."""

import argparse
import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx

_unexpected: list[str] = []


def expect(condition: bool, what: str) -> None:
    """Say whether something came out as it should."""
    print(f"  {'ok ' if condition else 'NOT'} {what}")
    if not condition:
        _unexpected.append(what)


class Isp:
    """The API, as one operator."""

    def __init__(self, up: dict[str, Any]) -> None:
        self.up = up
        self.http = httpx.AsyncClient(timeout=30, trust_env=False)
        self.token = ""

    async def ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """Send a document that must not fail; its data."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        sent = {"query": document, "variables": variables}
        answer = (await self.http.post(self.up["graphql"], json=sent, headers=headers)).json()
        if "errors" in answer:
            raise SystemExit(f"unexpected errors: {json.dumps(answer['errors'], indent=2)}")
        data: dict[str, Any] = answer["data"]
        return data

    async def sign_in(self, role: str = "ADMIN") -> None:
        """As the first operator of a role."""
        first = next(one for one in self.up["operators"] if one["role"] == role)
        who = {name: first[name] for name in ("email", "password", "tenant")}
        done = await self.ask("mutation($input: SignInInput!) { signIn(input: $input) { token } }", input=who)
        self.token = done["signIn"]["token"]


class Network:
    """The simulated network, by its control API."""

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)

    async def get(self, path: str, **query: str) -> Any:
        """Look at something."""
        return (await self.http.get(path, params=query)).raise_for_status().json()

    async def tell(self, path: str, what: dict[str, Any] | None = None) -> dict[str, Any]:
        """Change something."""
        done: dict[str, Any] = (await self.http.post(path, json=what or {})).raise_for_status().json()
        return done

    async def on_line(self) -> list[dict[str, Any]]:
        """Devices with a PPPoE session."""
        found = await self.get("/subscribers", online="true")
        return [one for one in found if one["service"] == "pppoe" and not one["local"]]


def run(tour: Callable[[dict[str, Any]], Coroutine[Any, Any, None]], about: str, *directories: str) -> int:
    """Read the command line and take a tour of what `up.json` names; 0 when everything came out as expected.

    `directories` are options that name one; the tour finds them beside what is in `up.json`.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--up", type=Path, default=Path(".ispgraph/up.json"))
    for name in directories:
        parser.add_argument(f"--{name}", type=Path)
    given = vars(parser.parse_args())
    up = json.loads(given["up"].read_text()) | {name: given[name] for name in directories}
    if "lab" not in up:
        raise SystemExit("this needs the simulated network: start ispgraph up --demo")
    asyncio.run(tour(up))
    print("\n" + ("\n".join(f"NOT {what}" for what in _unexpected) or "everything came out as expected"))
    return 1 if _unexpected else 0
