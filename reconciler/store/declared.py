"""A table as a class whose attributes are its columns, without the ORM.

Nothing here maps rows to objects, and loading and setting up ``sqlalchemy.orm`` for its way of declaring cost
a quarter of a second before a command did anything (docs/adr/0014). The attributes are plain columns:
``select(Task.id)``, ``insert(Task)`` and ``Task.__table__`` work as they do with a mapped class. They are
annotated as ``ColumnClause[…]``: SQLAlchemy's types let ``Column[…]`` stand in no class but its own.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import Column, ColumnClause, MetaData, Table

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


def column(*parts: Any, **options: Any) -> ColumnClause[Any]:
    """A column that always holds a value; arguments as of ``sqlalchemy.Column`` behind the name."""
    return Column(*parts, nullable=False, **options)


def optional(*parts: Any, **options: Any) -> ColumnClause[Any]:
    """A column that may be NULL."""
    return Column(*parts, nullable=True, **options)


class Base:
    """The root of all tables; constraints have predictable names on all three databases.

    A subclass names its table in ``__tablename__``; ``__table_args__`` are its constraints and indexes, and
    as the last of them a dictionary of the table's options.
    """

    metadata: ClassVar = MetaData(naming_convention=NAMING)
    __tablename__: ClassVar[str]
    __table_args__: ClassVar[tuple[Any, ...]]
    __table__: ClassVar[Table]

    def __init_subclass__(cls) -> None:
        columns = []
        for name, value in vars(cls).items():
            if isinstance(value, Column):
                value.name = value.key = name
                columns.append(value)
        *constraints, options = cls.__table_args__
        cls.__table__ = Table(cls.__tablename__, cls.metadata, *columns, *constraints, **options)

    @classmethod
    def __clause_element__(cls) -> Table:
        """What SQLAlchemy asks for where a statement names the class."""
        return cls.__table__
