//! Runs an operator's command as a child: bounded, in a process group of its own, and with the end of what it printed.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio_util::sync::CancellationToken;

use super::output::escaped;
use crate::clock::Stopwatch;
use crate::config::key::Key;
use crate::config::keys;
use crate::sync::lock;

/// How often it is looked whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long it has to end by itself once it is told to.
const GRACE: Duration = Duration::from_secs(1);

/// How long its last output is waited for; a process that it left may keep the pipe open.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// How much of its output is kept, in bytes, lines and characters of a line.
const KEPT: usize = 4096;
const LINES: usize = 10;
const LINE: usize = 300;

/// Why a command did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("{program} could not be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with a failure.
    #[error("{program} ended with {status}{}", printed(output))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// It did not end in time, and was ended.
    #[error("{program} did not end within {}, and was ended{}", humantime::format_duration(*bound), printed(output))]
    TooLong {
        /// The program.
        program: String,
        /// How long it had.
        bound: Duration,
        /// The end of what it printed.
        output: String,
    },
    /// Whoever ran it was told to stop, and it was ended.
    #[error("{program} was ended, because freshk was told to stop")]
    Stopped {
        /// The program.
        program: String,
    },
}

fn printed(output: &str) -> String {
    if output.is_empty() { "; it printed nothing".to_owned() } else { format!("; it printed:\n{output}") }
}

/// Runs a program until it ends, for `bound` at most or until `stop`; whatever it has started and left goes with it. It has
/// the environment of this process without the variables of the configuration, which hold secrets.
///
/// # Errors
/// [`ChildError`]
pub fn run(words: &[String], bound: Duration, stop: &CancellationToken) -> Result<(), ChildError> {
    let program = words.first().cloned().unwrap_or_default();
    let (mut group, tail) =
        Group::start(words).map_err(|source| ChildError::Start { program: program.clone(), source })?;
    let watch = Stopwatch::start();
    let outcome = loop {
        if group.has_ended() {
            break None;
        }
        if stop.is_cancelled() {
            break Some(ChildError::Stopped { program: program.clone() });
        }
        if watch.elapsed() >= bound {
            break Some(ChildError::TooLong { program: program.clone(), bound, output: String::new() });
        }
        thread::sleep(LOOK_AGAIN);
    };
    let ended = group.end().map_err(|source| ChildError::Start { program: program.clone(), source })?;
    match outcome {
        Some(ChildError::TooLong { program, bound, .. }) => {
            Err(ChildError::TooLong { program, bound, output: tail.text() })
        }
        Some(error) => Err(error),
        None if ended.success() => Ok(()),
        None => Err(ChildError::Failed { program, status: ended, output: tail.text() }),
    }
}

/// A child and what it starts.
struct Group {
    child: Child,
    is_over: bool,
}

impl Group {
    fn start(words: &[String]) -> io::Result<(Self, Tail)> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(words.first().map_or("", String::as_str));
        command.args(words.iter().skip(1)).process_group(0);
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        for name in keys::all().flat_map(Key::every_variable) {
            command.env_remove(name);
        }
        let child = command.spawn()?;
        Ok((Self { child, is_over: false }, Tail::of(reader)))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether the child itself has ended. It is not reaped yet, so that its number stays its own.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid()), options), Ok(None))
    }

    /// Ends what still runs, first by asking.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if !self.has_ended() {
            // A process that is gone meanwhile is no fault.
            let _ = kill_process_group(self.pid(), Signal::TERM);
            let watch = Stopwatch::start();
            while !self.has_ended() && watch.elapsed() < GRACE {
                thread::sleep(LOOK_AGAIN);
            }
        }
        let _ = kill_process_group(self.pid(), Signal::KILL);
        self.is_over = true;
        self.child.wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_over {
            drop(self.end());
        }
    }
}

/// The end of what comes out of a pipe; all of it is read, so that nobody waits who writes.
struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    is_read: Receiver<()>,
}

impl Tail {
    fn of(mut pipe: PipeReader) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let (read, is_read) = mpsc::channel();
        let shared = Arc::clone(&kept);
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let mut kept = lock(&shared);
                kept.extend(&buffer[..count]);
                let beyond = kept.len().saturating_sub(KEPT);
                kept.drain(..beyond);
            }
            drop(read);
        });
        Self { kept, is_read }
    }

    /// Its last lines, without control characters.
    fn text(&self) -> String {
        // Ends with an error either way: the sender is gone, or nobody waits any longer.
        let _ = self.is_read.recv_timeout(LAST_OUTPUT);
        let bytes: Vec<u8> = lock(&self.kept).iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let last = lines.iter().skip(lines.len().saturating_sub(LINES));
        let shown = last.map(|line| escaped(line).chars().take(LINE).collect::<String>());
        shown.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[test]
    fn one_that_hangs_is_ended_with_all_that_it_started_also_when_it_does_not_want_to() {
        let script = "trap '' TERM; echo begun; sleep 600 & echo $!; wait; wait";
        let stop = CancellationToken::new();
        let Err(ChildError::TooLong { output, .. }) = run(&words(script), Duration::from_millis(300), &stop)
        else {
            panic!("it does not end by itself")
        };
        let (begun, pid) = output.split_once('\n').unwrap();
        assert_eq!(begun, "begun");
        // Killed; the system may take a moment, and nobody may have reaped it yet.
        let is_gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        assert!((0..1000).any(|_| {
            thread::sleep(LOOK_AGAIN);
            is_gone()
        }));
    }

    #[test]
    fn the_last_lines_are_kept_of_however_much_it_prints() {
        let stop = CancellationToken::new();
        let script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; \
                      printf 'the end\\033[2J\\n' >&2; exit 3";
        let Err(ChildError::Failed { output, status, .. }) =
            run(&words(script), Duration::from_mins(10), &stop)
        else {
            panic!("it fails")
        };
        assert_eq!(status.code(), Some(3));
        assert!(output.len() < KEPT && output.ends_with("\nthe end\\u{1b}[2J"), "{output}");
        assert_eq!(output.lines().count(), LINES);
    }

    #[test]
    fn one_that_ends_well_is_not_waited_for_because_of_what_it_left_behind() {
        let stop = CancellationToken::new();
        run(&words("sleep 600 & exit 0"), Duration::from_mins(10), &stop).unwrap();
        stop.cancel();
        let stopped = run(&words("sleep 600"), Duration::from_mins(10), &stop);
        assert!(matches!(stopped, Err(ChildError::Stopped { .. })), "{stopped:?}");
        let missing = run(&["/no/such/program".to_owned()], Duration::from_secs(1), &stop).unwrap_err();
        assert!(missing.to_string().starts_with("/no/such/program could not be started"), "{missing}");
    }
}
