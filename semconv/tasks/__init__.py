"""Codes and text become prompts and labels (method: Alignment tasks)."""
