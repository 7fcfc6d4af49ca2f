"""FreeRADIUS and the embedded responder give the same answers."""

import asyncio

import pytest

from tests.radius import world
from tests.radius.cases import CASES, METHODS, Case
from tests.radius.client import ACCEPT, REJECT, Login, build, send, send_again
from tests.radius.conftest import Server


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_answer(server: Server, case: Case) -> None:
    answer = server.log_in(case.login, wait=5.0 if case.code else 0.4)
    if case.code is None:
        assert answer is None
        return
    assert answer is not None, server.running.output
    assert answer.code == case.code, answer
    assert answer.first == 80, "Message-Authenticator comes first (CVE-2024-3596)"
    for name, expected in case.has.items():
        [value] = answer.attributes[name]
        assert value in expected if isinstance(expected, range) else value == expected, name
    assert not set(case.lacks) & set(answer.attributes)
    if answer.code == ACCEPT:
        [cookie] = answer.attributes["Class"]
        assert isinstance(cookie, bytes)
        assert len(cookie) == 20


@pytest.mark.parametrize("method", METHODS)
def test_no_password_no_entry(server: Server, method: str) -> None:
    """A device's password is its name as sent: an empty name must not match an empty password."""
    answer = server.log_in(Login("", "", method))
    assert answer is None or answer.code == REJECT


def test_class_is_new_for_each_login(server: Server) -> None:
    answers = [server.log_in(Login("alice", world.PASSWORD)) for _ in range(3)]
    assert len({answer.attributes["Class"][0] for answer in answers if answer}) == 3


def test_a_name_that_is_not_text_is_not_let_in(server: Server) -> None:
    for name in (b"jos\xe9", b"alice\0", b"\0", b"\xff" * 100):
        answer = server.log_in(Login(name, world.PASSWORD), wait=0.4)
        assert answer is None or answer.code == REJECT, name
    still = server.log_in(Login("alice", world.PASSWORD))
    assert still is not None
    assert still.code == ACCEPT


def test_a_repeated_request_gets_the_same_answer(server: Server) -> None:
    with_secret = build(Login("alice", world.PASSWORD), world.SECRETS[world.NORTH].encode())
    first, second = send_again(server.running.address, with_secret.packet, world.NORTH)
    assert first == second


def test_a_router_added_while_it_runs(server: Server) -> None:
    login = Login("alice", world.PASSWORD, nas=world.LATER)
    asyncio.run(world.remove_router(server.network.settings().database_url, server.network.world.north, world.LATER))
    assert server.log_in(login, wait=0.4) is None
    asyncio.run(world.add_router(server.network.settings().database_url, server.network.world.north, world.LATER))
    # A stranger is remembered for 2 seconds at most; 60 would still keep the promise.
    answers = (server.log_in(login, wait=1.0) for _ in range(60))
    assert next(filter(None, answers)).code == ACCEPT


def test_a_forged_signature_is_not_answered(server: Server) -> None:
    request = build(Login("alice", world.PASSWORD), world.SECRETS[world.NORTH].encode())
    forged = request.packet[:-1] + bytes([request.packet[-1] ^ 1])
    assert send(server.running.address, forged, world.NORTH, wait=0.4) is None


def test_secrets_stay_out_of_the_log(server: Server) -> None:
    for login in (
        Login("alice", world.PASSWORD),
        Login("alice", "wrong horse"),
        Login("alice", world.PASSWORD, "chap"),
    ):
        server.log_in(login)
    written = server.running.output
    for secret in (world.PASSWORD, "wrong horse", server.network.settings().network_key.hex(), "tr1cky"):
        assert secret not in written
