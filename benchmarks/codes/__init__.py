"""Benchmarks of the codes: codebooks beside faiss, and the effect of each choice of the tokenization."""
