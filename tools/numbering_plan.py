#!/usr/bin/env python3
"""Writes the world's numbering plan, for src/domain/country.rs and src/domain/plan.rs.

    pip install phonenumbers
    python3 tools/numbering_plan.py

The source is the metadata of Google's libphonenumber (https://github.com/google/libphonenumber, Apache License 2.0), as
the PyPI package `phonenumbers` carries it. What is written has the package's version in it.

Three files are written:

* `country/intervals.rs`: which country a number belongs to, as a list of intervals of the first nine digits.
* `plan/numbers.bin`: which numbers are assigned to a telephone, as a minimal automaton that reads one digit after the other.
  Premium, shared cost and pager numbers are not in it.
* `plan/examples.txt`: the example numbers that come with the metadata, for the tests.
"""

import functools
import pathlib
import struct
import sys

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

OUT = pathlib.Path(__file__).resolve().parent.parent / "src" / "domain"

# In the order in which libphonenumber asks (phonenumberutil._number_type_helper): the first that fits decides.
TYPES = [
    "premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail",
    "fixed_line", "mobile",
]
REFUSED = {"premium_rate", "shared_cost", "pager"}
# E.164 allows fifteen digits.
MOST_DIGITS = 15
# How many digits, calling code included, tell countries apart.
PREFIX = 9


# Regular expressions: digits, \d, [..], (?:..), |, ?, {n}, {n,m}. Nothing else occurs in the metadata.
def parse(pattern):
    """A tree: ("set", digits), ("cat", [..]), ("alt", [..]), ("rep", tree, least, most)."""
    at = 0

    def alternatives():
        nonlocal at
        branches = [sequence()]
        while at < len(pattern) and pattern[at] == "|":
            at += 1
            branches.append(sequence())
        return branches[0] if len(branches) == 1 else ("alt", branches)

    def sequence():
        nonlocal at
        items = []
        while at < len(pattern) and pattern[at] not in "|)":
            items.append(quantified(atom()))
        return ("cat", items)

    def atom():
        nonlocal at
        if pattern.startswith("(?:", at):
            at += 3
            inner = alternatives()
            assert pattern[at] == ")"
            at += 1
            return inner
        if pattern.startswith("\\d", at):
            at += 2
            return ("set", frozenset(range(10)))
        if pattern[at] == "[":
            end = pattern.index("]", at)
            digits, text = set(), pattern[at + 1 : end]
            i = 0
            while i < len(text):
                if i + 2 < len(text) and text[i + 1] == "-":
                    digits |= set(range(int(text[i]), int(text[i + 2]) + 1))
                    i += 3
                else:
                    digits.add(int(text[i]))
                    i += 1
            at = end + 1
            return ("set", frozenset(digits))
        digit = int(pattern[at])
        at += 1
        return ("set", frozenset([digit]))

    def quantified(tree):
        nonlocal at
        if at < len(pattern) and pattern[at] == "?":
            at += 1
            return ("rep", tree, 0, 1)
        if at < len(pattern) and pattern[at] == "{":
            end = pattern.index("}", at)
            bounds = [int(n) for n in pattern[at + 1 : end].split(",")]
            at = end + 1
            return ("rep", tree, bounds[0], bounds[-1])
        return tree

    tree = alternatives()
    assert at == len(pattern), pattern
    return tree


class Nfa:
    """Thompson's construction: states are numbers, `moves` go over digits and `free` over nothing."""

    def __init__(self):
        self.moves, self.free = [], []

    def state(self):
        self.moves.append([])
        self.free.append([])
        return len(self.moves) - 1

    def build(self, tree, start):
        kind = tree[0]
        if kind == "set":
            end = self.state()
            self.moves[start].append((tree[1], end))
            return end
        if kind == "cat":
            for part in tree[1]:
                start = self.build(part, start)
            return start
        if kind == "alt":
            end = self.state()
            for branch in tree[1]:
                self.free[self.build(branch, start)].append(end)
            return end
        _, inner, least, most = tree
        for _ in range(least):
            start = self.build(inner, start)
        end = self.state()
        self.free[start].append(end)
        for _ in range(most - least):
            start = self.build(inner, start)
            self.free[start].append(end)
        return end

    def closure(self, states):
        seen, todo = set(states), list(states)
        while todo:
            for state in self.free[todo.pop()]:
                if state not in seen:
                    seen.add(state)
                    todo.append(state)
        # States that only pass on over nothing say nothing by themselves.
        return frozenset(s for s in seen if self.moves[s] or s in self.ends)

    def step(self, states, digit):
        return self.closure([end for s in states for digits, end in self.moves[s] if digit in digits])


class Code:
    """All patterns of the countries behind one calling code, read side by side."""

    def __init__(self, code, regions):
        self.code, self.regions = code, regions
        self.nfa = Nfa()
        self.nfa.ends = {}
        starts = []
        self.leading = [False] * len(regions)
        for number, region in enumerate(regions):
            meta = metadata(code, region)
            patterns = [("general", meta.general_desc), *((kind, getattr(meta, kind)) for kind in TYPES)]
            for kind, desc in patterns:
                if desc is None or not desc.national_number_pattern:
                    continue
                lengths = frozenset(desc.possible_length) or frozenset(meta.general_desc.possible_length)
                starts.append(self.add(desc.national_number_pattern, (number, kind, lengths)))
            if meta.leading_digits and len(regions) > 1:
                self.leading[number] = True
                starts.append(self.add(meta.leading_digits, (number, "leading", None)))
        self.start = self.nfa.closure(starts)

    def add(self, pattern, meaning):
        start = self.nfa.state()
        end = self.nfa.build(parse(pattern), start)
        # One final state each, which nothing leaves.
        final = self.nfa.state()
        self.nfa.free[end].append(final)
        self.nfa.ends[final] = meaning
        if meaning[1] == "leading":
            # Leading digits decide whatever follows them.
            self.nfa.moves[final].append((frozenset(range(10)), final))
        return start

    def ends(self, states):
        return [self.nfa.ends[s] for s in states if s in self.nfa.ends]

    def region(self, states, length):
        """The country of a whole number, as libphonenumber's region_code_for_number has it; None: of none."""
        ends = self.ends(states)
        for number in range(len(self.regions)):
            if self.leading[number]:
                if any(n == number and kind == "leading" for n, kind, _ in ends):
                    return number
            elif len(self.regions) == 1 or self.kind(ends, number, length):
                return number
        return None

    def kind(self, ends, number, length):
        fits = {kind for n, kind, lengths in ends if n == number and lengths and length in lengths}
        if "general" not in fits:
            return None
        return next((kind for kind in TYPES if kind in fits), None)

    def assigned(self, states, length):
        """Whether a whole number is a telephone's."""
        number = self.region(states, length)
        kind = None if number is None else self.kind(self.ends(states), number, length)
        return kind is not None and kind not in REFUSED

    def alive(self, states):
        """The countries that a number that begins so may belong to, in libphonenumber's order."""
        # The general pattern says nothing of the country: that of the United States takes all of North America.
        reachable = {(n, kind) for n, kind in (self.meaning[s] for s in states) if kind != "general"}
        matched = {n for n, kind, _ in self.ends(states) if kind == "leading"}
        found = []
        for number in range(len(self.regions)):
            wanted = "leading" if self.leading[number] else "other"
            if any(n == number and ("leading" if kind == "leading" else "other") == wanted for n, kind in reachable):
                found.append(number)
                if number in matched:
                    break
        return found

    @functools.cached_property
    def meaning(self):
        """Of each state, whose pattern it belongs to."""
        found = {}
        back = {}
        for state, moves in enumerate(self.nfa.moves):
            for _, end in moves:
                back.setdefault(end, []).append(state)
            for end in self.nfa.free[state]:
                back.setdefault(end, []).append(state)
        for final, (number, kind, _) in self.nfa.ends.items():
            todo = [final]
            while todo:
                state = todo.pop()
                if state not in found:
                    found[state] = (number, kind)
                    todo.extend(back.get(state, []))
        return found


def metadata(code, region):
    if region == "001":
        return PhoneMetadata.metadata_for_nongeo_region(code)
    return PhoneMetadata.metadata_for_region(region)


def countries(codes):
    """Intervals [(first nine digits, country or None)], each up to the next."""
    found = {}

    def shape(code, states, left, memo):
        """The country of all numbers that go on from here, or what it is after each of the ten digits."""
        key = (states, left)
        if key not in memo:
            alive = code.alive(states)
            if len(alive) < 2 or left == 0:
                # Digits that no country has been given belong to the first, whose numbers are by far the most.
                memo[key] = code.regions[alive[0] if alive else 0]
            else:
                after = tuple(shape(code, code.nfa.step(states, digit), left - 1, memo) for digit in range(10))
                same = all(country == after[0] for country in after)
                memo[key] = after[0] if same else after
        return memo[key]

    def note(prefix, country):
        if isinstance(country, tuple):
            for digit in range(10):
                note(prefix + str(digit), country[digit])
        else:
            width = 10 ** (PREFIX - len(prefix))
            found[int(prefix) * width] = country
            found.setdefault((int(prefix) + 1) * width, None)

    for code in codes:
        if code.regions[0] != "001":
            prefix = str(code.code)
            note(prefix, shape(code, code.start, PREFIX - len(prefix), {}))
    intervals, before = [], None
    for start, country in sorted(found.items()):
        if country != before:
            intervals.append((start, country))
            before = country
    return intervals


def automaton(codes):
    """States of ten successors each, minimal; state 0 refuses everything, the last one is the start."""
    numbers, rows = {}, []

    def intern(row):
        if row not in numbers:
            numbers[row] = len(rows)
            rows.append(row)
        return numbers[row]

    dead = intern((False, (0,) * 10))
    assert dead == 0

    def national(code):
        memo = {}

        def build(states, length):
            if not states or len(str(code.code)) + length > MOST_DIGITS:
                return 0
            key = (states, length)
            if key not in memo:
                after = tuple(build(code.nfa.step(states, digit), length + 1) for digit in range(10))
                memo[key] = intern((code.assigned(states, length), after))
            return memo[key]

        return build(code.start, 0)

    starts = {str(code.code): national(code) for code in codes}

    def calling(prefix):
        if prefix in starts:
            return starts[prefix]
        if not any(code.startswith(prefix) for code in starts):
            return 0
        return intern((False, tuple(calling(prefix + str(digit)) for digit in range(10))))

    start = calling("")
    assert start == len(rows) - 1
    return rows


def accepts(rows, digits):
    state = len(rows) - 1
    for digit in digits:
        state = rows[state][1][int(digit)]
    return rows[state][0]


def write_countries(intervals):
    lines = [
        "//! Written by `tools/numbering_plan.py`; not to be changed by hand.",
        "//!",
        f"//! Source: the metadata of Google's libphonenumber, version {phonenumbers.__version__} (Apache License 2.0).",
        "",
        "/// From which nine digits on numbers belong to which country; two spaces: to none.",
        "#[rustfmt::skip]",
        "pub(super) static INTERVALS: &[(u32, [u8; 2])] = &[",
    ]
    items = [f'({start:_}, *b"{country or "  "}"),' for start, country in [(0, None), *intervals]]
    for at in range(0, len(items), 6):
        lines.append("    " + " ".join(items[at : at + 6]))
    lines.append("];\n")
    (OUT / "country" / "intervals.rs").write_text("\n".join(lines))


def write_automaton(rows):
    assert len(rows) <= 1 << 15, len(rows)
    data = bytearray()
    for accepted, after in rows:
        # The highest bit of the first successor says whether a number may end here.
        data += struct.pack("<10H", after[0] | (accepted << 15), *after[1:])
    (OUT / "plan" / "numbers.bin").write_bytes(data)
    return len(data)


def write_examples():
    lines = [
        "# Written by tools/numbering_plan.py: the example numbers of libphonenumber's metadata, version "
        f"{phonenumbers.__version__} (Apache License 2.0).",
        "# country, kind, number; kinds with an exclamation mark are refused.",
    ]
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        meta = PhoneMetadata.metadata_for_region(region)
        for kind in TYPES:
            desc = getattr(meta, kind)
            if desc is None or not desc.example_number:
                continue
            number = phonenumbers.parse("+" + str(meta.country_code) + desc.example_number)
            text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            actual = phonenumbers.number_type(number)
            names = phonenumbers.PhoneNumberType
            refused = actual in (names.PREMIUM_RATE, names.SHARED_COST, names.PAGER, names.UNKNOWN)
            lines.append(
                f"{phonenumbers.region_code_for_number(number)} {kind}{'!' if refused else ''} {text}"
            )
    (OUT / "plan" / "examples.txt").write_text("\n".join(lines) + "\n")


def main():
    sys.setrecursionlimit(10_000)
    for folder in ("country", "plan"):
        (OUT / folder).mkdir(exist_ok=True)
    codes = [Code(code, list(regions)) for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()]
    intervals = countries(codes)
    write_countries(intervals)
    rows = automaton(codes)
    size = write_automaton(rows)
    write_examples()
    print(f"{len(intervals)} intervals, {len(rows)} states, {size} bytes")
    return intervals, rows


if __name__ == "__main__":
    main()
