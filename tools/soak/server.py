"""The server, with a clock that can be set ahead, a certificate of its own and everything that goes on for a month."""

import base64
import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import ssl
import struct
import subprocess

import load

SECOND = 1_000_000_000
DAY = 86_400
HERE = pathlib.Path(__file__).resolve().parent
# What is kept for how many days, where the configuration does not say so: (table, column, days).
KEPT = (
    ("audit", "at", 7),
    ("challenges", "created_at", 7),
    # From when the webhook has taken it, which may be the day after.
    ("events", "at", 8),
    ("messages", "created_at", 7),
    ("purchases", "at", 30),
    ("rotations", "rotated_at", 1),
    ("spends", "at", 1),
)
CONFIGURATION = """
secret_key = "a secret of a server that serves for months, 32 bytes and more"
server = {{ listen = "127.0.0.1:{port}", public_url = "https://localhost:{port}", trusted_proxies = ["127.0.0.1"], tls = {{ cert = "cert.pem", key = "key.pem" }} }}
ops = {{ listen = "127.0.0.1:{ops}" }}
database = {{ url = "sqlite://freshk.db" }}
log = {{ file = "logs/freshk.log", keep = 7 }}
audit = {{ retention = "7d" }}
tokens = {{ refresh_ttl = "5d", session_ttl = "20d" }}
backup = {{ dir = "backups", every = "1d", keep = 3 }}
# Its numbers are all new at first, and many are never verified: it counts, and refuses nobody.
sms = {{ guard = "monitor" }}
twilio = {{ base_url = "http://127.0.0.1:{twilio}", account_sid = "AC{zeros}", auth_token = "{zeros}", phone_number = "+15005550006" }}
webhooks = [{{ name = "soak", url = "http://127.0.0.1:{webhook}/", secret = "whsec_{key}", events = ["user.created", "user.deleted"] }}]
"""


class Server:
    """Runs in a folder."""

    def __init__(self, freshk, folder, port, twilio, webhook):
        self.folder, self.days = folder, 0
        self.port, self.ops = port, load.free_port()
        self.database = folder / "freshk.db"
        self.clock, self.library = folder / "clock", folder / "clock.so"
        subprocess.run(
            ["cc", "-O2", "-shared", "-fPIC", "-o", self.library, HERE / "clock.c", "-ldl", "-lpthread"], check=True
        )
        self.clock.write_bytes(struct.pack("<qq", 0, 0))
        self.environment = {
            "PATH": os.environ["PATH"],
            "LD_PRELOAD": str(self.library),
            "SOAK_CLOCK": str(self.clock),
        }
        (folder / "backups").mkdir()
        self.renew()
        key = base64.b64encode(bytes(32)).decode()
        values = {"port": self.port, "ops": self.ops, "twilio": twilio, "webhook": webhook, "key": key, "zeros": "0" * 32}
        (folder / "freshk.toml").write_text(CONFIGURATION.format(**values), encoding="utf-8")
        (folder / "freshk.toml").chmod(0o600)
        with open(folder / "printed", "wb") as printed:
            self.process = subprocess.Popen(
                [os.path.abspath(freshk), "serve"],
                cwd=folder,
                env=self.environment | {"SOAK_WEIGHED": "1"},
                stdout=printed,
                stderr=printed,
            )

    def renew(self):
        """Another certificate, as a deploy hook puts it there."""
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7"]
            + ["-subj", "/CN=localhost", "-keyout", "key.new", "-out", "cert.new"],
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        for name in ("key", "cert"):
            (self.folder / f"{name}.new").rename(self.folder / f"{name}.pem")

    def leap(self):
        """The next day, for both clocks."""
        self.days += 1
        with open(self.clock, "r+b") as file:
            file.write(struct.pack("<q", self.days * DAY * SECOND))

    def bytes_in_use(self):
        """What the program has allocated and not freed."""
        return struct.unpack("<qq", self.clock.read_bytes())[1]

    def shows_the_certificate(self):
        """True once the newest is shown."""
        with contextlib.suppress(OSError):
            shown = ssl.get_server_certificate(("127.0.0.1", self.port), timeout=5)
            return ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert((self.folder / "cert.pem").read_text()) or None
        return None

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def command(self, *words):
        """A command of the operator's, as from cron."""
        return subprocess.run(
            [f"/proc/{self.process.pid}/exe", *words],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )

    def lines(self):
        """Lines of the log of this day that are no INFO: {level and message: count}."""
        counts = {}
        with open(self.folder / "logs" / "freshk.log", encoding="utf-8") as log:
            for line in log:
                if '"level":"INFO"' not in line:
                    said = json.loads(line)
                    what = f"{said['level']} {said['message']}"
                    counts[what] = counts.get(what, 0) + 1
        return counts

    def kept_too_long(self, now):
        """Rows that are two days older than they may be: {table: days}."""
        old = {}
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            for table, column, days in KEPT:
                (first,) = database.execute(f"SELECT min({column}) FROM {table}").fetchone()
                if first is not None and now - first / 1000 > (days + 2) * DAY:
                    old[table] = round((now - first / 1000) / DAY, 1)
        return old

    def rows(self):
        """How many rows each table has."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            names = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]
            return {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}

    def close(self):
        """Stops it as a service manager does; gives back its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(load.PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
