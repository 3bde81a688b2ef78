"""Who computes.

May import `storage` and `errors`. Begin at `spark/session.py`.
"""
