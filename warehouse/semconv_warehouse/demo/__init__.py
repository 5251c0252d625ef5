"""A generated shop whose best possible score is known."""
