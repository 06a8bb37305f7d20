"""Loads a server under strace: a folder with the log of strace, the ledger, and what the server printed."""

import json
import os
import random
import subprocess

import load

CALLS = (
    "openat,pwrite64,write,writev,sendto,sendmsg,ftruncate,fallocate,pwritev,fsync,fdatasync,sync_file_range,"
    "rename,renameat,renameat2,unlink,unlinkat,link,linkat,lseek"
)
# The server and the operator's commands have one parent, so that one log has them all in order.
SHELL = 'while read -r line; do eval "$line"; done'


class Recording:
    """A server under strace, and the operator's shell beside it."""

    def __init__(self, folder, freshk):
        self.folder, self.freshk, self.port, self.acts = folder, os.path.abspath(freshk), load.free_port(), 0
        (folder / "data").mkdir()
        command = ["strace", "--follow-forks", "--decode-fds=path", "--seccomp-bpf", "-xx", "--string-limit=1000000"]
        command += [f"--trace={CALLS}", f"--output={folder / 'log'}", "sh", "-c", SHELL]
        environment = {"PATH": os.environ["PATH"], "FRESHK_OPS__LISTEN": "off", "FRESHK_LOG__LEVEL": "warn"}
        environment["DATABASE_URL"] = f"sqlite://{folder / 'data' / 'freshk.db'}"
        self.shell = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.console = load.Console(folder / "printed")

    def run(self, line):
        """Runs a line of shell; its name among the answers."""
        self.acts += 1
        self.shell.stdin.write(f"{line} || exit 1; echo done {self.acts}\n")
        self.shell.stdin.flush()
        if not self.shell.stdout.readline():
            raise RuntimeError(f"{line} failed; see {self.folder / 'printed'}")
        return f"done {self.acts}"

    def start(self):
        serve = f"{self.freshk} serve --dev --no-limits --listen 127.0.0.1:{self.port}"
        self.run(f"{serve} >> printed 2>&1 & server=$!")
        load.until("ready", lambda: load.is_ready(self.port))

    def stop(self):
        self.run("kill $server; wait $server")

    def operate(self, line):
        return self.run(f"{self.freshk} {line} --yes >> printed 2>&1")

    def close(self):
        self.shell.stdin.close()
        if self.shell.wait(60):
            raise RuntimeError(f"strace ended with {self.shell.returncode}")


def record(folder, options):
    """Loads a server; the operator acts, and it is restarted once between."""
    ledger = load.Ledger()
    recording = Recording(folder, options.freshk)
    chance = random.Random(options.seed)
    try:
        half = options.people // 2
        for numbers in (range(half), range(half, options.people)):
            recording.start()
            people = load.run(recording.port, recording.console, ledger, numbers, options.seed)
            chosen = chance.sample([person for person in people if person.sessions], 3)
            for person, command in zip(chosen, ["deactivate", "delete", "logout"], strict=True):
                answer = recording.operate(f"user {command} {person.user}")
                if command == "delete":
                    ledger.note(answer, "deleted", person.user)
                else:
                    person.over(answer)
                if command == "deactivate":
                    ledger.note(answer, "inactive", person.user)
            recording.stop()
        recording.close()
    finally:
        recording.shell.kill()
        recording.shell.wait()
    (folder / "ledger").write_text(json.dumps(ledger.facts))
