"""The modules of `cdc_utils` that a deployed wheel has. It imports nothing: `tools/wheel.py` runs it too."""

PACKAGE = "cdc_utils"
NOT_DEPLOYED = ("layout", "pictures", "results", "remote", "_modidx")  # no pipeline and no job imports these


def is_deployed_module(
    module: str,  # Full name of a module, as `cdc_utils.gold`
) -> bool:  # Whether a wheel has to bring it
    """Tell a module of the package that a pipeline or a job imports."""
    package, _, rest = module.partition(".")
    return package == PACKAGE and bool(rest) and rest.split(".")[0] not in NOT_DEPLOYED
