"""Reads the log of strace: what became of the files in `data`, and which answers left, in their order."""

import collections
import re

Event = collections.namedtuple("Event", "kind file offset data mark", defaults=(None, None, None, None))
Call = collections.namedtuple("Call", "name rest mark begins ends result")

BEGUN = re.compile(r"(\d+) +(\w+)\((.*)")
RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
HEXADECIMAL = re.compile(r"(?:\\x[0-9a-f]{2})+")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
OFFSET = re.compile(r'", \d+, (\d+)')
SIZE = re.compile(r">, (\w+)")
RESULT = re.compile(r" = (-?\d+)(?:<([^>]*)>)?")
REQUEST_ID = re.compile(rb"x-request-id: ([0-9a-f]+)")
DONE = re.compile(rb"(done \d+)\n")


def plain(text):
    return bytes.fromhex(text.replace("\\x", ""))


def calls(log):
    """Each call once where nothing came between its start and its end, else twice: as it begins and as it ends."""
    begun = {}
    for mark, line in enumerate(log):
        if found := BEGUN.match(line):
            thread, name, rest = found.groups()
            ends = "<unfinished" not in rest
            begun[thread] = (name, rest, mark)
            # What a signal interrupts and what its process does not outlive has no result.
            yield Call(name, rest, mark, True, ends, RESULT.search(rest, rest.rfind(" = ")) if ends else None)
        elif found := RESUMED.match(line):
            thread, rest = found.groups()
            yield Call(*begun[thread], False, True, RESULT.search(rest, rest.rfind(" = ")))


class Reader:
    """A write counts as possible from its start on, and as synced only by a sync that starts after its end."""

    def __init__(self, folder):
        self.log, self.data = folder / "log", str(folder / "data")
        self.positions = collections.defaultdict(int)

    def events(self):
        readers = {
            "openat": self.open,
            "lseek": self.seek,
            "pwrite64": self.write,
            "write": self.write,
            "writev": self.write,
            "sendto": self.write,
            "sendmsg": self.write,
            "ftruncate": self.truncate,
            "fsync": self.sync,
            "fdatasync": self.sync,
            "rename": self.rename,
            "renameat": self.rename,
            "renameat2": self.rename,
            "link": self.rename,
            "linkat": self.rename,
            "unlink": self.rename,
            "unlinkat": self.rename,
        }
        with open(self.log, encoding="ascii") as log:
            for call in calls(log):
                yield from readers.get(call.name, self.other)(call)

    def ours(self, path):
        """The name of a file in `data`, or a dot for the folder itself. SQLite makes -shm anew at each start."""
        path = HEXADECIMAL.sub(lambda found: plain(found.group()).decode("utf-8", "replace"), path)
        if path == self.data:
            return "."
        if path.startswith(self.data + "/") and not path.endswith("-shm"):
            return path[len(self.data) + 1 :]
        return None

    def subject(self, call):
        """Of the call's descriptor."""
        found = DESCRIPTOR.match(call.rest)
        return self.ours(found.group(1)) if found else None

    def open(self, call):
        if not call.ends or not call.result or not call.result.group(2):
            return
        name = self.ours(call.result.group(2))
        if name in (None, "."):
            return
        self.positions[name] = 0
        if "O_CREAT" in call.rest:
            yield Event("create", name)
        if "O_TRUNC" in call.rest:
            yield Event("truncate", name, 0, None, call.mark)
            yield Event("written", name, mark=call.mark)

    def seek(self, call):
        if call.ends and (name := self.subject(call)):
            self.positions[name] = int(call.result.group(1))
        return ()

    def write(self, call):
        name = self.subject(call)
        if name is None:
            if call.begins:
                yield from self.answers(call)
            return
        if call.name not in ("write", "pwrite64"):
            self.unknown(call, name)
        content = plain(TEXT.search(call.rest).group(1))
        if call.begins and call.name == "write":
            yield Event("write", name, self.positions[name], content, call.mark)
            self.positions[name] += len(content)
        elif call.begins:
            yield Event("write", name, int(OFFSET.search(call.rest).group(1)), content, call.mark)
        if call.ends:
            if not call.result or int(call.result.group(1)) != len(content):
                self.unknown(call, name)
            yield Event("written", name, mark=call.mark)

    def answers(self, call):
        """What leaves by a socket is an answer of the server; what leaves by a pipe, the end of a command."""
        said = b"".join(plain(text) for text in TEXT.findall(call.rest))
        for told in REQUEST_ID.findall(said):
            yield Event("answer", told.decode())
        if told := DONE.fullmatch(said):
            yield Event("answer", told.group(1).decode())

    def truncate(self, call):
        if not (name := self.subject(call)):
            return
        if call.begins:
            yield Event("truncate", name, int(SIZE.search(call.rest).group(1), 0), None, call.mark)
        if call.ends:
            yield Event("written", name, mark=call.mark)

    def sync(self, call):
        if not (name := self.subject(call)):
            return
        if call.begins:
            yield Event("sync", name, mark=call.mark)
        if call.ends and call.result and call.result.group(1) == "0":
            yield Event("synced", name, mark=call.mark)

    def rename(self, call):
        names = [self.ours(path) for path in TEXT.findall(call.rest)]
        if call.begins and any(names):
            yield Event(call.name.removesuffix("at2").removesuffix("at"), names[0], names[-1])

    def other(self, call):
        if name := self.subject(call):
            self.unknown(call, name)
        return ()

    def unknown(self, call, name):
        raise RuntimeError(f"{call.name} of {name} is not understood: {call.result and call.result.group()}")
