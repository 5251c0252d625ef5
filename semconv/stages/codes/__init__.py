"""Codes as runs: fitted, loaded, assigned to new items."""
