"""Codes: quantise the items' behaviour vectors, pulled towards the backbone's text vectors, into a few codes an item."""
