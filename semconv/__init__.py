"""semconv: a batch recommender that lives beside a SQL warehouse.

Arrays in, arrays out: this package never opens a database. Storage is reached through the
Protocol in :mod:`semconv.data.store`; :mod:`semconv.pipeline` alone knows all stages.
"""

__version__ = "0.1.0"
