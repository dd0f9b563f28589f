"""Outcomes to the ledger: starts and ends in batches, with the retry that an end decides. Whole outputs to
the archive: a folder or a bucket.

What happened is written here, once, and deleted here when its time is over (``retention`` says what goes,
``prune`` does it); no command is run, no slot is claimed. It keeps what it was given until the database has
it, and makes its callers wait rather than grow without bound.
"""
