"""One claimed execution, run to its end: a `Job` goes in, an `Outcome` comes out, whatever the world does.

Here live the ways to a host (this machine, or ssh in the folder below, the only place that knows paramiko),
the shell scripts that hosts are sent, secrets, masking and capture. It never decides what runs or when,
never writes to the database, and never lets a library's exception or a secret out.
"""
