"""What is known to be the same on Sail and on Spark: the list, and what of a query it does not have.

`functions.json` is written by `make prove ARGS=engines`: calls with the types of their arguments. May import
`storage` and `errors`. Begin at `plan.py`.
"""
