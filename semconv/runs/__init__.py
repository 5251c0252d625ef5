"""Runs of stages: their records, files, checksums and lineage, and the workspace that every stage gets."""
