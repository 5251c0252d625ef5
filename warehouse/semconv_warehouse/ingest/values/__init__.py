"""Values of a file's columns: ids, times, lists and nested fields, as polars expressions."""
