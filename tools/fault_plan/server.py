"""The server, started again whenever it ends, and what can be done to it."""

import base64
import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import threading
import time

import load

FAKETIME = pathlib.Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
SECRET = "a secret of a server that has bad days, 32 bytes and more"


class Server:
    """Runs in a folder; like under systemd it comes back a moment after it ends."""

    def __init__(self, freshk, folder, disk, sink, webhook):
        self.command = [os.path.abspath(freshk), "serve"]
        self.folder, self.port, self.starts = folder, load.free_port(), 0
        self.command += ["--listen", f"127.0.0.1:{self.port}"]
        self.database = disk / "freshk.db"
        self.clock = folder / "clock"
        configuration = folder / "freshk.toml"
        key = base64.b64encode(webhook.key).decode()
        row = f'name = "told"\nurl = "{webhook.url}/"\nsecret = "whsec_{key}"\nevents = ["user.created"]\n'
        configuration.write_text(f"[[webhooks]]\n{row}", encoding="utf-8")
        configuration.chmod(0o600)
        self.step(0)
        self.environment = {
            "PATH": os.environ["PATH"],
            "SECRET_KEY": SECRET,
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": f"sqlite://{self.database}",
            "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
            "TWILIO_AUTH_TOKEN": "1" * 32,
            "TWILIO_PHONE_NUMBER": "+15005550006",
            "FRESHK_TWILIO__BASE_URL": sink.url,
            "FRESHK_TWILIO__CONNECT_TIMEOUT": "1s",
            "FRESHK_TWILIO__TIMEOUT": "2s",
            "FRESHK_TWILIO__BREAKER_COOLDOWN": "2s",
            "FRESHK_OPS__LISTEN": "off",
            "FRESHK_SMS__GUARD": "off",
            "FRESHK_LIMITS__IP": "0",
            "FRESHK_LIMITS__FLOOD_PER_SECOND": "0",
        }
        if FAKETIME.exists():
            self.environment |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            }
        self.ends, self.process = threading.Event(), None
        self.keeper = threading.Thread(target=self.keep)
        self.keeper.start()

    def keep(self):
        with open(self.folder / "printed", "a", encoding="utf-8") as printed:
            while not self.ends.is_set():
                self.process = subprocess.Popen(
                    self.command, cwd=self.folder, env=self.environment, stdout=printed, stderr=printed
                )
                self.starts += 1
                self.process.wait()
                self.ends.wait(0.5)

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)

    def step(self, seconds):
        """Sets the wall clock off by so much; what runs notices at once."""
        draft = self.folder / "clock.new"
        draft.write_text(f"{seconds:+d}\n")
        draft.rename(self.clock)

    def descriptors(self, more):
        """Leaves so many descriptors beside those that are open; gives back what there were."""
        with contextlib.suppress(OSError):
            open_ones = len(os.listdir(f"/proc/{self.process.pid}/fd"))
            soft, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (open_ones + more, hard))
            return self.process.pid, soft, hard
        return None

    def give_back(self, what):
        with contextlib.suppress(OSError):
            if what and what[0] == self.process.pid:
                resource.prlimit(what[0], resource.RLIMIT_NOFILE, what[1:])

    def memory(self, more):
        """Leaves so many bytes of address space beside what it has; gives back what it might have."""
        with contextlib.suppress(OSError, ProcessLookupError):
            pid = self.process.pid
            with open(f"/proc/{pid}/statm", encoding="ascii") as sizes:
                has = int(sizes.read().split()[0]) * resource.getpagesize()
            before = resource.prlimit(pid, resource.RLIMIT_AS)
            resource.prlimit(pid, resource.RLIMIT_AS, (has + more, before[1]))
            return pid, before
        return None

    def give_memory_back(self, what):
        with contextlib.suppress(OSError):
            if what and what[0] == self.process.pid:
                resource.prlimit(what[0], resource.RLIMIT_AS, what[1])

    def close(self):
        self.ends.set()
        deadline = time.monotonic() + load.PATIENCE
        while self.keeper.is_alive() and time.monotonic() < deadline:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            self.keeper.join(1)
        self.kill()
        self.keeper.join()
