"""Real servers on private loopback ports, started from prepared folders and ended with whoever started them.

Usable without pytest (benchmarks, soak scripts): every service is a context manager. Nothing here knows
the program's rooms, and nothing here touches the machine's own services.
"""
