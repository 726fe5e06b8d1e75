"""The log store: every accepted event in Parquet, by hour and source, with a manifest."""
