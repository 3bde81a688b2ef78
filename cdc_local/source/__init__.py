"""Source files and what they find: cells, `dbutils`, wheels, errors at the user's line.

May import `storage`, `volumes` and `errors`. Begin at `files.py`.
"""
