"""What a change will do, as a value: (desired, observed, now) → Plan, and how a Plan is read.

Pure: no clock, no database, no files; the same inputs give the same plan, and what was printed is what
is applied. Nothing here changes anything.
"""
