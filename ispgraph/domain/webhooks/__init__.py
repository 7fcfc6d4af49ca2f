"""Telling others of what happens: by the Standard Webhooks specification."""
