"""Through whom money can be taken, and what has to be known of an account with each."""

from ispgraph.domain.gateway_providers import Provider, Setting
from ispgraph.domain.models.gateways import GatewayKind

_BASE_URL = Setting(
    "base_url",
    "Address of the API",
    required=False,
    note="Left empty it is the provider's own: of its sandbox in test mode, else of its live system.",
)

STRIPE = Provider(
    slug="stripe",
    kind=GatewayKind.PAYMENT,
    label="Stripe Checkout",
    settings=(
        Setting("secret_key", "Secret key", secret=True, note="Developers, API keys: sk_live_… or sk_test_…"),
        Setting(
            "webhook_secret",
            "Signing secret of the webhook",
            secret=True,
            note=(
                "Developers, Webhooks: add the callback address of this gateway for checkout.session.completed, "
                "checkout.session.async_payment_succeeded, checkout.session.async_payment_failed and "
                "checkout.session.expired; then reveal whsec_…"
            ),
        ),
        _BASE_URL,
    ),
)

BANK_TRANSFER = Provider(
    slug="bank_transfer",
    kind=GatewayKind.PAYMENT,
    label="Bank transfer",
    settings=(
        Setting("account_name", "Name of the account"),
        Setting("account_number", "Number of the account or IBAN"),
        Setting("bank", "Bank"),
        Setting("branch", "Branch", required=False),
        Setting("instructions", "What a payer has to do", note="Such as to give the number of the invoice."),
    ),
)

PAYMENT: tuple[Provider, ...] = (STRIPE, BANK_TRANSFER)
"""Every provider of kind PAYMENT, in the order in which they are offered to operators."""
