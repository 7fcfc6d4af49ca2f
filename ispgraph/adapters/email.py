"""E-mail over SMTP: plain text, and HTML beside it. Each message has a connection of its own.

Until the server has been given the text nothing has happened; from then on only its answer tells whether it has.
"""

import asyncio
import email.policy
import socket
import ssl
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import aiosmtplib
import httpx

from ispgraph import clock
from ispgraph.adapters import outbound
from ispgraph.adapters.errors import (
    AdapterError,
    BadReply,
    Forged,
    Refusal,
    Refused,
    TimedOut,
    Unreachable,
    cause,
    one_line,
)
from ispgraph.adapters.letters import Accepted, Letter, Report
from ispgraph.adapters.sms import answers
from ispgraph.domain.gateways import Opened
from ispgraph.domain.outside import permitted

# A server may look a message through before it answers.
TOTAL_SECONDS = 30.0
_SEVEN_BITS = email.policy.SMTP.clone(cte_type="7bit", max_line_length=78)


class Email:
    """An account with a mail server."""

    def __init__(self, account: Opened, client: httpx.AsyncClient, report_url: str) -> None:
        self._set = account.settings
        self._private = outbound.may_be_private(client)

    async def send(self, letter: Letter) -> Accepted:
        """`provider_reference` is the Message-ID, which is made of the letter's reference."""
        message = compose(letter, self._set["sender"], self._set.get("reply_to"))
        given = False
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                server = await self._connected()
                try:
                    await self._announce(server, message)
                    given = True
                    await server.data(message.as_bytes())
                finally:
                    server.close()
        except AdapterError:
            raise
        except aiosmtplib.SMTPResponseException as error:
            raise self._refused(error) from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise self._refused(error.recipients[0]) from error
        except (TimeoutError, aiosmtplib.SMTPTimeoutError) as error:
            raise TimedOut("The mail server did not answer in time.", outcome_unknown=given) from error
        except (aiosmtplib.SMTPException, ssl.SSLError, OSError, ValueError) as error:
            raise self._lost(error, given) from error
        return Accepted(message["Message-ID"], None)

    async def reports(self) -> list[Report]:
        return []

    def reported(self, method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> list[Report]:
        raise Forged("A mail server sends no reports of this kind.")

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _connected(self) -> aiosmtplib.SMTP:
        """A connection that is ready for a message: secured and logged in."""
        host, security = self._set["host"], self._set.get("security", "starttls")
        made = await outbound.connect(host, int(self._set.get("port", "587")), private=self._private)
        try:
            if security == "none" and permitted(made.getpeername()[0], private=False):
                raise Refused(Refusal.OTHER, "a mail server on the Internet is only used over TLS")
            server = aiosmtplib.SMTP(
                hostname=host,
                sock=made,
                use_tls=security == "tls",
                start_tls=security == "starttls",
                tls_context=None if security == "none" else _trusting(self._set.get("ca_certificate", "")),
                username=self._set.get("username"),
                password=self._set.get("password"),
                local_hostname=_name(made),
                timeout=TOTAL_SECONDS,
            )
            await server.connect()
        except BaseException:
            made.close()
            raise
        return server

    async def _announce(self, server: aiosmtplib.SMTP, message: EmailMessage) -> None:
        sender, to = (_bare(message[name]) for name in ("From", "To"))
        options = []
        if not (sender + to).isascii():
            if not server.supports_extension("smtputf8"):
                raise Refused(Refusal.INVALID_VALUE, "the mail server takes no addresses with letters like these")
            options.append("SMTPUTF8")
        await server.mail(sender, options=options, encoding="utf-8" if options else "ascii")
        await server.rcpt(to, encoding="utf-8" if options else "ascii")

    def _refused(self, error: aiosmtplib.SMTPResponseException) -> AdapterError:
        said = answers.said(error.message, [self._set.get("password", "")])
        if 400 <= error.code < 500:
            return Unreachable(f"The mail server takes it later: {said}")
        if isinstance(error, aiosmtplib.SMTPAuthenticationError) or error.code in (530, 534, 535, 538):
            return Refused(Refusal.BAD_LOGIN, said)
        return Refused(Refusal.OTHER, said)

    def _lost(self, error: Exception, given: bool) -> AdapterError:
        inner: BaseException | None = error
        while inner is not None:
            if isinstance(inner, ssl.SSLCertVerificationError):
                return Refused(Refusal.UNTRUSTED, one_line(inner.verify_message))
            inner = inner.__cause__ or inner.__context__
        if given:
            return BadReply("The mail server closed the connection instead of answering.", outcome_unknown=True)
        if isinstance(error, aiosmtplib.SMTPException):
            return Unreachable("The mail server does not speak SMTP as it should, or closed the connection.")
        return Unreachable(f"The mail server: {cause(error) if isinstance(error, OSError) else 'no such server'}.")


def compose(letter: Letter, sender: str, reply_to: str | None = None) -> EmailMessage:
    """The message as it goes out. Raises Refused for what would break its headers apart."""
    message = EmailMessage(policy=_SEVEN_BITS)
    try:
        own = _address(letter.sender if letter.sender and "@" in letter.sender else sender)
        message["From"] = own
        message["To"] = Address(addr_spec=letter.to)
        message["Subject"] = letter.subject or ""
        if reply_to:
            message["Reply-To"] = _address(reply_to)
        message["Date"] = format_datetime(clock.now())
        message["Message-ID"] = f"<{letter.reference}@{own.domain}>"
        # Or absent people's programs would answer it.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.body)
        if letter.html is not None:
            message.add_alternative(letter.html, subtype="html")
    except (ValueError, email.errors.MessageError, IndexError) as error:
        raise Refused(
            Refusal.INVALID_VALUE, "the address, the subject or the sender can not stand in a header"
        ) from error
    return message


def _address(text: str) -> Address:
    """A sender as people write it: with a name before it, or alone. Raises ValueError."""
    if "\n" in text or "\r" in text:
        raise ValueError("more than one line")
    name, found = parseaddr(text)
    if not found:
        raise ValueError("no address")
    return Address(name, addr_spec=found)


def _bare(header: object) -> str:
    return str(header.addresses[0].addr_spec)  # type: ignore[attr-defined]


def _name(made: socket.socket) -> str:
    """What we call ourselves: our address, as a literal."""
    own = made.getsockname()[0]
    return f"[IPv6:{own}]" if ":" in own else f"[{own}]"


def _trusting(authority: str) -> ssl.SSLContext:
    """For servers whose certificate is signed by the authority given, else by a public one."""
    return ssl.create_default_context(cadata=authority) if authority else outbound.trusted()
