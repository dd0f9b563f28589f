"""Expression, zone and policy in; slots and decisions out.

Cron fields, zone changes and the rules of lateness, catch-up, overlap, retry and dependency belong here,
each as a pure function of its arguments. Never a clock, a database, a thread or a log: time is an argument.
"""
