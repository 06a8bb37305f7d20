"""Writes mutants into source text: each stands beside what it replaces, and a number chooses it while the tests run."""

import re

import tree_sitter
import tree_sitter_rust

# `MUTANT` is the number that is on, and `BREAK` the break of `breaks.py`; the file `MUTANT_SEEN` gets a byte at the place of each mutant that was come by.
SWITCH = '''//! Which mutant is on.
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
static SEEN: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];
static NOTES: OnceLock<Option<File>> = OnceLock::new();
static ON: OnceLock<usize> = OnceLock::new();
static BREAK: OnceLock<usize> = OnceLock::new();
pub(crate) fn is(number: usize) -> bool {
    let notes = NOTES.get_or_init(|| File::options().write(true).open(told("MUTANT_SEEN")?).ok());
    if let Some(notes) = notes && !SEEN[number].swap(true, Relaxed) {
        let _ = notes.write_at(b"1", number as u64);
    }
    *ON.get_or_init(|| named("MUTANT")) == number
}
pub(crate) fn breaks(number: usize) -> bool {
    *BREAK.get_or_init(|| named("BREAK")) == number
}
fn named(name: &str) -> usize {
    told(name).and_then(|on| on.parse().ok()).unwrap_or(0)
}
// A test may start the program with variables of its own: then those of the test are looked at, or of whatever started that.
fn told(name: &str) -> Option<String> {
    let mut process = "self".to_owned();
    for _ in 0..6 {
        let variables = fs::read_to_string(format!("/proc/{process}/environ")).ok()?;
        let own = variables.split('\0').find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
        if own.is_some() {
            return own.map(str::to_owned);
        }
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        process = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned();
    }
    None
}
'''

RUST = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))
COMPARISONS = {'<': '<=', '<=': '<', '>': '>=', '>=': '>', '==': '!=', '!=': '=='}
SUMS = {'+': '-', '-': '+'}
ASKING = {'all', 'any', 'filter', 'find', 'is_err_and', 'is_none_or', 'is_ok_and', 'is_some_and', 'position', 'retain', 'skip_while',
          'take_if', 'take_while'}
THEN = {'then', 'then_some'}
# Neither types nor patterns choose anything, and nothing is chosen while the compiler runs.
LEFT_ALONE = {'macro_definition', 'macro_invocation', 'const_item', 'static_item', 'const_block', 'enum_item', 'struct_item', 'use_declaration',
              'attribute_item', 'type_item', 'trait_bounds', 'type_arguments', 'where_clause', 'parameters', 'closure_parameters'}
DONE = {'call_expression', 'try_expression', 'await_expression', 'assignment_expression', 'compound_assignment_expr'}
LEAVE_OUT_NOTHING = re.compile(r'drop\(')


def text(node):
    return node.text.decode()


def defaults(returned, is_whole):
    """What a function of a type may return at once instead of doing anything."""
    if returned is None:
        return ['return']
    if returned == 'bool':
        return ['return true', 'return false']
    if returned.startswith('Option<'):
        return ['return None']
    if found := re.match(r'\w*Result<(.*)>$', returned):
        first = found[1]
        if first == 'bool' or first.startswith('bool,'):
            return ['return Ok(true)', 'return Ok(false)']
        return ['return Ok(Default::default())']
    if returned == '!' or returned.startswith(('impl ', '&mut')) or not is_whole:
        return []
    return ['return Default::default()']


class Writer:
    """Numbers the mutants, save those that are known not to compile. The functions in `constant` stay constant, and have none."""

    def __init__(self, left_out=frozenset(), constant=frozenset()):
        self.mutants, self.left_out, self.constant = [None], left_out, constant

    def file(self, path, source):
        self.path = path
        return self.write(RUST.parse(source.encode()).root_node, source.encode())

    def write(self, node, source):
        """The text of a node with its mutants."""
        self.source = source
        return self.within(node)

    def within(self, node):
        """The text of a node whose parts have their mutants: what is between the parts stays."""
        written, at, is_test = [], node.start_byte, False
        for part in node.children:
            written.append(self.source[at:part.start_byte].decode())
            at = part.end_byte
            if part.type == 'attribute_item':
                is_test |= bool(re.search(r'cfg\((any\()?test|^#\[test', text(part)))
            raw = is_test and part.type not in ('attribute_item', 'line_comment')
            written.append(text(part) if raw else self.node(part))
            is_test = is_test and not raw
        written.append(self.source[at:node.end_byte].decode())
        return ''.join(written)

    def node(self, node):
        writers = {
            'function_item': self.function, 'if_expression': self.condition_in, 'while_expression': self.condition_in,
            'match_pattern': self.guard, 'binary_expression': self.binary, 'let_chain': self.chain,
            'unary_expression': self.unary, 'boolean_literal': self.boolean, 'call_expression': self.call,
            'expression_statement': self.statement, 'closure_expression': self.closure,
        }
        if node.type == 'macro_invocation' and text(node).startswith('matches!'):
            return self.either(node, text(node), ['true', 'false'])
        if node.type in LEFT_ALONE or node.type.endswith('_pattern') and node.type != 'match_pattern' or node.type.endswith('_type'):
            return text(node)
        return writers.get(node.type, self.within)(node)

    def parts(self, node, written):
        """The text of a node where some of its parts, by their place, are written already."""
        out, at = [], node.start_byte
        for part in node.children:
            out.append(self.source[at:part.start_byte].decode())
            out.append(written[part.start_byte] if part.start_byte in written else self.node(part))
            at = part.end_byte
        return ''.join(out) + self.source[at:node.end_byte].decode()

    def function(self, node):
        name, body = text(node.child_by_field_name('name')), node.child_by_field_name('body')
        modifiers = next((part for part in node.children if part.type == 'function_modifiers'), None)
        is_constant = modifiers is not None and 'const' in text(modifiers).split()
        if is_constant and name in self.constant:
            return text(node)
        written = {}
        if is_constant:
            written[modifiers.start_byte] = text(modifiers).replace('const', '', 1).lstrip()
        returned = node.child_by_field_name('return_type')
        inner = [part for part in body.children if part.is_named and 'comment' not in part.type]
        ways = defaults(returned and ' '.join(text(returned).split()), True) if inner else []
        if name == 'fmt' and 'Debug' in text(node.parent.parent).split('{')[0]:
            ways = []
        begun = ''.join(f' if crate::mutant::is({number}) {{ {way}; }}' for way in ways
                        if (number := self.new(node, f'{name}: {way}')))
        written[body.start_byte] = '{' + begun + self.within(body)[1:]
        return self.parts(node, written)

    def condition_in(self, node):
        asked = node.child_by_field_name('condition')
        if text(asked).startswith('crate::mutant::'):
            return text(node)
        if asked.type in ('let_condition', 'let_chain'):
            return self.within(node)
        return self.parts(node, {asked.start_byte: self.condition(asked)})

    def guard(self, node):
        asked = node.child_by_field_name('condition')
        if asked is None:
            return text(node)
        written = self.within(asked) if asked.type in ('let_condition', 'let_chain') else self.condition(asked)
        return self.source[node.start_byte:asked.start_byte].decode() + written

    def chain(self, node):
        return self.parts(node, {part.start_byte: self.condition(part) for part in node.children
                                 if part.is_named and part.type not in ('let_condition', 'let_chain', 'line_comment')})

    def condition(self, node):
        """Something that is asked: as it is, always true and always false; what is turned round within it is among these."""
        if node.type == 'unary_expression' or node.type == 'binary_expression' and node.child(1).type in ('==', '!='):
            written = self.within(node)
        elif node.type == 'macro_invocation':
            written = text(node)
        else:
            written = self.node(node)
        return self.either(node, written, ['true', 'false'])

    def binary(self, node):
        left, operator, right = (node.child_by_field_name(part) for part in ('left', 'operator', 'right'))
        sign, others = operator.type, []
        if sign in COMPARISONS | SUMS:
            others = [f'{text(left)} {(COMPARISONS | SUMS)[sign]} {text(right)}']
        elif sign in ('&&', '||'):
            others = [text(left), text(right)]
        return self.either(node, self.within(node), others)

    def unary(self, node):
        others = [text(node.child(1))] if node.child(0).type == '!' else []
        return self.either(node, self.within(node), others)

    def boolean(self, node):
        return self.either(node, text(node), ['false' if text(node) == 'true' else 'true'])

    def call(self, node):
        called = node.child_by_field_name('function')
        if called.type == 'field_expression' and text(called.child_by_field_name('field')) in THEN:
            asked = called.child_by_field_name('value')
            end = self.source[asked.end_byte:called.end_byte].decode()
            return self.parts(node, {called.start_byte: self.condition(asked) + end})
        return self.within(node)

    def closure(self, node):
        call, body = node.parent.parent, node.child_by_field_name('body')
        called = call.child_by_field_name('function') if call and call.type == 'call_expression' else None
        name = called and called.child_by_field_name('field')
        if name and text(name) in ASKING and body.type not in ('block', 'async_block', 'struct_expression'):
            return self.parts(node, {body.start_byte: self.condition(body)})
        return self.within(node)

    def statement(self, node):
        done = node.child(0)
        if done.type not in DONE or node.child_count != 2 or LEAVE_OUT_NOTHING.match(text(done)):
            return self.within(node)
        written, number = self.within(node), self.new(node, f'without {text(node)}')
        return f'if crate::mutant::is({number}) {{}} else {{ {written} }}' if number else written

    def either(self, node, written, others):
        """What is written, or one of its mutants."""
        before = written
        for other in others:
            if number := self.new(node, f'{text(node)} -> {other}'):
                written = f'if crate::mutant::is({number}) {{ {other} }} else {{ {written} }}'
        return written if written == before else f'({written})'

    def new(self, node, what):
        line, column = node.start_point
        mutant = f'{self.path}:{line + 1}:{column + 1}: {" ".join(what.split())}'
        if mutant in self.left_out:
            return None
        self.mutants.append(mutant)
        return len(self.mutants) - 1


def extents(source):
    """Where each mutant stands in written text: the whole of its choice, and its own branch; in bytes."""
    found, waiting = {}, [RUST.parse(source).root_node]
    while waiting:
        node = waiting.pop()
        waiting += node.children
        if node.type == 'if_expression' and (asked := re.match(rb'if crate::mutant::is\((\d+)\)', node.text)):
            own = node.child_by_field_name('consequence')
            found[int(asked[1])] = (node.start_byte, node.end_byte, own.start_byte, own.end_byte)
    return found
