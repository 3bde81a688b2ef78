"""Events into SCD tables, batch by batch, one commit each.

May import `delta` and what stands below it. Begin at `merge.py`; the rules are `cdc_utils.scd1` and `cdc_utils.scd2`.
"""
