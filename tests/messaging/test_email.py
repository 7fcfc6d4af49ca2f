"""E-mail against a real mail server."""

import asyncio

import pytest

from ispgraph.adapters import email, outbound
from ispgraph.adapters.carriers import Carrier, Forged, open_carrier
from ispgraph.adapters.errors import BadReply, Refusal, Refused, TimedOut, Unreachable
from ispgraph.adapters.letters import Letter
from ispgraph.domain.models import GatewayKind
from ispgraph.up.ports import free_port
from tests.messaging.accounts import account, letter
from tests.messaging.mail_server import PASSWORD, USER, Mail, authority, mail_server


def carrier(mail: Mail, client: outbound.Client, security: str = "none", **changed: str) -> Carrier:
    given = {
        "host": "127.0.0.1",
        "port": str(mail.port),
        "security": security,
        "username": USER,
        "password": PASSWORD,
        "sender": "Nórth Net <billing@north.example>",
        "ca_certificate": "" if security == "none" else authority()[0],
    }
    return open_carrier(account("smtp", GatewayKind.EMAIL, **(given | changed)), client)


def mail_to(**changed: str | None) -> Letter:
    given = {"to": "someone@customer.example", "subject": "Räksmörgås – invoice 7", "body": "Zwölf\n.\nTaka ৳ 500\n"}
    return letter(**(given | changed))


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
async def test_a_message_arrives_as_it_is(client: outbound.Client, security: str) -> None:
    async with mail_server(security) as mail:
        sends = carrier(mail, client, security)
        accepted = await sends.send(mail_to(html="<p>Zwölf & mehr</p>" + "x" * 3000))
        assert mail.secured == [security != "none"]
        assert (mail.taken[0].mail_from, mail.taken[0].rcpt_tos) == (
            "billing@north.example",
            ["someone@customer.example"],
        )
        got = mail.last()
        assert str(got["From"]) == "Nórth Net <billing@north.example>"
        assert got["Subject"] == "Räksmörgås – invoice 7"
        assert got["Message-ID"] == accepted.provider_reference == "<msg-000001@north.example>"
        assert got["Auto-Submitted"] == "auto-generated"
        assert got.get_content_type() == "multipart/alternative"
        plain, html = got.iter_parts()
        assert plain.get_content_type() == "text/plain"
        assert plain.get_content().replace("\r\n", "\n") == "Zwölf\n.\nTaka ৳ 500\n"
        assert (html.get_content_type(), html.get_content().strip()) == (
            "text/html",
            "<p>Zwölf & mehr</p>" + "x" * 3000,
        )
        assert await sends.reports() == []
        with pytest.raises(Forged):
            sends.reported("POST", {}, {}, b"")


async def test_plain_text_alone(client: outbound.Client) -> None:
    async with mail_server() as mail:
        await carrier(mail, client).send(mail_to())
        assert mail.last().get_content_type() == "text/plain"


@pytest.mark.parametrize(
    "changed",
    [
        {"subject": "Invoice\r\nBcc: everybody@customer.example"},
        {"subject": "Invoice\nX-Spam: no"},
        {"to": "someone@customer.example\r\nRCPT TO:<other@customer.example>"},
        {"to": "someone@customer.example, other@customer.example"},
        {"to": "<someone@customer.example> other"},
        {"to": "+8801712345678"},
        {"sender": "a@b.example\nBcc: x@y.example"},
        {"sender": "a@b.example\rBcc: x@y.example"},
    ],
)
async def test_nothing_gets_into_the_headers(client: outbound.Client, changed: dict[str, str]) -> None:
    async with mail_server() as mail:
        with pytest.raises(Refused) as refused:
            await carrier(mail, client).send(mail_to(**changed))
        assert refused.value.kind is Refusal.INVALID_VALUE
        assert mail.taken == []


async def test_a_wrong_password_is_told_without_it(client: outbound.Client) -> None:
    async with mail_server() as mail:
        with pytest.raises(Refused) as refused:
            await carrier(mail, client, password="wr0ng-secret").send(mail_to())
        assert refused.value.kind is Refusal.BAD_LOGIN
        assert "wr0ng" not in repr(refused.value)


async def test_what_the_server_refuses(client: outbound.Client) -> None:
    async with mail_server() as mail:
        sends = carrier(mail, client)
        for step in ("RCPT", "DATA"):
            mail.answers = {step: "550 5.1.1 Unknown, and always"}
            with pytest.raises(Refused, match="Unknown, and always"):
                await sends.send(mail_to())
            mail.answers = {step: "451 4.7.1 Greylisted"}
            with pytest.raises(Unreachable, match="Greylisted") as later:
                await sends.send(mail_to())
            assert not later.value.outcome_unknown
        assert mail.taken == []


async def test_after_the_text_only_the_answer_tells(client: outbound.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async with mail_server() as mail:
        mail.drops = True
        with pytest.raises(BadReply) as lost:
            await carrier(mail, client).send(mail_to())
        assert lost.value.outcome_unknown
    monkeypatch.setattr(email, "TOTAL_SECONDS", 0.7)
    async with mail_server() as mail:
        mail.hangs = True
        with pytest.raises(TimedOut) as late:
            await carrier(mail, client).send(mail_to())
        assert late.value.outcome_unknown
        assert len(mail.taken) == 1


async def test_before_it_nothing_has_happened(client: outbound.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreachable) as nobody:
        await carrier(Mail(port=free_port()), client).send(mail_to())
    assert not nobody.value.outcome_unknown
    monkeypatch.setattr(email, "TOTAL_SECONDS", 0.5)
    silent = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    with pytest.raises(TimedOut) as late:
        await carrier(Mail(port=silent.sockets[0].getsockname()[1]), client).send(mail_to())
    assert not late.value.outcome_unknown
    silent.close()


async def test_certificates_and_the_open_internet(client: outbound.Client) -> None:
    async with mail_server("tls") as mail:
        with pytest.raises(Refused) as stranger:
            await carrier(mail, client, "tls", ca_certificate="").send(mail_to())
        assert stranger.value.kind is Refusal.UNTRUSTED
    async with mail_server("starttls") as mail:
        with pytest.raises(Refused) as stranger:
            await carrier(mail, client, "starttls", ca_certificate="").send(mail_to())
        assert stranger.value.kind is Refusal.UNTRUSTED
        assert mail.taken == []
    async with mail_server() as mail:
        # It offers no TLS: what was to be secured is not sent in the clear.
        with pytest.raises((Refused, Unreachable)):
            await carrier(mail, client, "starttls").send(mail_to())
        with pytest.raises(Refused, match="may not be called"):
            await carrier(mail, outbound.client(private=False)).send(mail_to())
        assert mail.taken == []
