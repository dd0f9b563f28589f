"""Due slots to claimed executions: claim, take, leases, reaping, manual runs, cancels, dependencies.

The one place that decides who runs what when, and so the one place where another engine could hand out
ids. It never runs a command and never writes how one ended; exclusivity is the database's, in rows
anyone can read.
"""
