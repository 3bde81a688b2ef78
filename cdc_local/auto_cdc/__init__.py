"""Events into SCD tables, batch by batch, one commit each.

May import `delta` and what lies below it. Begin at `merge.py`; the rules are those of
`cdc_utils.scd1`, `cdc_utils.scd2` and `cdc_utils.bitemporal`.
"""
