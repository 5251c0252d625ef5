"""Read the served generation: SQL, the cookbook, and one user or item."""
