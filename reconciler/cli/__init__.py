"""What people and scripts type: one file per command, each only parses, calls and renders.

No decision about the world is made here, and importing this package costs nothing: every heavy room
is imported inside the command that needs it.
"""
