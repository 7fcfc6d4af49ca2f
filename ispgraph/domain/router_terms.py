"""What a person says about a router, checked: every fault at once, and secrets sealed before they are kept."""

import ipaddress
import re
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import secrets, values
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.models import Router, RouterMode
from ispgraph.domain.values import Unfit

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_SECRET = re.compile(r"[!-~]{16,64}")
_GENERATED = 32
_BROADCAST = ipaddress.ip_address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything a person says about a router, as given. Secrets that are empty stay as they are."""

    name: str
    address: str
    mode: RouterMode
    api_port: int
    api_tls: bool
    tls_fingerprint: str | None
    username: str
    password: str = field(repr=False)
    radius_address: str | None
    radius_secret: str | None = field(repr=False)
    coa_port: int
    nas_identifier: str | None
    octets_swapped: bool


async def columns(
    session: AsyncSession, router: Router, terms: Terms, network_key: bytes
) -> tuple[dict[str, object], str | None]:
    """The columns that terms make of a router, and the RADIUS secret if one had to be made. Raises every fault."""
    faults = Faults("input")
    name = values.checked(faults, values.text, terms.name, 100, at=("name",))
    same = select(Router.id).where(Router.name == name, Router.id != router.id)
    if name is not None and await session.scalar(same):
        faults.add(ErrorCode.TAKEN, "There is a router of this name.", "name")
    address = values.checked(faults, _host, terms.address, at=("address",))
    nas_identifier = None
    if _filled(terms.nas_identifier):
        nas_identifier = values.checked(faults, _identifier, terms.nas_identifier, at=("nasIdentifier",))
    _check_port(faults, terms.api_port, "apiPort")
    _check_port(faults, terms.coa_port, "coaPort")
    made = {
        "name": name,
        "address": address,
        "mode": terms.mode,
        "api_port": terms.api_port,
        "api_tls": terms.api_tls,
        "api_fingerprint": _fingerprint(faults, terms),
        "radius_address": await _radius_address(session, faults, router, terms, address),
        "coa_port": terms.coa_port,
        "nas_identifier": nas_identifier,
        "octets_swapped": terms.octets_swapped,
        **_login(faults, router, terms, network_key, moved=router.address is not None and router.address != address),
    }
    sealed, shown = await _radius_secret(session, faults, router, terms, network_key)
    faults.raise_if_any()
    return made | {"radius_secret": sealed}, shown


def unique(terms: Terms) -> dict[str, tuple[str, ...]]:
    """The unique constraints that terms may meet, with the field each is about."""
    place = _radius_place(terms)
    return {"uq_routers_tenant_id_name": ("input", "name"), "uq_routers_radius_address": ("input", place)}


def _radius_place(terms: Terms) -> str:
    return "radiusAddress" if _filled(terms.radius_address) else "address"


def _login(faults: Faults, router: Router, terms: Terms, network_key: bytes, *, moved: bool) -> dict[str, object]:
    """The login to the API: both or none. Without a username what was there is forgotten."""
    wanted = terms.mode is RouterMode.LOCAL or bool(terms.username.strip() or terms.password)
    if not wanted:
        return {"api_username": None, "api_password": None}
    username = values.checked(faults, values.text, terms.username, 100, at=("username",))
    sealed = router.api_password
    if terms.password:
        bound_to = secrets.router_api(router.tenant_id, router.id)
        password = values.checked(faults, _password, terms.password, at=("password",))
        if password is not None and _opened(network_key, sealed, bound_to) != password:
            sealed = secrets.seal(network_key, password, bound_to)
    elif sealed is None:
        faults.add(ErrorCode.REQUIRED, "This is required.", "password")
    elif moved:
        # Else whoever may change routers could have the password sent to a machine of theirs.
        faults.add(ErrorCode.REQUIRED, "Give the password again: it will be sent to another address.", "password")
    return {"api_username": username, "api_password": sealed}


def _fingerprint(faults: Faults, terms: Terms) -> str | None:
    if not _filled(terms.tls_fingerprint):
        return None
    found = terms.tls_fingerprint.replace(":", "").strip().lower() if terms.tls_fingerprint else ""
    if not _FINGERPRINT.fullmatch(found):
        faults.add(ErrorCode.INVALID, "A SHA-256 fingerprint has 64 hexadecimal digits.", "tlsFingerprint")
    elif not terms.api_tls:
        faults.add(ErrorCode.INVALID, "Without apiTls no certificate is looked at.", "tlsFingerprint")
    return found


async def _radius_address(
    session: AsyncSession, faults: Faults, router: Router, terms: Terms, address: str | None
) -> str | None:
    if _filled(terms.radius_address):
        found = values.checked(faults, _ip_address, terms.radius_address, at=("radiusAddress",))
    else:
        found = address if address is not None and _is_ip_address(address) else None
    # Those of other tenants cannot be seen from here: the unique constraint answers for them, in the same words.
    same = select(Router.id).where(Router.radius_address == found, Router.id != router.id)
    if found is not None and await session.scalar(same):
        faults.add(ErrorCode.TAKEN, "This is already taken.", _radius_place(terms))
    # asyncpg reads an address as an object, which is not equal to its text.
    return router.radius_address if str(router.radius_address) == found else found


async def _radius_secret(
    session: AsyncSession, faults: Faults, router: Router, terms: Terms, network_key: bytes
) -> tuple[bytes | None, str | None]:
    """The sealed secret, and the clear one if it was made here."""
    bound_to = secrets.router_radius(router.tenant_id, router.id)
    given = terms.radius_secret
    if not given:
        if router.radius_secret is not None or terms.mode is not RouterMode.RADIUS:
            return router.radius_secret, None
        made = secrets.generate_password(_GENERATED)
        return secrets.seal(network_key, made, bound_to), made
    if not _SECRET.fullmatch(given):
        message = "A RADIUS secret has 16 to 64 printable ASCII characters without spaces."
        faults.add(ErrorCode.INVALID, message, "radiusSecret")
        return None, None
    if _opened(network_key, router.radius_secret, bound_to) == given:
        return router.radius_secret, None
    others = select(Router.id, Router.radius_secret).where(Router.id != router.id, Router.radius_secret.is_not(None))
    for other_id, sealed in await session.execute(others):
        if _opened(network_key, sealed, secrets.router_radius(router.tenant_id, other_id)) == given:
            faults.add(ErrorCode.TAKEN, "Another router has this secret: each needs its own.", "radiusSecret")
            break
    return secrets.seal(network_key, given, bound_to), None


def _opened(network_key: bytes, sealed: bytes | None, bound_to: str) -> str | None:
    try:
        return None if sealed is None else secrets.unseal(network_key, sealed, bound_to)
    except secrets.BadSecret:
        # Sealed with a key that has been replaced: equal to nothing.
        return None


def _check_port(faults: Faults, port: int, at: str) -> None:
    if not 1 <= port <= 65535:
        faults.add(ErrorCode.INVALID, "A port is a number from 1 to 65535.", at)


def _filled(text: str | None) -> bool:
    return text is not None and bool(text.strip())


def _host(raw: str) -> str:
    """An IP address in canonical form, or a host name in lower case (RFC 1123 section 2.1)."""
    found = raw.strip().lower().removesuffix(".")
    if _is_ip_address(found):
        return _ip_address(found)
    labels = found.split(".")
    # No name ends in a number: 10.0.0.256 is an address with a slip in it.
    if len(found) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise Unfit("This is neither an IP address nor a host name.")
    return found


def _ip_address(raw: str) -> str:
    """The address of one host. A loopback address is one: the simulated network lives there."""
    text = raw.strip()
    if not _is_ip_address(text):
        raise Unfit("This is not an IP address.")
    found = ipaddress.ip_address(text)
    mapped = getattr(found, "ipv4_mapped", None)
    special = found.is_unspecified or found.is_multicast or found.is_link_local or found == _BROADCAST
    if special or mapped is not None or "%" in text:
        raise Unfit("This address belongs to no single host.")
    return str(found)


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _identifier(raw: str) -> str:
    found = values.text(raw, 253)
    if len(found.encode()) > 253:
        raise Unfit("A NAS-Identifier has at most 253 bytes.")
    return found


def _password(raw: str) -> str:
    if not raw.isprintable() or len(raw.encode()) > 255:
        raise Unfit("A password has at most 255 bytes of printable characters.")
    return raw
