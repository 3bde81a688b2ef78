"""Sail: Spark Connect served by this process, without Java.

May import `storage` and `errors`. Begin at `session.py`.
"""
