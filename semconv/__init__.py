"""semconv: a batch recommender that lives beside a SQL warehouse.

This package takes arrays and returns arrays. It never opens a database: it reads and writes data through the Protocol
in :mod:`semconv.data.store`. Only :mod:`semconv.stages` knows all stages.
"""

__version__ = "0.1.0"
