"""Prompts tune the backbone (method: Tuning)."""
