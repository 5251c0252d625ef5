"""Each stage as a run; the one place that knows all of them."""
