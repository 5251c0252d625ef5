"""Serve features with Feast: Parquet exports, registered definitions, and the online store."""
