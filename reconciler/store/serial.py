"""One apply at a time in the whole database, for as long as its transaction lasts.

A project's lease keeps applies of that project apart. Applies of different projects meet too: one puts a
task on a server that the other is about to delete or disable, and each looked before the other wrote. One
locked row makes the order in which they commit the order in which they looked.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from reconciler.store.faults import is_duplicate
from reconciler.store.tables import Lease

NAME = "applies"
_LOCK = select(Lease.token).where(Lease.name == NAME).with_for_update()


def one_at_a_time(connection: Connection) -> None:
    """Wait for the applies before this one; the first statement of an apply's transaction.

    The row is only locked, never changed, and the lock goes with the transaction.
    """
    if connection.execute(_LOCK).first() is not None:
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(Lease).values(name=NAME, owner="", token=0))
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
        connection.execute(_LOCK).one()
