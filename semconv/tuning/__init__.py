"""Tune the backbone on prompts and labels (docs/method.md, stage two)."""
