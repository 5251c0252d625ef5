"""Top-K lists as runs."""
