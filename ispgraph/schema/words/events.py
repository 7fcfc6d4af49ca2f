"""What webhooks are told after each mutation, at once or as soon as its jobs are done, as far as it applies.

Triggers write events down whoever caused them, so nothing here makes one. The walk through the collection of operations
wants every event that it hears to stand here.
"""

_BILLED = "INVOICE_ISSUED INVOICE_PAID INVOICE_PARTIALLY_PAID PAYMENT_RECEIVED"
_REVIVED = "CUSTOMER_ACTIVATED CUSTOMER_UPDATED SERVICE_ACTIVATED"
_STOPPED = "CUSTOMER_SUSPENDED CUSTOMER_UPDATED SERVICE_SUSPENDED"
_TAKEN = "INVOICE_PAID INVOICE_PARTIALLY_PAID PAYMENT_RECEIVED"

EVENTS = {
    "customerActivate": _REVIVED,
    "customerChangePackage": f"{_BILLED} CREDIT_NOTE_ISSUED SERVICE_PACKAGE_CHANGED",
    "customerCreate": "CUSTOMER_CREATED",
    "customerDailyRecharge": f"{_BILLED} {_REVIVED}",
    "customerDecideTransfer": "CUSTOMER_TRANSFERRED TRANSFER_APPROVED TRANSFER_REJECTED",
    "customerDelete": "CUSTOMER_DELETED",
    "customerDraftConfirm": f"CUSTOMER_CREATED {_BILLED} SERVICE_CREATED",
    "customerGenerateBill": _BILLED,
    "customerHotspotRecharge": f"{_BILLED} {_REVIVED} SERVICE_CREATED VOUCHER_REDEEMED",
    "customerRecordAdvancePayment": f"{_TAKEN} {_REVIVED}",
    "customerRecordOtherPayment": _BILLED,
    "customerRequestTransfer": "TRANSFER_REQUESTED",
    "customerSuspend": _STOPPED,
    "customerUpdate": "CUSTOMER_UPDATED",
    "customersActivate": _REVIVED,
    "customersBulkActivate": _REVIVED,
    "customersBulkCancel": "JOB_CANCELLED",
    "customersBulkSuspend": _STOPPED,
    "customersSuspend": _STOPPED,
    "gatewayPaymentConfirm": f"{_TAKEN} {_REVIVED}",
    "invoiceCredit": "CREDIT_NOTE_ISSUED PAYMENT_RECEIVED",
    "invoiceRecordPayment": f"{_TAKEN} {_REVIVED}",
    "invoiceVoid": "INVOICE_VOIDED",
    "jobCancel": "JOB_CANCELLED",
    "paymentRefund": "PAYMENT_REFUNDED",
    "portalSave": "PORTAL_ACTIVATED PORTAL_CREATED PORTAL_DEACTIVATED",
    "ticketAssign": "TICKET_ASSIGNED",
    "ticketCreate": "TICKET_CREATED",
    "ticketReply": "TICKET_REPLIED",
    "ticketSetStatus": "TICKET_CLOSED TICKET_REOPENED TICKET_RESOLVED",
    "webhookEndpointTest": "WEBHOOK_TEST",
}
