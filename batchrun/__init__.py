"""Large offline prompt jobs: a prompt table in, a typed Parquet table out."""
