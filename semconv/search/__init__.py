"""Beam search over the trie of existing items."""
