"People who move: the AUTO CDC declarations and flows of several tests."

from cdc_local.dataflow.graph import Flow
from cdc_local.errors import Location
from cdc_local.storage import TableName
from cdc_utils.spec import CdcSpec

MOVES = "id int, city string, at int, op string"


def moves(history=True, **options):
    return CdcSpec(
        "t",
        "s",
        ["id"],
        "at",
        apply_as_deletes="op = 'D'",
        except_column_list=["op", "at"],
        stored_as_scd_type=2 if history else 1,
        **options,
    )


def auto_cdc(spec):
    return Flow("t", TableName("main", "default", "t"), "auto_cdc", spec=spec, location=Location("t.py", 4))
