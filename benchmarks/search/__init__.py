"""Benchmarks of the search: beams over the code trie, compiled models, and jobs over many users."""
