"""The long-running loops and their threads: watch, reconcile, schedule, execute, keep leases alive.

They decide nothing of their own: what changes is decided by ``plan``, what is due by ``schedule`` and
``dispatch``, how a run ends by ``execute``. Here is only who does it when, and how it all stops.
"""
