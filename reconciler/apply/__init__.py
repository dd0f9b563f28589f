"""Plan → database, in one transaction: objects, ownership, schedule, revision, or nothing at all.

What is to change is decided by ``plan``; here it is made true exactly once, under the project's lock.
Nothing in this room prints, waits for people or talks to servers.
"""
