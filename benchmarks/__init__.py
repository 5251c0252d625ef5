"""This project and a peer side by side, one module a subject: ``python -m benchmarks.NAME [--json FILE] [--size small|full]``.

``python -m benchmarks`` runs all of them. A module first checks that both give the same result where
they should, then measures.
"""
