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

SSLCOMMERZ = Provider(
    slug="sslcommerz",
    kind=GatewayKind.PAYMENT,
    label="SSLCommerz",
    settings=(
        Setting("store_id", "Store id", note="As the integration team of SSLCommerz sent it."),
        Setting("store_passwd", "Store password", secret=True, note="Of the API; not that of the merchant panel."),
        _BASE_URL,
    ),
    currencies=("BDT", "USD", "EUR", "SGD", "INR", "MYR"),
)

BKASH = Provider(
    slug="bkash",
    kind=GatewayKind.PAYMENT,
    label="bKash",
    settings=(
        Setting("app_key", "App key", note="Of tokenised checkout, from the merchant integration portal."),
        Setting("app_secret", "App secret", secret=True),
        Setting("username", "User name"),
        Setting("password", "Password", secret=True),
        _BASE_URL,
    ),
    currencies=("BDT",),
)

MPESA = Provider(
    slug="mpesa",
    kind=GatewayKind.PAYMENT,
    label="M-Pesa",
    settings=(
        Setting("consumer_key", "Consumer key", note="Of an app at developer.safaricom.co.ke with M-Pesa Express."),
        Setting("consumer_secret", "Consumer secret", secret=True),
        Setting("shortcode", "Business short code", note="The paybill; for Buy Goods the number of the head office."),
        Setting("passkey", "Passkey", secret=True, note="As Safaricom sent it when the app went live."),
        Setting("till_number", "Till number", required=False, note="For Buy Goods alone."),
        _BASE_URL,
    ),
    currencies=("KES",),
)

PAYSTACK = Provider(
    slug="paystack",
    kind=GatewayKind.PAYMENT,
    label="Paystack",
    settings=(
        Setting(
            "secret_key",
            "Secret key",
            secret=True,
            note=(
                "Settings, API Keys & Webhooks: sk_live_… or sk_test_…; the callback address of this gateway goes "
                "there as webhook URL."
            ),
        ),
        _BASE_URL,
    ),
    currencies=("NGN", "GHS", "ZAR", "KES", "USD"),
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

PAYMENT: tuple[Provider, ...] = (STRIPE, SSLCOMMERZ, BKASH, MPESA, PAYSTACK, BANK_TRANSFER)
"""Every provider of kind PAYMENT, in the order in which they are offered to operators."""
