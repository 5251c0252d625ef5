"""Texts of items as words and as vectors, which later items and questions get from the same fitted basis."""
