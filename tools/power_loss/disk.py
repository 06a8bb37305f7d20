"""A folder on a disk, as it is, and as a power loss may leave it."""

SECTOR = 512


class File:
    """What is surely on the disk, and what was written since, in order."""

    def __init__(self):
        self.synced = bytearray()
        self.current = bytearray()
        self.pending = []
        self.promised = []

    def change(self, event):
        self.pending.append(event)
        apply(self.current, event)

    def sync(self, those):
        for change in those:
            apply(self.synced, change)
        marks = {change.mark for change in those}
        self.pending = [change for change in self.pending if change.mark not in marks]


def apply(content, change):
    if change.kind == "truncate":
        resize(content, change.offset)
        return
    resize(content, max(len(content), change.offset))
    content[change.offset : change.offset + len(change.data)] = change.data


def resize(content, size):
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def rename(names, change):
    """Gives and takes names: {name: file, or nothing}."""
    for key, file in change.items():
        if file is None:
            names.pop(key, None)
        else:
            names[key] = file


class Disk:
    """A folder, as it is, and as a power loss may leave it."""

    def __init__(self):
        # Whether a sync is only done with the next one of the same file.
        self.lies = False
        self.names, self.durable, self.renames = {}, {}, []
        self.over, self.before = set(), {}

    def take(self, event):
        """Does what an event says; false where a power loss after it is none other than one before it."""
        kind, name = event.kind, event.file
        if kind == "create":
            if name in self.names:
                return False
            self.rename({name: File()})
        elif kind == "unlink":
            self.rename({name: None})
        elif kind == "link":
            self.rename({event.offset: self.names[name]})
        elif kind == "rename":
            self.rename({name: None, event.offset: self.names[name]})
        elif kind in ("write", "truncate"):
            self.names[name].change(event)
        elif kind == "written":
            self.over.add(event.mark)
            return False
        elif kind == "sync":
            pending = self.renames if name == "." else self.names[name].pending
            self.before[event.mark] = [change for change in pending if name == "." or change.mark in self.over]
            return False
        elif kind == "synced":
            self.synced(name, self.before.pop(event.mark))
        return True

    def rename(self, change):
        rename(self.names, change)
        self.renames.append(change)

    def synced(self, name, those):
        if name == ".":
            for change in those:
                rename(self.durable, change)
            self.renames = self.renames[len(those) :]
            return
        file = self.names[name]
        if self.lies:
            those, file.promised = file.promised, those
        file.sync([change for change in those if change in file.pending] if self.lies else those)

    def intact(self):
        return {name: bytes(file.current) for name, file in self.names.items()}

    def lost(self, chance):
        """The files after a power loss, and whether a write in them is torn."""
        mode = chance.choice(["nothing", "last", "some", "some", "most", "everything"])
        keep = {"nothing": 0, "last": 1, "some": 0.5, "most": 0.9, "everything": 1}[mode]
        names = dict(self.durable)
        for change in self.renames:
            if chance.random() < keep:
                rename(names, change)
        torn = False
        files = {}
        for name, file in names.items():
            content = bytearray(file.synced)
            for number, change in enumerate(file.pending):
                is_last = number == len(file.pending) - 1
                risk = {"last": float(is_last), "some": 0.5 if is_last else 0.1, "most": 0.5 if is_last else 0.1}
                tears = chance.random() < risk.get(mode, 0)
                if tears and change.kind == "write":
                    torn |= tear(content, change, chance)
                elif chance.random() < keep:
                    apply(content, change)
                elif change.kind == "write" and chance.random() < 0.5:
                    # The size is on the disk, and the bytes are not.
                    resize(content, max(len(content), change.offset + len(change.data)))
            files[name] = bytes(content)
        return files, torn


def tear(content, change, chance):
    """Writes some of the sectors that a write touches; true if some but not all of them."""
    end = change.offset + len(change.data)
    first = change.offset // SECTOR
    kept = [chance.random() < 0.5 for _ in range(first, (end - 1) // SECTOR + 1)]
    for number, is_kept in enumerate(kept, first):
        start, stop = max(change.offset, number * SECTOR), min(end, (number + 1) * SECTOR)
        if is_kept:
            apply(
                content, change._replace(offset=start, data=change.data[start - change.offset : stop - change.offset])
            )
    if chance.random() < 0.5:
        resize(content, max(len(content), end))
    return any(kept) and not all(kept)
