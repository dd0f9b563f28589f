"""The database to frozen reports: conditions, status report, timeline, and their text, JSON and Markdown.

Everything here reads and judges; nothing is decided, written or run. A report is a value made from rows and a
moment, so that a terminal, a pull request and later a page show the same words.
"""
