"""The reading side: rows in, reports out."""
