"""The git side: a tree of YAML to a ``DesiredState``, or to every problem of it at once, each with its place.

Reading, resolving, checking and showing problems belong here; of a valid tree everything the program
needs is in the state it returns. Nothing here knows the database, runs what a manifest says, or looks at a
clock.
"""
