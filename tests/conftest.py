"Files that take long begin first, so that no worker is left alone with one of them."
LONGEST = ("runs_like_databricks", "site", "small_batches", "repair", "update", "snapshots", "connect", "erase", "deployed", "writes", "kill", "benchmarks", "check",
    "first_reads", "laws", "checksums", "local_core")


def pytest_collection_modifyitems(items):
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))
