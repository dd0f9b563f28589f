"""The room that compares: cases in tables, whole outputs, and random trees on a database in memory."""
