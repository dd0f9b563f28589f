"""Declarative servers and scheduled commands: from YAML in git to a truthful status report.

The flow, in order; each room hands frozen values to the next and nobody walks back up::

    manifest    git or a folder -> DesiredState, or every Problem at once
    store       the database -> ObservedState
    plan        (desired, observed, now) -> Plan              pure
    apply       Plan -> the database, in one transaction
    schedule    expression, zone, policy -> slots              pure
    dispatch    due slots -> claimed executions
    execute     a claimed execution -> Outcome
    record      Outcome -> the database
    report      the database -> StatusReport

``model`` holds the nouns they share, ``bootstrap`` wires them, ``controller`` keeps them going,
``cli`` lets a person ask.
"""

__version__ = "0.1.0"
