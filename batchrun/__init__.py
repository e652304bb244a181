"""Large offline prompt jobs: a prompt table in, a typed Parquet table out."""

__version__ = "0.1.0"
