"""What a flow reads and brings, found without data, and what PySpark and Python do meanwhile.

May import `auto_cdc` and what stands below it. Begin at `flow_analysis.py`: it evaluates each flow once,
before anything is written. `runtime.py` is what a pipeline's code reads from, `queries.py` is `spark.sql`
over it, `expressions.py` is subqueries in `where` and its like, `catalog.py` is what may be asked about
tables, `patches.py` is the table of all that PySpark and Python do differently while that code runs.
"""
