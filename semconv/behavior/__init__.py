"""Behaviour vectors: vectors of items and users, computed from the interactions of the train cut."""
