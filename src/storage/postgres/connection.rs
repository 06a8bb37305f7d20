//! Statements on a connection to the server.
//!
//! Each belongs to one thread, which waits: a closure asks and goes on with the answer, as it does of `SQLite`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use postgres_types::{ToSql, Type};

use super::answers::{Answers, Question};
use super::fault::Failure;
use super::keys::{self, Keys, Taken};
use super::row::Row;
use super::wire::{Notice, Wire};

/// What a statement gets.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// One connection.
pub(super) struct Connection {
    wire: RefCell<Wire>,
    statements: RefCell<HashMap<Box<str>, Arc<Statement>>>,
    keys: Keys,
    /// How many statements go with whatever is sent next.
    queued: Cell<usize>,
    /// What was asked ahead.
    answers: RefCell<Answers>,
    is_lost: Cell<bool>,
}

/// A prepared statement.
struct Statement {
    name: String,
    params: Vec<Type>,
    columns: Arc<[Type]>,
}

/// What a statement gave.
#[derive(Default)]
struct Answer {
    rows: Vec<Row>,
    changed: u64,
    /// Whether it was an end of a transaction of which nothing stays.
    is_undone: bool,
}

impl Connection {
    /// On a wire that is logged in.
    pub(super) fn new(wire: Wire, keys: Keys) -> Self {
        Self {
            wire: RefCell::new(wire),
            statements: RefCell::default(),
            keys,
            queued: Cell::new(0),
            answers: RefCell::default(),
            is_lost: Cell::new(false),
        }
    }

    /// How long the server may be silent from now on.
    pub(super) fn wait_at_most(&self, patience: Duration) -> Result<(), Failure> {
        self.wire.borrow_mut().wait_at_most(patience).map_err(Failure::Lost)
    }

    /// What a query gives.
    pub(super) fn rows(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        if let Some(rows) = self.asked_ahead(sql, params)? {
            return Ok(rows);
        }
        let answers = self.exchange(&[(sql, params)])?;
        Ok(answers.into_iter().flat_map(|answer| answer.rows).collect())
    }

    /// How many rows a statement changes.
    pub(super) fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, Failure> {
        Ok(self.exchange(&[(sql, params)])?.iter().map(|answer| answer.changed).sum())
    }

    /// What one statement gives with each of several sets of parameters, all sent at once.
    pub(super) fn rows_of_all(&self, sql: &str, params: &[Params<'_>]) -> Result<Vec<Row>, Failure> {
        let all: Vec<_> = params.iter().map(|params| (sql, *params)).collect();
        let answers = self.exchange(&all)?;
        Ok(answers.into_iter().flat_map(|answer| answer.rows).collect())
    }

    /// Has a statement go with whatever is sent next, which fails if this one does; a read sees what it has written.
    pub(super) fn queue(&self, sql: &str, params: Params<'_>) -> Result<(), Failure> {
        let statement = self.prepared(sql)?;
        self.noting_loss(|wire| bind(&mut wire.output, &statement, params))?;
        self.queued.set(self.queued.get() + 1);
        Ok(())
    }

    /// The same for a statement that must change one row, and only one.
    pub(super) fn queue_one(&self, sql: &str, params: Params<'_>) -> Result<(), Failure> {
        // The server must judge it: what comes after it, an end of the transaction perhaps, is on its way already.
        self.queue(&format!("WITH changed AS ({sql} RETURNING 1) SELECT 1 / count(*) FROM changed"), params)
    }

    /// Ends a transaction, in one exchange with what was queued. It is committed only if all of that succeeds.
    pub(super) fn commit(&self) -> Result<(), Failure> {
        self.answers.borrow_mut().clear();
        match &self.exchange(&[("COMMIT", &[])])?[..] {
            [answer] if !answer.is_undone => Ok(()),
            _ => Err(Failure::Value("the transaction had failed before its end".to_owned())),
        }
    }

    /// Undoes a transaction, whatever was queued in it.
    pub(super) fn roll_back(&self) -> Result<(), Failure> {
        self.answers.borrow_mut().clear();
        self.queued.set(0);
        self.wire.borrow_mut().output.clear();
        self.batch("ROLLBACK")
    }

    /// Statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> Result<(), Failure> {
        if self.queued.get() > 0 {
            // After a failure the server hears nothing up to the end of an exchange, and this is none.
            self.exchange(&[])?;
        }
        self.noting_loss(|wire| {
            frontend::query(sql, &mut wire.output).map_err(|error| Failure::Value(error.to_string()))?;
            wire.send()?;
            until_ready(wire, |_| Ok(()))
        })
    }

    /// Takes a lock that this connection holds until it ends or gives it back, unless another one has it.
    pub(super) fn try_lock(&self, key: i64) -> Result<bool, Failure> {
        let rows = self.rows("SELECT pg_try_advisory_lock($1)", &[&key])?;
        Ok(rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)))
    }

    /// Gives a lock back.
    pub(super) fn unlock(&self, key: i64) -> Result<(), Failure> {
        self.rows("SELECT pg_advisory_unlock($1)", &[&key]).map(drop)
    }

    /// Begins a transaction, takes its locks and asks ahead, in one exchange. The locks have statements of their own: the snapshot of
    /// a statement is older than a lock that it waits for.
    pub(super) fn begin(&self, locks: &[Taken], ahead: &[Question]) -> Result<(), Failure> {
        self.answers.borrow_mut().clear();
        let users = self.keys.users();
        let locks = keys::statements(locks, &users);
        let begin: (&str, Params<'_>) = ("BEGIN", &[]);
        let questions: Vec<_> = ahead.iter().map(|question| (question.sql, question.params())).collect();
        let all: Vec<_> = std::iter::once(begin)
            .chain(locks.iter().map(|(sql, params)| (&**sql, &params[..])))
            .chain(questions.iter().map(|(sql, params)| (*sql, &params[..])))
            .collect();
        let answers = self.exchange(&all)?;
        self.keep(ahead, answers.into_iter().skip(1 + locks.len()))
    }

    /// Asks several questions in one exchange, and keeps the answers until the same is asked again.
    pub(super) fn ask(&self, questions: &[Question]) -> Result<(), Failure> {
        let all: Vec<_> = questions.iter().map(|question| (question.sql, question.params())).collect();
        let all: Vec<_> = all.iter().map(|(sql, params)| (*sql, &params[..])).collect();
        let answers = self.exchange(&all)?;
        self.keep(questions, answers)
    }

    fn keep(&self, questions: &[Question], answers: impl IntoIterator<Item = Answer>) -> Result<(), Failure> {
        for (question, answer) in questions.iter().zip(answers) {
            let sent = question_as_sent(&*self.prepared(question.sql)?, &question.params())?;
            self.answers.borrow_mut().keep(&sent, question, answer.rows);
        }
        Ok(())
    }

    /// Notes that a statement changes what was asked ahead, of one subject where that is known.
    pub(super) fn note_change(&self, sql: &str, subject: Option<&str>) {
        self.answers.borrow_mut().forget(sql, subject);
    }

    /// The answer to what was asked ahead, unless something has changed it since.
    fn asked_ahead(&self, sql: &str, params: Params<'_>) -> Result<Option<Vec<Row>>, Failure> {
        if self.answers.borrow().is_empty() {
            return Ok(None);
        }
        let asked = question_as_sent(&*self.prepared(sql)?, params)?;
        Ok(self.answers.borrow_mut().take(&asked))
    }

    /// What was heard on the channels that this connection listens to; waits for it, though no longer than `patience`.
    pub(super) fn notices(&self, patience: Duration) -> Result<Vec<Notice>, Failure> {
        self.noting_loss(|wire| {
            wire.wait_at_most(patience).map_err(Failure::Lost)?;
            wire.notices()
        })
    }

    /// The numbers of our locks.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether the connection is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.is_lost.get()
    }

    /// Sends statements, each prepared once on each connection, and gives what they gave. The first that fails keeps those
    /// after it from running.
    fn exchange(&self, statements: &[(&str, Params<'_>)]) -> Result<Vec<Answer>, Failure> {
        let prepared: Vec<_> =
            statements.iter().map(|(sql, _)| self.prepared(sql)).collect::<Result<_, _>>()?;
        self.noting_loss(|wire| {
            let before = wire.output.len();
            for (statement, (_, params)) in prepared.iter().zip(statements) {
                bind(&mut wire.output, statement, params).inspect_err(|_| wire.output.truncate(before))?;
            }
            // Their answers come first, and nobody asks for them.
            let queued = self.queued.take();
            frontend::sync(&mut wire.output);
            wire.send()?;
            let mut answers: Vec<Answer> = Vec::with_capacity(queued + prepared.len());
            until_ready(wire, |message| {
                match message {
                    Message::BindComplete => answers.push(Answer::default()),
                    Message::DataRow(body) => {
                        let at = answers.len().checked_sub(queued + 1);
                        if let (Some(answer), Some(statement)) =
                            (answers.last_mut(), at.and_then(|at| prepared.get(at)))
                        {
                            answer.rows.push(Row::new(body, &statement.columns).map_err(Failure::Lost)?);
                        }
                    }
                    Message::CommandComplete(body) => {
                        let tag = body.tag().map_err(Failure::Lost)?;
                        let changed = tag.rsplit(' ').next().and_then(|rows| rows.parse().ok());
                        if let Some(answer) = answers.last_mut() {
                            answer.changed = changed.unwrap_or_default();
                            answer.is_undone = tag == "ROLLBACK";
                        }
                    }
                    _ => {}
                }
                Ok(())
            })?;
            Ok(answers.split_off(queued.min(answers.len())))
        })
    }

    /// A statement, prepared once on each connection.
    fn prepared(&self, sql: &str) -> Result<Arc<Statement>, Failure> {
        if let Some(known) = self.statements.borrow().get(sql) {
            return Ok(Arc::clone(known));
        }
        let name = format!("s{}", self.statements.borrow().len());
        let statement = self.noting_loss(|wire| {
            // What is queued goes with it.
            self.queued.set(0);
            let none = std::iter::empty();
            frontend::parse(&name, sql, none, &mut wire.output)
                .and_then(|()| frontend::describe(b'S', &name, &mut wire.output))
                .map_err(|error| Failure::Value(error.to_string()))?;
            frontend::sync(&mut wire.output);
            wire.send()?;
            let mut statement = Statement { name: name.clone(), params: Vec::new(), columns: Arc::from([]) };
            until_ready(wire, |message| {
                match message {
                    Message::ParameterDescription(body) => {
                        statement.params =
                            body.parameters().map(|oid| Ok(of_oid(oid))).collect().map_err(Failure::Lost)?;
                    }
                    Message::RowDescription(body) => {
                        let columns = body.fields().map(|field| Ok(of_oid(field.type_oid())));
                        statement.columns = columns.collect::<Vec<_>>().map_err(Failure::Lost)?.into();
                    }
                    _ => {}
                }
                Ok(())
            })?;
            Ok(Arc::new(statement))
        })?;
        self.statements.borrow_mut().insert(sql.into(), Arc::clone(&statement));
        Ok(statement)
    }

    /// Talks to the server, and remembers if the connection breaks: what comes after that is nobody's answer.
    fn noting_loss<T>(&self, talk: impl FnOnce(&mut Wire) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.is_lost.get() {
            return Err(Failure::Lost(std::io::ErrorKind::NotConnected.into()));
        }
        let told = talk(&mut self.wire.borrow_mut());
        if let Err(Failure::Lost(_) | Failure::Silent(_)) = &told {
            self.is_lost.set(true);
        }
        told
    }
}

/// Hears everything up to the end of an answer, and gives the first failure in it.
fn until_ready(wire: &mut Wire, mut hear: impl FnMut(Message) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut failed = None;
    loop {
        match wire.receive()? {
            Message::ReadyForQuery(_) => return failed.map_or(Ok(()), Err),
            Message::ErrorResponse(body) => {
                let failure = Failure::of_answer(&body);
                // The server says that it goes, and then nothing more.
                if failure.is_lost() && failure.state().is_some_and(|state| state.starts_with("57P")) {
                    return Err(Failure::Lost(std::io::Error::other(failure.to_string())));
                }
                failed.get_or_insert(failure);
            }
            message => hear(message)?,
        }
    }
}

/// The bytes by which a question is known.
fn question_as_sent(statement: &Statement, params: Params<'_>) -> Result<BytesMut, Failure> {
    let mut asked = BytesMut::new();
    bind(&mut asked, statement, params)?;
    Ok(asked)
}

fn bind(output: &mut BytesMut, statement: &Statement, params: Params<'_>) -> Result<(), Failure> {
    const BINARY: i16 = 1;
    if params.len() != statement.params.len() {
        return Err(Failure::Value(format!("{} of {} are given", params.len(), statement.params.len())));
    }
    let before = output.len();
    let bound = frontend::bind(
        "",
        &statement.name,
        [BINARY],
        params.iter().zip(&statement.params),
        |(param, ty), out| {
            param.to_sql_checked(ty, out).map(|is_null| match is_null {
                postgres_types::IsNull::Yes => postgres_protocol::IsNull::Yes,
                postgres_types::IsNull::No => postgres_protocol::IsNull::No,
            })
        },
        [BINARY],
        output,
    )
    .map_err(|error| match error {
        frontend::BindError::Conversion(error) => error.to_string(),
        frontend::BindError::Serialization(error) => error.to_string(),
    });
    bound.and_then(|()| frontend::execute("", 0, output).map_err(|error| error.to_string())).map_err(
        |reason| {
            output.truncate(before);
            Failure::Value(reason)
        },
    )
}

/// Our tables have types that every server knows.
fn of_oid(oid: u32) -> Type {
    Type::from_oid(oid).unwrap_or(Type::UNKNOWN)
}
