"""Updates of the pipeline in a process of their own, on a warm Sail: a request a line on standard input, the
seconds of each flow a line on standard output."""

import json
import sys

from warm import update

if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        done = update(asked["storage"], *asked["files"], engine="sail")
        print(json.dumps({flow.dataset: flow.seconds for flow in done.flows}), flush=True)
