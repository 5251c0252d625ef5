"""Experiments: the tables of the paper, and tables of a user's own file."""
