"""Tune the backbone on prompts (method: Tuning)."""
