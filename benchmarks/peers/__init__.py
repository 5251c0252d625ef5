"""Benchmarks of quality: the model beside peer methods such as popularity, transition counts, SASRec and BM25."""
