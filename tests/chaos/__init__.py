"""Chaos: real processes killed at random moments, and a proof of what the ledger says afterwards."""
