"""Publishing: lists become a generation file that readers open."""
