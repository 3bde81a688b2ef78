"""What a flow reads and brings, found without data, and what Lakeflow changes in PySpark meanwhile.

May import `auto_cdc` and what stands below it. Begin at `flow_analysis.py`; `patches.py` is the table of what is changed.
"""
