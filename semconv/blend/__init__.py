"""The blend: one ranking from the model's scores, the transition counter, behaviour vectors and popularity."""
