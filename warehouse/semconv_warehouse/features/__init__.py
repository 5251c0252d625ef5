"""Feast: export, registration, online store."""
