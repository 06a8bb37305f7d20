"""Runs the shell commands of a document's tutorial as they stand, in an empty folder: usage: tutorial.py DOCUMENT

The tutorial is the section whose heading is followed by `<!-- tutorial -->`; after its commands, the JSON that it shows must
be in what they printed. FRESHK in the environment names the binary."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

document = pathlib.Path(sys.argv[1])
section = document.read_text(encoding="utf-8").split("<!-- tutorial -->\n")[1].split("\n## ")[0]
blocks = re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
commands = "".join(text for kind, text in blocks if kind == "sh")
shown = [line for kind, text in blocks if kind == "json" for line in text.splitlines()]
assert commands, f"{document} has no tutorial"
assert shown, f"the tutorial of {document} shows no answer"

binary = pathlib.Path(os.environ["FRESHK"]).resolve()
environment = {
    "PATH": f"{binary.parent}:{os.environ['PATH']}",
    "HOME": os.environ["HOME"],
    "FRESHK": str(pathlib.Path.cwd()),
}
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    log = pathlib.Path(folder, "printed")
    shop = pathlib.Path(folder, "shop")
    shop.mkdir()
    with log.open("w", encoding="utf-8") as output:
        # A group of its own: the servers that the tutorial starts end with it.
        process = subprocess.Popen(
            ["bash", "-eu", "-c", commands], cwd=shop, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            status = process.wait(timeout=300)
        finally:
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
    printed = log.read_text(encoding="utf-8")
missing = [line for line in shown if line not in printed]
if status or missing:
    sys.exit(f"{printed}\nFAIL the tutorial of {document}: status {status}, not printed: {missing}")
print(f"ok   the tutorial of {document}: {len(commands.splitlines())} lines of commands, {len(shown)} answers")
