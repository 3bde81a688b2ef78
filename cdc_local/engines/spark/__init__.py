"""Spark in a JVM: its session, its jars, its Java, its parser.

May import `storage` and `errors`. Begin at `session.py`.
"""
