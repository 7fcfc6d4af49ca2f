"""Those who take money for a tenant, one file each."""

from collections.abc import Callable, Mapping

import httpx

from ispgraph.adapters.payments.base import PaymentGateway, Unsupported
from ispgraph.adapters.payments.bkash import BKash
from ispgraph.adapters.payments.mpesa import MPesa
from ispgraph.adapters.payments.paystack import Paystack
from ispgraph.adapters.payments.sslcommerz import SSLCommerz
from ispgraph.adapters.payments.stripe import Stripe
from ispgraph.domain.gateways import Opened

_BY_PROVIDER: Mapping[str, Callable[[Opened, httpx.AsyncClient], PaymentGateway]] = {
    "stripe": Stripe,
    "sslcommerz": SSLCommerz,
    "bkash": BKash,
    "mpesa": MPesa,
    "paystack": Paystack,
}


def open_gateway(account: Opened, client: httpx.AsyncClient) -> PaymentGateway:
    """The adapter of an account's provider. Raises Unsupported if none has one (a bank transfer)."""
    adapter = _BY_PROVIDER.get(account.provider)
    if adapter is None:
        raise Unsupported(f"No payment is started through {account.name}")
    return adapter(account, client)
