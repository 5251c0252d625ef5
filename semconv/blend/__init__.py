"""The model's scores combined with counter, vectors and popularity."""
