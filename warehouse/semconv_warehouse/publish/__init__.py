"""From lists to a generation file that readers open."""
