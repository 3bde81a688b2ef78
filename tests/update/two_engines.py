"A process that runs updates on one engine, so that a test can compare two."

import json
import subprocess
import sys
from pathlib import Path

SERVER = Path(__file__).parent / "serve_updates.py"


class Updates:
    "Runs updates on one engine, in a process of its own."

    def __init__(self, engine):
        command = [sys.executable, str(SERVER), engine]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, source, storage, **more):
        request = {"sources": [str(source)], "storage": str(storage), **more}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.process.communicate()[1][-3000:]
        return json.loads(answer)

    def close(self):
        self.process.communicate()
