"""Other machines as hosts, over ssh: connections that many runs share, host keys, logins, jump hosts.

The only place that imports paramiko, and none of paramiko's exceptions leaves it: each becomes a `Fault`.
How a run goes is decided above (`execute.plain`); here are only the shells it goes through.
"""
