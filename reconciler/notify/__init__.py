"""From the outbox to people: messages are worded, paced and sent here, and nothing is decided.

What is told, to whom, was written by the transaction that caused it (``record``, ``controller``). Delivered
at least once: a message is marked after its target took it. Only ``notify.through_apprise`` knows Apprise.
Never here: secrets in texts, errors or rows.
"""
