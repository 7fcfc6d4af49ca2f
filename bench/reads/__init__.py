"""Requests per second of the two reading queries: the product beside a limit and beside other ways to serve them."""
