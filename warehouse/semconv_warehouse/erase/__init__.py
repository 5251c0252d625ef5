"""Erasing users from all data of a project (``semconv forget``)."""
