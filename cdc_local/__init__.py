"""What runs a Lakeflow pipeline, its jobs and a workspace on this machine.

Rooms, the highest first, each importing only what stands below it: cli; workspace, operations, unit_tests,
project; pages; reports; bundles; update; jobs; analysis; auto_cdc; sql; autoloader; delta; dataflow;
source; engines; volumes, storage, sql_names, errors.

Begin at `cli/run.py` to see what `cdc run` does, at `update/run.py` to see what an update does. `cdc_utils`
is what a pipeline itself imports; it knows nothing of this package.
"""
