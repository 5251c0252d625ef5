"""The stage that evaluates lists."""
