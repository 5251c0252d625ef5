"""Behaviour vectors: interactions of the train cut become item and user vectors."""
