"""Customers taken over from another system: read, checked without a change, made, compared, and taken back."""
