"""The database room, on all three databases."""
