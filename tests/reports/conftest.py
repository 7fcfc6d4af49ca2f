"""The till of the tests of billing serves here as well."""

from tests.billing.conftest import till

__all__ = ["till"]
