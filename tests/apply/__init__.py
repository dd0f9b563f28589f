"""Plan to database: one transaction or nothing."""
