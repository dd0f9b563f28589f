"""The history of the tables: one file in ``versions/`` for each change, in order, and what they share.

A revision is never edited once it was released, and says types and options in its own words, so that it goes
on making what it made then. It never reads settings, never deletes what the program could still want, and may
be run again from its beginning: MySQL and MariaDB commit every DDL statement by itself.
"""
