"""Erasing users from everything that a project keeps."""
