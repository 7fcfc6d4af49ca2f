"""The mirrored providers as the command makes them: everything that has an id, in books that balance."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ispgraph import cli
from ispgraph.settings import Settings


def test_the_command_makes_them_once(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "DATABASE_URL": settings.database_url,
        "OWNER_DATABASE_URL": settings.owner_database_url,
        "RADIUS_DATABASE_URL": settings.radius_database_url,
        "REDIS_URL": settings.redis_url,
        "TOKEN_KEY": settings.token_key.hex(),
        "NETWORK_KEY": settings.network_key.hex(),
    }.items():
        monkeypatch.setenv(f"ISPGRAPH_{name}", str(value))
    done = CliRunner().invoke(cli.app, ["seed-mirror", "--json"])
    assert done.exit_code == 0, done.output
    east, west = json.loads(done.stdout)["tenants"]
    assert (east["slug"], west["slug"]) == ("mirror-east", "mirror-west")
    for one, other in ((east, west), (west, east)):
        # The same in both, and nothing of one in the other.
        assert {kind: len(keys) for kind, keys in one["shared"].items()} == {
            kind: len(keys) for kind, keys in other["shared"].items()
        }
        for place, found in one["objects"].items():
            assert {kind: len(keys) for kind, keys in found.items()} == {
                kind: len(keys) for kind, keys in other["objects"][place].items()
            }
            assert not {key for keys in found.values() for key in keys} & {
                key for keys in other["objects"][place].values() for key in keys
            }
        assert all(each["token"] and each["password"] for each in [*one["operators"], *one["customers"]])
        # One customer of each place signs in, and what is its own is of that place.
        assert [each["place"] for each in one["customers"]] == list(one["objects"])
        for each in one["customers"]:
            there = one["objects"][each["place"]]
            assert each["own"]["cus"] == [each["id"]]
            assert all(set(keys) <= set(there[kind]) for kind, keys in each["own"].items())
    assert {each["role"] for each in east["operators"]} == {
        *("SUPER_ADMIN", "ADMIN", "OPERATOR", "SUB_OPERATOR", "MANAGER", "ACCOUNTANT", "STAFF", "CUSTOMER"),
    }
    again = CliRunner().invoke(cli.app, ["seed-mirror", "--json"])
    assert again.exit_code != 0
    assert "already" in str(again.exception)
    checked = CliRunner().invoke(cli.app, ["check-invariants", "--json"])
    assert checked.exit_code == 0, checked.output
