"""Mutation testing with one build: all mutants are in it, and a variable of the environment chooses one.

    pip install tree-sitter tree-sitter-rust
    python3 tools/mutants --work /dev/shm/mutants --jobs 2 'src/auth/*.rs' 'src/domain/session.rs'

Copies the tree below --work, writes the mutants into the copy, builds its unit tests, runs each test once without a mutant to
see how long it takes and which mutants it comes by, and then for each mutant the tests that come by it, until one fails: those of
its own room first, the quick ones before the others. Without files it takes the most dangerous ones first. Results are kept in
results.jsonl below --work and not found again; exit code 1 where a mutant survives. With --with api the tests of the API come after
those, with --with ops --with cli --with serve also those that run the program itself. With TEST_POSTGRES=1 those that need PostgreSQL
come, too, and --with cluster those of several servers.
"""

import argparse
import collections
import concurrent.futures
import glob
import itertools
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import breaks
from writer import SWITCH, Writer, extents

# Who gets in, who is out, what is paid, in this order; then all that the flows rest on.
FILES = [f'src/auth/{name}.rs' for name in (
    'verify proof attempt request intent refresh exchange presenter sessions ending erasure change_phone phone_change quota gate '
    'guard status repetition settle deletion devices opening dormant').split()] + [
    'src/tokens/**/*.rs', 'src/limits/**/*.rs', 'src/domain/*.rs', 'src/auth/**/*.rs', 'src/events/**/*.rs', 'src/domain/**/*.rs']

# These need a server of another program.
LEFT_OUT = re.compile('redis' if os.environ.get('TEST_POSTGRES') else 'postgres|redis', re.IGNORECASE)
FEWER = {'TEST_SCHEDULES': '100', 'TEST_MODEL': '0..10', 'RUST_BACKTRACE': '0', 'PROPTEST_CASES': '64'}
NEEDED = ('src/', 'tests/', 'benches/', 'docs/', 'deploy/', 'clients/', 'examples/', 'fuzz/', 'tools/', '.ci/', '.cargo/')
# Seconds of tests that run together: most mutants go no further than the first.
ROUNDS = [2, 10, 60, 1000]


def write(path, new):
    """Leaves a file alone that has this text: cargo goes by the time of its last change."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != new:
        path.write_bytes(new)


def copy(tree, target, changed):
    listed = subprocess.run(['git', 'ls-files'], cwd=tree, check=True, capture_output=True, text=True).stdout
    for name in listed.splitlines():
        if name not in changed and ('/' not in name or name.startswith(NEEDED)):
            write(target / name, (tree / name).read_bytes())


def cargo(target, *arguments):
    done = subprocess.run(['cargo', *arguments, '--locked', '--message-format=json'], cwd=target, capture_output=True, text=True)
    return done, [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{')]


def programs(messages, work):
    """Copies of the programs of tests that were built, by what the names of their tests begin with here: nothing for unit tests, else the
    suite. A folder of targets that is shared gets other programs of the same names. FreshK itself, which is built beside them, is no test."""
    built = [message for message in messages if message.get('executable') and message['profile']['test']]
    return {f'{target["name"]}/' if (target := message['target'])['kind'] == ['test'] else '': shutil.copy2(message['executable'], work)
            for message in built}


def blamed(error, files, target, mutants):
    """The mutants that an error of the compiler is about: whose own text it is in, else whose choice, else whose line."""
    ways = [set(), set(), set()]
    for span in error['spans']:
        name = span['file_name']
        if name not in files:
            continue
        start, end = span['byte_start'], span['byte_end']
        for number, (begin, stop, own, own_end) in extents((target / name).read_bytes()).items():
            if own <= start and end <= own_end:
                ways[0].add(mutants[number])
            elif start < stop and begin < end:
                ways[1].add(mutants[number])
        lines = range(span['line_start'], span['line_end'] + 1)
        ways[2] |= {mutant for mutant in mutants[1:] if mutant.split(':')[0] == name and int(mutant.split(':')[1]) in lines}
    return next(filter(None, ways), set())


def build(tree, target, files, work, tests):
    """Builds the tests with all mutants that compile; gives the programs and the mutants."""
    kept = work / 'compiles.json'
    known = json.loads(kept.read_text()) if kept.exists() else {'left_out': [], 'constant': []}
    left_out, constant = set(known['left_out']), set(known['constant'])
    while True:
        copy(tree, target, {*files, *breaks.files(), 'src/lib.rs'})
        writer = Writer(left_out, constant)
        for name in [*files, *sorted(breaks.files() - set(files))]:
            source = breaks.broken(name, (tree / name).read_text())
            write(target / name, (writer.file(name, source) if name in files else source).encode())
        write(target / 'src/mutant.rs', SWITCH.replace('COUNT', str(len(writer.mutants))).encode())
        library = (tree / 'src/lib.rs').read_text()
        write(target / 'src/lib.rs', library.replace('pub mod metrics;', 'pub mod metrics;\nmod mutant;').encode())
        print(f'{len(writer.mutants) - 1} mutants; compiling', flush=True)
        done, messages = cargo(target, 'check', '--profile', 'test', '--lib')
        if done.returncode == 0:
            done, messages = cargo(target, 'test', '--no-run', *tests)
        if done.returncode == 0:
            return programs(messages, work), writer.mutants
        errors = [message['message'] for message in messages if message.get('message', {}).get('level') == 'error']
        named = {found[1].split('::')[-1] for error in errors
                 if (found := re.search(r'cannot call non-const .*? `([^`]*)`', error['message']))}
        bad = {mutant for error in errors for mutant in blamed(error, files, target, writer.mutants)
               if 'cannot call non-const' not in error['message']}
        if not bad - left_out and not named - constant:
            sys.exit('\n'.join(error['rendered'] for error in errors[:10]) or done.stderr[-3000:])
        print(f'{len(bad - left_out)} do not compile; stay constant: {len(named - constant)}', flush=True)
        left_out, constant = left_out | bad, constant | named
        kept.write_text(json.dumps({'left_out': sorted(left_out), 'constant': sorted(constant)}))


def bound():
    """No mutant takes all memory."""
    resource.setrlimit(resource.RLIMIT_DATA, (6 << 30, 6 << 30))


class Runs:
    """Runs of the tests, whose programs were built."""

    def __init__(self, programs, target, work):
        self.programs, self.target, self.work = programs, target, work

    def run(self, tests, limit, **extra):
        """What goes wrong when these tests of one program run: the first that fails; none where they all pass."""
        environment = FEWER | os.environ | {'TMPDIR': str(self.scratch()), **extra}
        kind = kind_of(tests[0])
        command = [self.programs[kind], '--exact', *(test.removeprefix(kind) for test in tests), '--test-threads', '1']
        run = subprocess.Popen(command, cwd=self.target, env=environment, text=True, errors='replace', stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=bound)
        late, verdict = threading.Event(), None

        def stop():
            late.set()
            os.killpg(run.pid, signal.SIGKILL)

        watch = threading.Timer(limit, stop)
        watch.start()
        for line in run.stdout:
            if line.rstrip().endswith('FAILED') and line.startswith('test '):
                verdict = kind + line.split()[1]
                os.killpg(run.pid, signal.SIGKILL)
                break
        run.stdout.close()
        code = run.wait()
        watch.cancel()
        return verdict or ('too late' if late.is_set() else f'exit {code}' if code else None)

    def printed(self, tests, **extra):
        environment = os.environ | {'TMPDIR': str(self.scratch()), **extra}
        done = subprocess.run([self.programs[''], '--exact', *tests], cwd=self.target, env=environment, capture_output=True, text=True,
                              errors='replace')
        return done.stdout

    def scratch(self):
        (self.work / 'tmp').mkdir(exist_ok=True)
        return self.work / 'tmp'

    def tests(self):
        found = []
        for kind, program in self.programs.items():
            listed = subprocess.run([program, '--list', '--format', 'terse'], cwd=self.target, capture_output=True, text=True).stdout
            found += [kind + line.removesuffix(': test') for line in listed.splitlines() if line.endswith(': test')]
        return found

    def watch(self, test, mutants):
        """A test without a mutant: how long it takes, and which mutants it comes by."""
        seen = self.work / f'seen.{threading.get_ident()}'
        seen.write_bytes(b'')
        begun = time.monotonic()
        fault = self.run([test], 120, MUTANT='0', MUTANT_SEEN=str(seen))
        seconds, reached = time.monotonic() - begun, seen.read_bytes()
        return {'test': test, 'fault': fault, 'seconds': round(seconds, 3),
                'reached': [mutants[number] for number, byte in enumerate(reached) if byte and number < len(mutants)]}

    def judge(self, number, tests, baseline, name, most):
        """What finds a mutant of a file, in so many seconds of tests of each kind."""
        room = f'{name.split("/")[1].removesuffix(".rs")}::'
        for kind in sorted(self.programs, key=lambda kind: kind != ''):
            waiting = [test for test in tests if kind_of(test) == kind]
            # A suite has tests of everything: those first that come by the most of the file.
            by_room = {test: not test.startswith(room) if kind == '' else -baseline[test]['depth'][name] for test in waiting}
            waiting.sort(key=lambda test: (by_room[test], baseline[test]['seconds']))
            taken = list(itertools.accumulate(baseline[test]['seconds'] for test in waiting))
            waiting = [test for test, seconds in zip(waiting, taken) if seconds <= most]
            for allowed in ROUNDS:
                batch, sum_of = [], 0
                while waiting and (not batch or sum_of + baseline[waiting[0]]['seconds'] <= allowed):
                    sum_of += baseline[waiting[0]]['seconds']
                    batch.append(waiting.pop(0))
                limit = 20 + 5 * sum_of
                verdict = batch and self.run(batch, limit, MUTANT=str(number))
                # Where several processes take turns a test may fail for itself.
                if verdict and (kind == '' or self.run(batch, limit, MUTANT=str(number))):
                    return verdict
        return None


def kind_of(test):
    """The suite of a test, with a slash; nothing for a unit test, whose name has none."""
    return test[:test.find('/') + 1]


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def try_breaks(runs, schedules, results):
    """How many schedules of the model it takes until each break is found."""
    known = {entry['break']: entry for entry in lines_of(results.path)}
    for number, (what, *_) in enumerate(breaks.BREAKS, 1):
        for first in range(0, schedules, 50):
            if what in known:
                break
            last = min(first + 50, schedules)
            printed = runs.printed([breaks.TEST], BREAK=str(number), TEST_MODEL=f'{first}..{last}')
            if (found := breaks.FOUND.search(printed)) or last == schedules:
                known[what] = {'break': what, 'schedules': int(found[1]) + 1 if found else None, 'tail': printed[-1500:]}
                results.add(known[what])
        print(f'{known[what]["schedules"] or "not found"}: {what}', flush=True)


class Kept:
    """Lines of a file that threads append to."""

    def __init__(self, path):
        self.path, self.lock = path, threading.Lock()

    def add(self, entry):
        with self.lock, self.path.open('a') as file:
            file.write(json.dumps(entry) + '\n')


def chosen(patterns):
    """The files, in the order of the patterns."""
    found = {}
    for pattern in patterns:
        names = sorted(glob.glob(pattern, recursive=True))
        found |= {name: None for name in names if 'tests' not in name and 'sample' not in name and name.endswith('.rs')}
    return list(found)


def report(files, mutants, known):
    total = {'found': 0, 'survives': 0, 'unreached': 0}
    for name in files:
        own = [known[mutant] for mutant in mutants if mutant.startswith(f'{name}:') and mutant in known]
        count = {kind: sum(one['is'] == kind for one in own) for kind in total}
        total = {kind: total[kind] + count[kind] for kind in total}
        if own:
            by_suites = sum(kind_of(one['by'] or '') != '' for one in own)
            print(f'{name}: {count["found"]} of {len(own)}, by no unit test: {by_suites}; reached by no test: {count["unreached"]}')
    tried = sum(total.values())
    print(f'{total["found"]} of {tried} mutants found; survive: {total["survives"]}, reached by no test: {total["unreached"]}')


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('files', nargs='*', metavar='FILE', default=FILES, help='what is mutated, as globs; tests are left out')
    options.add_argument('--work', required=True, type=pathlib.Path, help='a folder, in memory if there is room')
    options.add_argument('--jobs', type=int, default=1, help='tests or mutants that run at once')
    options.add_argument('--again', action='store_true', help='tries only those that survived before, or that no test reached')
    options.add_argument('--with', action='append', default=[], metavar='SUITE', dest='suites',
                         help='tries what the unit tests leave with a suite of integration tests: api, ops, cli, serve, cluster')
    options.add_argument('--most', type=float, default=1000, metavar='SECONDS', help='of tests of each kind for one mutant')
    options.add_argument('--tests', default='', help='a pattern of the tests that run; the others are as if they were not there')
    options.add_argument('--breaks', type=int, metavar='SCHEDULES', help='tries the breaks of breaks.py on so many of the model instead')
    options.add_argument('--list', action='store_true', help='prints the mutants, also those that do not compile, and ends')
    asked = options.parse_args()
    tree, target, files = pathlib.Path.cwd(), asked.work / 'tree', chosen(asked.files)
    if asked.list:
        writer = Writer()
        for name in files:
            writer.file(name, (tree / name).read_text())
        return print('\n'.join(writer.mutants[1:]))
    asked.work.mkdir(parents=True, exist_ok=True)
    wanted = ['--lib', *(f'--test={suite}' for suite in asked.suites)]
    built, mutants = build(tree, target, files, asked.work, wanted)
    runs, pool = Runs(built, target, asked.work), concurrent.futures.ThreadPoolExecutor(asked.jobs)
    if asked.breaks:
        return try_breaks(runs, asked.breaks, Kept(asked.work / 'breaks.jsonl'))
    noted = Kept(asked.work / 'baseline.jsonl')
    baseline = {entry['test']: entry for entry in lines_of(noted.path)}
    tests = [test for test in runs.tests() if not LEFT_OUT.search(test) and re.search(asked.tests, test)]

    def first(test):
        if test not in baseline:
            baseline[test] = runs.watch(test, mutants)
            noted.add(baseline[test])

    list(pool.map(first, tests))
    for test in tests:
        if baseline[test]['fault']:
            print(f'left out, fails without a mutant: {test}: {baseline[test]["fault"]}', flush=True)
        baseline[test]['depth'] = collections.Counter(mutant.split(':')[0] for mutant in baseline[test]['reached'])
    reaching, reached = {}, {mutant for entry in baseline.values() for mutant in entry['reached']}
    for test in (test for test in tests if not baseline[test]['fault']):
        for mutant in baseline[test]['reached']:
            reaching.setdefault(mutant, []).append(test)
    results = Kept(asked.work / 'results.jsonl')
    known = {entry['mutant']: entry for entry in lines_of(results.path)}

    def second(number, mutant):
        before = known.get(mutant)
        if (before is None or before['is'] == 'found') if asked.again else before:
            return
        by = runs.judge(number, reaching.get(mutant, []), baseline, mutant.split(':')[0], asked.most)
        kind = 'found' if by else 'survives' if mutant in reached else 'unreached'
        known[mutant] = {'mutant': mutant, 'is': kind, 'by': by}
        results.add(known[mutant])
        if kind != 'found':
            print(f'{kind}: {mutant}', flush=True)

    list(pool.map(second, range(1, len(mutants)), mutants[1:]))
    report(files, mutants[1:], known)
    sys.exit(any(entry['is'] != 'found' for entry in known.values()))


if __name__ == '__main__':
    main()
