"""The commands that only read, run through the front door."""
