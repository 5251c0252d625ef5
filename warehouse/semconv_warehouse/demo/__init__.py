"""A generated shop with a known best score."""
