"""The tests mirror the rooms of the house; ``services`` starts the real things they talk to."""
