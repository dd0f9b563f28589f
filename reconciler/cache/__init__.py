"""Redis, and the only room that knows it: wake-ups, due times, live states.

It may vanish at any moment, lie, or never have been there: every failure is a miss, nothing waits for it,
and no decision is taken by it. What belongs to the database never belongs here.
"""
