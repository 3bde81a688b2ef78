"""Who computes: Sail in this process, or Spark in a JVM.

May import `storage` and `errors`. Begin at `session.py`, which starts the one that is asked for.
"""
