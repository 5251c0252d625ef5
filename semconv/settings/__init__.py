"""Settings of a project: one module per section, loading, and the text that users read about them."""
