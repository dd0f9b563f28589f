"""The database, and the only room that knows SQLAlchemy: tables, connections, migrations, one file per noun.

Every function works inside a transaction that its caller opened (``Database.write``, ``read``, ``transact``)
and raises errors of ``reconciler.errors`` only. No rule is decided here: what changes is decided by ``plan``,
what is due by ``schedule``, how a run ended by ``execute``.
"""
