"""The blend as a run."""
