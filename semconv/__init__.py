"""semconv: a batch recommender that lives beside a SQL warehouse.

This package takes arrays and returns arrays. No module of this package opens a database: stages read and write data
through the Protocol in :mod:`semconv.data.store`. Only :mod:`semconv.stages` knows all stages.
"""

__version__ = "0.1.0"
