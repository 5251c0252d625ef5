"""Reading the served generation."""
