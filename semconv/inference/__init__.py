"""Tuned backbone -> top-K: the trie of codes, beam search over it, exact scores, reasons and fallback."""
