"""Opens what a power loss has left: by SQLite alone, and by the server."""

import collections
import hashlib
import os
import sqlite3
import subprocess
import tempfile

import load
from told import Fault, Rows, demand


class Bench:
    """Where files are laid out and opened."""

    def __init__(self, freshk, folder):
        self.freshk, self.folder, self.opened = os.path.abspath(freshk), folder, 0
        self.known = collections.OrderedDict()

    def lay(self, files):
        for left in self.folder.iterdir():
            left.unlink()
        for name, content in files.items():
            (self.folder / name).write_bytes(content)

    def open(self, files):
        """The rows of a database and a digest of its pages. Of what was opened a moment ago it is known."""
        key = tuple(sorted((name, hashlib.blake2b(content).digest()) for name, content in files.items()))
        if key not in self.known:
            self.known[key] = self.look(files)
            if len(self.known) > 64:
                self.known.popitem(last=False)
        return self.known[key]

    def look(self, files):
        self.lay(files)
        self.opened += 1
        path = self.folder / "freshk.db"
        if not files.get("freshk.db"):
            return None, b""
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA synchronous = OFF")
            check = "integrity_check" if self.opened % 20 == 0 else "quick_check"
            found = [text for (text,) in connection.execute(f"PRAGMA {check}")]
            demand(found == ["ok"], f"{check}: {found[:3]}")
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
            demand(not broken, f"rows point nowhere: {broken[:3]}")
            has_tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            rows = Rows(connection) if has_tables else None
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.DatabaseError as error:
            raise Fault(f"SQLite: {error}") from error
        finally:
            connection.close()
        content = path.read_bytes()
        # What is behind the last page of a commit that made the database smaller is of no account.
        pages = int.from_bytes(content[28:32], "big") * 4096
        return rows, hashlib.blake2b(content[:pages]).digest()

    def serve(self, files, told, chance):
        """Starts the server on what is left, and asks it with the tokens that were given out."""
        self.lay(files)
        port = load.free_port()
        command = [self.freshk, "serve", "--dev", "--no-limits", "--listen", f"127.0.0.1:{port}"]
        environment = {"PATH": os.environ["PATH"], "FRESHK_OPS__LISTEN": "off", "FRESHK_LOG__LEVEL": "warn"}
        environment["DATABASE_URL"] = f"sqlite://{self.folder / 'freshk.db'}"
        with tempfile.TemporaryFile("w+") as printed:
            server = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=printed, stderr=printed)
            try:

                def is_ready():
                    if server.poll() is not None:
                        printed.seek(0)
                        raise Fault(f"the server does not start: {printed.read()[-600:]}")
                    return load.is_ready(port)

                load.until("ready", is_ready)
                client = load.Client(port)
                for sid in chance.sample(sorted(told.token), min(8, len(told.token))):
                    _, status, said = client.call("POST", f"{load.BASE}/token/refresh/", {"refresh": told.token[sid]})
                    is_over = sid in told.ended or told.owner[sid] in told.gone | told.inactive
                    may_be = sid in told.may_end or told.owner[sid] in told.may_go | told.may_stop
                    demand(status != 200 or not is_over, f"the server renews session {sid}, which was ended")
                    demand(status == 200 or may_be, f"the server refuses session {sid}, which is live: {said}")
            finally:
                server.kill()
                server.wait()
