"""Search over the log store: a query language, compiled to DuckDB, run in bounded processes."""
