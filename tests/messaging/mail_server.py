"""A real mail server on this machine (aiosmtpd), with certificates of an authority of its own."""

import asyncio
import ipaddress
import ssl
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "north", "m@il-päss word"


@dataclass
class Mail:
    """`answers` are what it says to RCPT and DATA in place of yes; at DATA it `hangs`, or `drops` the connection,
    having taken the message."""

    port: int = 0
    taken: list[Envelope] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    drops: bool = False
    secured: list[bool] = field(default_factory=list)

    def last(self) -> EmailMessage:
        content = self.taken[-1].content
        assert isinstance(content, bytes)
        found = message_from_bytes(content, policy=policy.default)
        assert isinstance(found, EmailMessage)
        return found

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        if "RCPT" in self.answers:
            return self.answers["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:
        if "DATA" in self.answers:
            return self.answers["DATA"]
        self.taken.append(envelope)
        self.secured.append(session.ssl is not None or server.transport.get_extra_info("sslcontext") is not None)
        if self.hangs:
            await asyncio.sleep(60)
        if self.drops:
            server.transport.abort()
        return "250 OK"


@cache
def authority() -> tuple[str, ssl.SSLContext]:
    """The certificate of an authority, and a server for 127.0.0.1 that it vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of the tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "both.pem"
        path.write_bytes(pem + secret)
        context.load_cert_chain(path)
    return pem.decode(), context


def _log_in(server: SMTP, session: Any, envelope: Envelope, mechanism: str, login: Any) -> AuthResult:
    assert isinstance(login, LoginPassword)
    good = (login.login, login.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False)


@asynccontextmanager
async def mail_server(security: str = "none") -> AsyncIterator[Mail]:
    """One that wants a login, and with `starttls` or `tls` TLS before it."""
    mail, loop = Mail(), asyncio.get_running_loop()
    _, context = authority()
    made: list[SMTP] = []

    def protocol() -> SMTP:
        with warnings.catch_warnings():
            # It warns of logins without TLS.
            warnings.simplefilter("ignore")
            made.append(_protocol())
        return made[-1]

    def _protocol() -> SMTP:
        return SMTP(
            mail,
            authenticator=_log_in,
            auth_required=True,
            auth_require_tls=security == "starttls",
            require_starttls=security == "starttls",
            tls_context=context if security == "starttls" else None,
            enable_SMTPUTF8=True,
            hostname="mail.test",
            loop=loop,
        )

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if security == "tls" else None)
    mail.port = server.sockets[0].getsockname()[1]
    try:
        yield mail
    finally:
        server.close()
        for each in made:
            if each.transport is not None:
                each.transport.abort()
        await asyncio.sleep(0.02)
