"""Tables of the paper and experiments from a file."""
