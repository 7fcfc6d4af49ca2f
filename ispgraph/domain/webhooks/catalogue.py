"""The events there are. Triggers of the database raise them, in the transaction of what happened (migration 0043)."""

import enum
from collections.abc import Mapping
from typing import Any

from ispgraph.domain.models import (
    Customer,
    CustomerTransfer,
    Invoice,
    Job,
    Payment,
    Portal,
    Router,
    Service,
    Session,
    Ticket,
    Voucher,
)


class WebhookEvent(enum.Enum):
    """What others can be told of: see `WHEN`."""

    CUSTOMER_CREATED = "CUSTOMER_CREATED"
    CUSTOMER_UPDATED = "CUSTOMER_UPDATED"
    CUSTOMER_TRANSFERRED = "CUSTOMER_TRANSFERRED"
    CUSTOMER_ACTIVATED = "CUSTOMER_ACTIVATED"
    CUSTOMER_SUSPENDED = "CUSTOMER_SUSPENDED"
    CUSTOMER_EXPIRED = "CUSTOMER_EXPIRED"
    CUSTOMER_TERMINATED = "CUSTOMER_TERMINATED"
    CUSTOMER_DELETED = "CUSTOMER_DELETED"
    SERVICE_CREATED = "SERVICE_CREATED"
    SERVICE_ACTIVATED = "SERVICE_ACTIVATED"
    SERVICE_SUSPENDED = "SERVICE_SUSPENDED"
    SERVICE_EXPIRED = "SERVICE_EXPIRED"
    SERVICE_TERMINATED = "SERVICE_TERMINATED"
    SERVICE_PACKAGE_CHANGED = "SERVICE_PACKAGE_CHANGED"
    SERVICE_PROVISIONED = "SERVICE_PROVISIONED"
    SERVICE_PROVISIONING_FAILED = "SERVICE_PROVISIONING_FAILED"
    INVOICE_ISSUED = "INVOICE_ISSUED"
    INVOICE_PARTIALLY_PAID = "INVOICE_PARTIALLY_PAID"
    INVOICE_PAID = "INVOICE_PAID"
    INVOICE_VOIDED = "INVOICE_VOIDED"
    CREDIT_NOTE_ISSUED = "CREDIT_NOTE_ISSUED"
    PAYMENT_RECEIVED = "PAYMENT_RECEIVED"
    PAYMENT_FAILED = "PAYMENT_FAILED"
    PAYMENT_REFUNDED = "PAYMENT_REFUNDED"
    TICKET_CREATED = "TICKET_CREATED"
    TICKET_ASSIGNED = "TICKET_ASSIGNED"
    TICKET_REPLIED = "TICKET_REPLIED"
    TICKET_RESOLVED = "TICKET_RESOLVED"
    TICKET_CLOSED = "TICKET_CLOSED"
    TICKET_REOPENED = "TICKET_REOPENED"
    JOB_SUCCEEDED = "JOB_SUCCEEDED"
    JOB_FAILED = "JOB_FAILED"
    JOB_CANCELLED = "JOB_CANCELLED"
    ROUTER_ONLINE = "ROUTER_ONLINE"
    ROUTER_DEGRADED = "ROUTER_DEGRADED"
    ROUTER_OFFLINE = "ROUTER_OFFLINE"
    SESSION_OPENED = "SESSION_OPENED"
    SESSION_CLOSED = "SESSION_CLOSED"
    PORTAL_CREATED = "PORTAL_CREATED"
    PORTAL_ACTIVATED = "PORTAL_ACTIVATED"
    PORTAL_DEACTIVATED = "PORTAL_DEACTIVATED"
    TRANSFER_REQUESTED = "TRANSFER_REQUESTED"
    TRANSFER_APPROVED = "TRANSFER_APPROVED"
    TRANSFER_REJECTED = "TRANSFER_REJECTED"
    VOUCHER_REDEEMED = "VOUCHER_REDEEMED"
    WEBHOOK_TEST = "WEBHOOK_TEST"


WHEN: Mapping[WebhookEvent, str] = {
    WebhookEvent.CUSTOMER_CREATED: "A customer was made.",
    WebhookEvent.CUSTOMER_UPDATED: "Something of a customer's own record was changed.",
    WebhookEvent.CUSTOMER_TRANSFERRED: "A customer went to another operator.",
    WebhookEvent.CUSTOMER_ACTIVATED: "A customer became ACTIVE.",
    WebhookEvent.CUSTOMER_SUSPENDED: "A customer became SUSPENDED.",
    WebhookEvent.CUSTOMER_EXPIRED: "A customer became EXPIRED.",
    WebhookEvent.CUSTOMER_TERMINATED: "A customer became TERMINATED.",
    WebhookEvent.CUSTOMER_DELETED: "A customer was deleted. Only for those who see the whole provider.",
    WebhookEvent.SERVICE_CREATED: "A service was made.",
    WebhookEvent.SERVICE_ACTIVATED: "A service became ACTIVE.",
    WebhookEvent.SERVICE_SUSPENDED: "A service became SUSPENDED.",
    WebhookEvent.SERVICE_EXPIRED: "The time of a service was over.",
    WebhookEvent.SERVICE_TERMINATED: "A service became TERMINATED.",
    WebhookEvent.SERVICE_PACKAGE_CHANGED: "A service got another package.",
    WebhookEvent.SERVICE_PROVISIONED: "What a service should be was found in the network.",
    WebhookEvent.SERVICE_PROVISIONING_FAILED: "The network refused what a service should be.",
    WebhookEvent.INVOICE_ISSUED: "An invoice was opened, and got its number.",
    WebhookEvent.INVOICE_PARTIALLY_PAID: "A part of an invoice was paid.",
    WebhookEvent.INVOICE_PAID: "An invoice was paid in full.",
    WebhookEvent.INVOICE_VOIDED: "An invoice was voided.",
    WebhookEvent.CREDIT_NOTE_ISSUED: "A credit note was issued.",
    WebhookEvent.PAYMENT_RECEIVED: "Money came in.",
    WebhookEvent.PAYMENT_FAILED: "A payment that was waited for failed.",
    WebhookEvent.PAYMENT_REFUNDED: "All of a payment was given back.",
    WebhookEvent.TICKET_CREATED: "A ticket was opened.",
    WebhookEvent.TICKET_ASSIGNED: "A ticket was given to an operator.",
    WebhookEvent.TICKET_REPLIED: "Something was written on a ticket that the customer sees. The subject is the ticket.",
    WebhookEvent.TICKET_RESOLVED: "A ticket was resolved.",
    WebhookEvent.TICKET_CLOSED: "A ticket was closed.",
    WebhookEvent.TICKET_REOPENED: "A ticket that was resolved or closed is open again.",
    WebhookEvent.JOB_SUCCEEDED: "A job ended well.",
    WebhookEvent.JOB_FAILED: "A job failed, and nothing tries again by itself.",
    WebhookEvent.JOB_CANCELLED: "A job was cancelled.",
    WebhookEvent.ROUTER_ONLINE: "A router answers.",
    WebhookEvent.ROUTER_DEGRADED: "A router answers, but not as it should.",
    WebhookEvent.ROUTER_OFFLINE: "A router does not answer.",
    WebhookEvent.SESSION_OPENED: "Somebody got on line, or a session that was taken to be over goes on.",
    WebhookEvent.SESSION_CLOSED: "A session ended.",
    WebhookEvent.PORTAL_CREATED: "A portal was begun.",
    WebhookEvent.PORTAL_ACTIVATED: "A portal can be reached.",
    WebhookEvent.PORTAL_DEACTIVATED: "A portal can no longer be reached.",
    WebhookEvent.TRANSFER_REQUESTED: "A customer is to go to another operator.",
    WebhookEvent.TRANSFER_APPROVED: "Both operators have agreed to a transfer.",
    WebhookEvent.TRANSFER_REJECTED: "A transfer was refused, or taken back.",
    WebhookEvent.VOUCHER_REDEEMED: "A voucher was redeemed.",
    WebhookEvent.WEBHOOK_TEST: "Somebody tries the endpoint. It is sent to every endpoint, and cannot be asked for.",
}
"""What each event says has happened."""


_NOUNS = ("credit_note",)


def spelt(event: str) -> str:
    """How an event is called in payloads: noun.verb, such as `invoice.paid` and `service.package_changed`."""
    name = event.lower()
    for noun in _NOUNS:
        if name.startswith(noun):
            return f"{noun}.{name[len(noun) + 1 :]}"
    return name.replace("_", ".", 1)


SUBJECTS: Mapping[str, type[Any]] = {
    "cus": Customer,
    "svc": Service,
    "inv": Invoice,
    "pay": Payment,
    "tkt": Ticket,
    "job": Job,
    "rtr": Router,
    "ses": Session,
    "prt": Portal,
    "trf": CustomerTransfer,
    "vou": Voucher,
}
"""What events are about, by the prefix of the ids."""
