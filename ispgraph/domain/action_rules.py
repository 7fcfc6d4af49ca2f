"""What may be done to a service in the state it is in: a rule for each action, asked by the verb that does it and by
`allowed_actions`, which shows beforehand what would be refused.

Each answers why not, or None. What depends on the input, such as which package is wanted, is the verb's own matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import ConnectionType, Package, Service, ServiceStatus

TIME_IS_OVER = "The time of this service is over: recharge it or change its package first."
TERMINATED = "This service was terminated: make a new one instead."
_NO_END = "This service has no end that could be put off."
_NOT_BEGUN = "This service has not begun: activate it first."
_NOT_SUSPENDED = {
    ServiceStatus.PENDING: "This service has not begun, so there is nothing to suspend: it is off line until it is "
    "activated.",
    ServiceStatus.EXPIRED: "The time of this service is over, so there is nothing to suspend: it is off line until it "
    "is recharged.",
    ServiceStatus.TERMINATED: "This service was terminated: nothing of it is left to suspend.",
}
_NOT_RECHARGED_BY_DAYS = {ServiceStatus.TERMINATED: TERMINATED, ServiceStatus.PENDING: _NOT_BEGUN}
_NOT_RECHARGED = {
    **_NOT_RECHARGED_BY_DAYS,
    ServiceStatus.SUSPENDED: "This service is suspended: activate it first.",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not to be done."""

    code: ErrorCode
    message: str


def require(refusal: Refusal | None, *at: str) -> None:
    """Raises DomainError at the path `at` where there is a refusal."""
    if refusal is not None:
        raise fail(refusal.code, refusal.message, *at)


def suspend(service: Service) -> Refusal | None:
    """An active one can be suspended."""
    if service.status is ServiceStatus.SUSPENDED:
        return Refusal(ErrorCode.NO_CHANGE, "This service is suspended already.")
    return _by_status(service, _NOT_SUSPENDED)


def activate(service: Service, now: datetime) -> Refusal | None:
    """A suspended or pending one can be activated while it has time."""
    if service.status is ServiceStatus.TERMINATED:
        return Refusal(ErrorCode.INVALID_STATE, TERMINATED)
    # Asked of an active one as well: whoever wants it on line should not hear that it is.
    if service.status is ServiceStatus.EXPIRED or (service.expires_at is not None and service.expires_at <= now):
        return Refusal(ErrorCode.INVALID_STATE, TIME_IS_OVER)
    if service.status is ServiceStatus.ACTIVE:
        return Refusal(ErrorCode.NO_CHANGE, "This service is active already.")
    return None


def can_disconnect(service: Service, *, on_line: bool) -> bool:
    """Whether there is something to end: an open session, or the connections of a static address on its router."""
    return on_line or (service.connection_type is ConnectionType.STATIC_IP and service.router_id is not None)


def change_package(service: Service) -> Refusal | None:
    """Any that was not terminated can have another package."""
    return _unless_terminated(service, TERMINATED)


def limit(service: Service) -> Refusal | None:
    """Any that was not terminated can be given limits of its own."""
    return _unless_terminated(service, "This service was terminated: it has no use for a limit.")


def fair_use(service: Service, standing: Any) -> Refusal | None:
    """Fair use is a matter of services whose package has a policy. `standing` is a row of `service_standing`."""
    if service.status is ServiceStatus.TERMINATED:
        return Refusal(ErrorCode.INVALID_STATE, "This service was terminated.")
    if standing.fup_since is None:
        return Refusal(ErrorCode.INVALID_STATE, "The package of this service has no fair use policy.")
    return None


def activate_fair_use(
    service: Service, package: Package, standing: Any, activated_at: datetime | None
) -> Refusal | None:
    """It begins once the threshold is reached, and once in a period."""
    if (refusal := fair_use(service, standing)) is not None:
        return refusal
    if not standing.fup_active:
        return Refusal(ErrorCode.INVALID_STATE, _below(package, standing))
    if activated_at is not None and activated_at >= standing.fup_since:
        return Refusal(ErrorCode.NO_CHANGE, "Fair use is active already.")
    return None


def unbind_all(bound: int) -> Refusal | None:
    """What is bound to devices can be set free."""
    return None if bound else Refusal(ErrorCode.NO_CHANGE, "This service is bound to no device.")


def recharge_days(service: Service) -> Refusal | None:
    """Days can be added to what has begun and ends."""
    return _by_status(service, _NOT_RECHARGED_BY_DAYS) or _with_end(service)


def recharge_hotspot(service: Service) -> Refusal | None:
    """The same of a hotspot service, which must not be suspended besides."""
    return _by_status(service, _NOT_RECHARGED) or _with_end(service)


def set_suspend_date(service: Service) -> Refusal | None:
    """Any that was not terminated can be suspended some day."""
    return _unless_terminated(service, "This service was terminated.")


def reveal_password(service: Service) -> Refusal | None:
    """A password can be shown where there is one."""
    return None if service.password else Refusal(ErrorCode.INVALID_STATE, "This service has no password.")


def _by_status(service: Service, refused: Mapping[ServiceStatus, str]) -> Refusal | None:
    message = refused.get(service.status)
    return None if message is None else Refusal(ErrorCode.INVALID_STATE, message)


def _unless_terminated(service: Service, message: str) -> Refusal | None:
    return _by_status(service, {ServiceStatus.TERMINATED: message})


def _with_end(service: Service) -> Refusal | None:
    return Refusal(ErrorCode.INVALID_STATE, _NO_END) if service.expires_at is None else None


def _below(package: Package, standing: Any) -> str:
    """What was used, and of how much."""
    parts = []
    if package.fup_threshold_bytes is not None:
        parts.append(f"{standing.fup_octets} of {package.fup_threshold_bytes} bytes")
    if package.fup_threshold_seconds is not None:
        parts.append(f"{standing.fup_seconds} of {package.fup_threshold_seconds} seconds")
    return f"The threshold of fair use is not reached: {' and '.join(parts)} are used in this period."
