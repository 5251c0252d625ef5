"""Files of rows as lazy frames: Parquet, CSV and JSON in the dialects that programs write."""
