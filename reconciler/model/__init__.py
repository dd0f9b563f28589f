"""The nouns every room shares: names, specs, desired and observed state, executions, conditions.

Frozen values and pure functions on them only. No input or output, no clock, no library but pydantic,
and no rule about when something runs (``schedule``) or what a change does (``plan``).
"""
