"""Benchmarks: this project beside other methods and libraries.

Each benchmark first checks that both sides give the same result where they should, and then measures. ``python -m
benchmarks`` runs all of them; ``python -m benchmarks --help`` lists them.
"""
