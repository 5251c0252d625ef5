"""Read the served generation: run SQL or a query of the cookbook, or show one user or item."""
