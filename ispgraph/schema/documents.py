"""Where invoices and receipts can be had on paper."""

from typing import Any

import strawberry

from ispgraph.domain import models
from ispgraph.domain.billing import documents
from ispgraph.schema.context import Info


def _pdf_url(root: strawberry.Parent[models.Invoice], info: Info) -> str | None:
    settings = info.context.settings
    link = documents.invoice_link(settings.token_key, root)
    return None if link is None else settings.origin + link


def _receipt_url(root: strawberry.Parent[models.Payment], info: Info) -> str | None:
    settings = info.context.settings
    link = documents.receipt_link(settings.token_key, root)
    return None if link is None else settings.origin + link


def pdf_url() -> Any:
    """The field `pdfUrl` of an invoice."""
    description = (
        "The invoice as PDF, with what is paid of it by then: whoever has this address sees it, for seven days, "
        "without signing in. Null for a draft."
    )
    return strawberry.field(resolver=_pdf_url, description=description)


def receipt_url() -> Any:
    """The field `receiptUrl` of a payment."""
    description = (
        "The receipt as PDF: whoever has this address sees it, for seven days, without signing in. Null when no money "
        "came in."
    )
    return strawberry.field(resolver=_receipt_url, description=description)
