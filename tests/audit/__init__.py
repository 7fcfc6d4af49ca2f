"""The record of who did what, and what finds that it was changed."""
