"""The blend: the model's scores combined with the transition counter, vectors and popularity."""
