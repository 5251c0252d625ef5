"""Top-K lists of users, by the model or the blend, filled up from a popularity ranking; with a reason for each item."""
