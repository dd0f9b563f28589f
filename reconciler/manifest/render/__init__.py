"""The forms a list of problems is shown in: for people, for scripts, for code hosts and test reports.

Each is a pure function from the same ``Report`` to text or JSON. Nothing here finds, judges or drops a
problem.
"""
