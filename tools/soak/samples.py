"""What is read of the server each ten seconds, and which of it grows."""

import math
import os
import pathlib
import statistics

# Student's t for 99 % on both sides, by the number of parts less two.
T = {4: 4.60, 5: 4.03, 6: 3.71, 7: 3.50, 8: 3.36, 9: 3.25, 10: 3.17}
PARTS = 10
MIB = 1 << 20
# Smaller than this share of its mean an hour it is no growth that anybody would see.
LEAST = 0.02


def size(path):
    try:
        if path.is_dir():
            return sum(size(entry) for entry in path.iterdir() if not entry.is_symlink())
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def read(server):
    """Of the process and its files."""
    process = pathlib.Path(f"/proc/{server.process.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    stat = (process / "stat").read_text().rpartition(")")[2].split()
    beside = lambda name: size(server.folder / name) / MIB
    return {
        "resident MiB": int(status["VmRSS"].split()[0]) / 1024,
        "own memory MiB": int(status["RssAnon"].split()[0]) / 1024,
        "in use of it MiB": server.bytes_in_use() / MIB,
        "descriptors": len(os.listdir(process / "fd")),
        "threads": int(status["Threads"]),
        "WAL MiB": beside("freshk.db-wal"),
        "database MiB": beside("freshk.db"),
        "log MiB": beside("logs"),
        "backups MiB": beside("backups"),
        "processor s": (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"),
    }


def fit(points):
    """Slope of the least squares, and its standard error."""
    count = len(points)
    x_mean, y_mean = (sum(axis) / count for axis in zip(*points))
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in points) / spread
    rest = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in points)
    return slope, math.sqrt(rest / max(count - 2, 1) / spread)


def slope(points):
    """Slope an hour, its bound of 99 %, and whether that is growth: of the means of ten parts, since what follows each other
    in a day hangs together."""
    each = len(points) / PARTS
    parts = [points[int(part * each) : int((part + 1) * each)] for part in range(PARTS)]
    means = [(statistics.mean(x for x, _ in part), statistics.mean(y for _, y in part)) for part in parts if part]
    if len(means) < 6:
        return None
    by, error = fit(means)
    bound = error * T[len(means) - 2]
    mean = statistics.mean(y for _, y in points)
    return by, bound, abs(by) > bound and abs(by) > abs(mean) * LEAST


def table(samples):
    """Lines for people: first, last, largest, and the slope of the second half, when all that is deleted in time has come to be."""
    names = sorted({name for _, sample in samples for name in sample}, key=lambda name: ("p99" in name, name))
    yield f"{'':<24}{'first':>10}{'last':>10}{'median':>10}{'largest':>10}{'an hour':>12}{'± (99 %)':>11}"
    for name in names:
        points = [(hours, sample[name]) for hours, sample in samples if name in sample]
        values = [value for _, value in points]
        half = [point for point in points if point[0] >= points[-1][0] / 2]
        line = f"{name:<24}{values[0]:>10.1f}{values[-1]:>10.1f}{statistics.median(values):>10.1f}{max(values):>10.1f}"
        found = slope(half)
        if found:
            by, bound, grows = found
            line += f"{by:>+12.2f}{bound:>11.2f}  {('grows' if by > 0 else 'falls') if grows else 'noise'}"
        yield line
