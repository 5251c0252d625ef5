"""Backbone, behavior vectors and text vectors as runs."""
