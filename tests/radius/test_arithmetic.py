"""The arithmetic against the examples that stand in the RFCs."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispgraph.radius import authenticate
from ispgraph.radius.authenticate import BadCredentials

# RFC 2759 section 9.2; RFC 3079 section 3.5.3 goes on with the same login.
USER, CLIENT_PASSWORD = b"User", "clientPass"
CHALLENGE = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
PEER_CHALLENGE = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
NT_RESPONSE = bytes.fromhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")
MSCHAP2_RESPONSE = bytes(2) + PEER_CHALLENGE + bytes(8) + NT_RESPONSE
MASTER_SEND_KEY = bytes.fromhex("8B7CDC149B993A1BA118CB153F56DCCB")


def test_pap_of_rfc_2865() -> None:
    """Section 7.1: nemo, arctangent, xyzzy5461."""
    authenticator = bytes.fromhex("0f403f9473978057bd83d5cb98f4227a")
    hidden = bytes.fromhex("0dbe708d93d413ce3196e43f782a0aee")
    assert authenticate.reveal_password(hidden, authenticator, b"xyzzy5461") == b"arctangent"
    assert authenticate.hide_password(b"arctangent", authenticator, b"xyzzy5461") == hidden


def test_chap_of_rfc_2865() -> None:
    """Section 7.2: flopsy, arctangent; the Request Authenticator is the challenge."""
    challenge = bytes.fromhex("2aee86f08d0d55969ca5978e0d3367a2")
    response = bytes.fromhex("16e97557c316185895f293ff6344077275")
    assert authenticate.chap("arctangent", response, challenge)
    assert not authenticate.chap("arctangens", response, challenge)


def test_mschap_of_rfc_2433() -> None:
    """Appendix B.2: MyPw."""
    challenge = bytes.fromhex("102DB5DF085D3041")
    assert authenticate.nt_hash("MyPw") == bytes.fromhex("FC156AF7EDCD6C0EDDE3337D427F4EAC")
    nt_response = bytes.fromhex("4E9D3C8F9CFD385D5BF4D3246791956CA4C351AB409A3D61")
    assert authenticate.mschap("MyPw", b"\0\1" + bytes(24) + nt_response, challenge)
    assert authenticate.mschap("MyPx", b"\0\1" + bytes(24) + nt_response, challenge) is None


def test_the_response_of_lan_manager_is_not_looked_at() -> None:
    challenge = bytes.fromhex("102DB5DF085D3041")
    lan_manager = bytes.fromhex("4E9D3C8F9CFD385D5BF4D3246791956CA4C351AB409A3D61")
    assert authenticate.mschap("MyPw", b"\0\0" + lan_manager + bytes(24), challenge) is None


def test_mschap2_of_rfc_2759() -> None:
    success = authenticate.mschap2(CLIENT_PASSWORD, MSCHAP2_RESPONSE, CHALLENGE, USER)
    assert success is not None
    assert success.response == b"S=407A5589115FD0D6209F510FE9C04566932CDA56"


def test_mppe_keys_of_rfc_3079() -> None:
    success = authenticate.mschap2(CLIENT_PASSWORD, MSCHAP2_RESPONSE, CHALLENGE, USER)
    assert success is not None
    assert success.send_key == MASTER_SEND_KEY


@pytest.mark.parametrize(
    ("password", "name", "challenge"),
    [
        ("clientpass", USER, CHALLENGE),
        (CLIENT_PASSWORD, b"user", CHALLENGE),
        (CLIENT_PASSWORD, USER, bytes(16)),
    ],
)
def test_mschap2_refuses(password: str, name: bytes, challenge: bytes) -> None:
    assert authenticate.mschap2(password, MSCHAP2_RESPONSE, challenge, name) is None


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_impossible_lengths_are_named_or_refused(value: bytes, challenge: bytes) -> None:
    for check in (
        lambda: authenticate.chap("x", value, challenge),
        lambda: authenticate.mschap("x", value, challenge),
        lambda: authenticate.mschap2("x", value, challenge, b"x"),
    ):
        with contextlib.suppress(BadCredentials):
            assert not check()


@given(st.binary(max_size=128).map(lambda text: text.rstrip(b"\0")), st.binary(min_size=16, max_size=16), st.binary())
def test_pap_hides_and_reveals(clear: bytes, authenticator: bytes, secret: bytes) -> None:
    hidden = authenticate.hide_password(clear, authenticator, secret)
    assert authenticate.reveal_password(hidden, authenticator, secret) == clear
