"""Cuts the power of a loaded server, thousands of times, and looks what its SQLite database still knows.

    python3 tools/power_loss target/debug/freshk

It needs Debian's strace and nothing else. A server runs under strace while people log in, refresh, log out, change
their number and are deleted: one log has the order of its writes, of its syncs and of its answers. Then, for each of
these, the files are built as a power loss at that point may leave them: what was synced is there; of what was not, any
writes may be missing or torn between sectors of 512 bytes, sizes and names included. The database is opened. It must be
whole, must stand exactly where some commit had left it, and must hold all that an answer had told anybody before.
On some of them the server is started and asked with the tokens that it gave out.

Exit code 1 where that does not hold; the files of the first fault are kept, and the line that is printed repeats it.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time

from bench import Bench
from disk import Disk
from record import record
from recorded import Reader
from told import Fault, Told, demand

LOG_HEADER = 32
FRAME_HEADER = 24
SHOWN = 5


class Replay:
    """Goes through a recording and cuts the power after each event."""

    def __init__(self, folder, options, bench):
        self.options, self.bench, self.disk = options, bench, Disk()
        self.told = Told(json.loads((folder / "ledger").read_text()))
        self.events = list(Reader(folder).events())
        self.figures, self.kinds = collections.Counter(), collections.Counter()
        self.first = None
        self.has_answered, self.is_commit, self.commits = False, False, set()

    def run(self):
        serving = self.serving()
        points = 0
        for number, event in enumerate(self.events):
            if not self.take(event):
                continue
            points += 1
            if self.options.only not in (None, number):
                continue
            if points % self.options.every and number not in serving:
                continue
            for variant in range(self.options.variants):
                self.cut(number, variant, number in serving and variant == 0)

    def serving(self):
        """After which events the server is started: some while the database is made, as many after the first answer."""
        changes = [number for number, event in enumerate(self.events) if event.kind not in ("written", "sync")]
        first = next(number for number in changes if self.is_told(self.events[number]))
        chance = random.Random(self.options.seed)
        sides = [number for number in changes if number < first], [number for number in changes if number >= first]
        return {number for side in sides for number in chance.sample(side, min(self.options.starts, len(side)))}

    def is_told(self, event):
        return event.kind == "answer" and event.file in self.told.by_answer

    def take(self, event):
        """Goes on by an event; false where a power loss after it leaves what one before it leaves."""
        kind = event.kind
        if kind == "answer":
            if not self.is_told(event):
                return False
            self.told.answer(event.file)
            self.figures["answers"] += 1
            self.has_answered = True
            self.disk.lies = self.options.lie
            return True
        differs = self.disk.take(event)
        self.figures["syncs"] += kind == "synced"
        self.figures["writes"] += kind not in ("sync", "synced", "written")
        if kind == "write" and event.file.endswith("-wal"):
            self.figures["logs"] += event.offset == 0 and len(event.data) == LOG_HEADER
            # The header of the last frame of a commit has the size of the database; its page follows.
            if len(event.data) == FRAME_HEADER:
                self.is_commit = event.data[4:8] != bytes(4)
            elif self.is_commit:
                self.is_commit = False
                self.figures["commits"] += 1
                self.commits.add(self.bench.open(self.disk.intact())[1])
        return differs

    def cut(self, number, variant, serves):
        chance = random.Random(f"{self.options.seed}:{number}:{variant}")
        files, is_torn = self.disk.lost(chance)
        self.figures["cuts"] += 1
        self.figures["torn"] += is_torn
        try:
            rows, digest = self.bench.open(files)
            if self.has_answered:
                demand(rows, "there is no database")
                demand(digest in self.commits, "the database is as no commit has left it")
                self.told.hold(rows)
            if serves:
                self.figures["starts"] += 1
                self.bench.serve(files, self.told, chance)
        except Fault as fault:
            self.figures["faults"] += 1
            kind = re.sub(r"[0-9a-f]{32}|\+?\d+|/\S+/", "…", str(fault).splitlines()[0])
            self.kinds[re.sub("(_check|nowhere|SQLite):.*", r"\1", kind)] += 1
            self.first = self.first or (number, variant, files)
            if self.figures["faults"] <= SHOWN:
                print(f"FAULT at event {number}, variant {variant}: {fault}", flush=True)


def number(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def arguments():
    parser = argparse.ArgumentParser(prog="python3 tools/power_loss", description=__doc__.splitlines()[0])
    parser.add_argument("freshk", help="the program, such as target/debug/freshk")
    for name, kind, default, what in (
        ("--seed", int, 1, "chance: of the load, and of what is lost"),
        ("--people", number, 60, "how many log in, at least 20"),
        ("--every", number, 1, "cuts the power after every so many events"),
        ("--variants", number, 2, "cuts after each of them, each with other losses"),
        ("--starts", int, 20, "servers started while the database is made, and as many later"),
    ):
        parser.add_argument(name, type=kind, default=default, metavar="N", help=f"{what} [{default}]")
    parser.add_argument("--lie", action="store_true", help="syncs are done with the next one only: must find faults")
    parser.add_argument("--replay", type=pathlib.Path, metavar="FOLDER", help="takes a kept recording")
    parser.add_argument("--only", type=int, metavar="EVENT", help="cuts the power after this event alone")
    return parser.parse_args()


def main():
    options = arguments()
    begun = time.monotonic()
    folder = (options.replay or pathlib.Path(tempfile.mkdtemp(prefix="freshk-power-loss-"))).resolve()
    if not options.replay:
        record(folder, options)
    recorded = time.monotonic()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as bench:
        replay = Replay(folder, options, Bench(options.freshk, pathlib.Path(bench)))
        replay.run()
    ended = time.monotonic()
    told = replay.told
    if told.count != sum(len(facts) for facts in told.by_answer.values()):
        sys.exit(f"the log of {folder} lacks answers of the ledger")
    figures = replay.figures
    print(
        f"seed {options.seed}{', a disk that lies' * options.lie}: "
        f"{figures['writes']} writes, {figures['syncs']} syncs, {figures['commits']} commits, "
        f"{figures['logs']} times a log begun, {figures['answers']} answers with {told.count} facts\n"
        f"power lost {figures['cuts']} times, {figures['torn']} with a torn write; "
        f"{replay.bench.opened} databases opened, {figures['starts']} servers started; "
        f"{recorded - begun:.0f} s of load, {ended - recorded:.0f} s of cuts; faults: {figures['faults']}"
    )
    for kind, count in replay.kinds.most_common():
        print(f"{count:6} {kind}")
    if replay.first:
        event, variant, files = replay.first
        kept = folder / f"fault-{event}-{variant}"
        kept.mkdir(exist_ok=True)
        for name, content in files.items():
            (kept / name).write_bytes(content)
        lie = "--lie " * options.lie
        print(f"the files of the first: {kept}")
        print(
            f"again: python3 tools/power_loss {options.freshk} --seed {options.seed} --variants {options.variants} "
            f"--starts {options.starts} {lie}--replay {folder} --only {event}"
        )
        sys.exit(1)
    if not options.replay:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
