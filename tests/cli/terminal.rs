//! What a terminal changes: colours, progress, questions. Without one there are none of them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::Place;

/// What begins every sequence that steers a terminal.
const ESCAPE: char = '\u{1b}';

/// A terminal of 80 columns with a program in it; killed when dropped.
struct Terminal {
    screen: File,
    child: Child,
    shown: String,
}

impl Terminal {
    /// Runs a command with all three of its ends on the terminal.
    fn run(command: Command) -> Self {
        Self::start(command, true)
    }

    fn start(mut command: Command, errors_too: bool) -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&screen, size).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let line = File::from(rustix::fs::open(name, flags, Mode::empty()).unwrap());
        command.env("TERM", "xterm-256color");
        command.stdin(line.try_clone().unwrap()).stdout(line.try_clone().unwrap());
        if errors_too {
            command.stderr(line);
        }
        // The command goes, and with it this process's ends: when the program's are closed too, the terminal is.
        let child = command.spawn().unwrap();
        Self { screen: File::from(screen), child, shown: String::new() }
    }

    /// Waits until the program shows something.
    fn wait_for(&mut self, text: &str) {
        while !self.shown.contains(text) {
            assert!(self.read(), "{text:?} was never shown:\n{}", self.shown);
        }
    }

    /// Waits until the program shows something after what was taken before; gives all until its end.
    fn take(&mut self, text: &str) -> String {
        self.wait_for(text);
        let end = self.shown.find(text).unwrap() + text.len();
        let rest = self.shown.split_off(end);
        std::mem::replace(&mut self.shown, rest)
    }

    fn answer(&mut self, line: &str) {
        self.screen.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits for the end; gives the exit code and all that was shown.
    fn end(mut self) -> (i32, String) {
        while self.read() {}
        (self.child.wait().unwrap().code().unwrap(), std::mem::take(&mut self.shown))
    }

    /// Reads on; false at the end, which a terminal tells by an error.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let count = self.screen.read(&mut bytes).unwrap_or(0);
        self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It is gone already where all went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether a text sets colours or a weight, beyond moving about.
fn is_coloured(text: &str) -> bool {
    text.split(ESCAPE).skip(1).any(|rest| {
        let ends = rest.find(|c: char| c.is_ascii_alphabetic());
        ends.is_some_and(|at| rest[at..].starts_with('m'))
    })
}

fn with_users(count: u32) -> Place {
    let place = Place::new();
    place.good("user create +1234567890");
    let mut file = "phone_number\n".to_owned();
    for number in 0..count {
        writeln!(file, "+1555{number:07}").unwrap();
    }
    place.write("users.csv", file);
    place
}

#[test]
fn a_terminal_has_colours_unless_told_otherwise() {
    let place = Place::new();
    for line in ["--help", "user --help", "user list -h", "user lst"] {
        let (_, plain) = Terminal::run(place.command(line)).end();
        assert!(is_coloured(&plain), "{line}: {plain:?}");
        for (value, coloured) in [("1", false), ("anything", false), ("", true)] {
            let mut command = place.command(line);
            command.env("NO_COLOR", value);
            let (_, shown) = Terminal::run(command).end();
            assert_eq!(is_coloured(&shown), coloured, "{line} with NO_COLOR={value:?}: {shown:?}");
        }
        let piped = place.run(line);
        assert!(!(piped.stdout + &piped.stderr).contains(ESCAPE), "{line}");
    }
}

#[test]
fn the_log_of_a_server_has_colours_on_a_terminal_alone() {
    let serve = |no_colour: &str, errors_too: bool| {
        let place = Place::new();
        let mut command = place.command("serve --dev --listen 127.0.0.1:0");
        command.env("FRESHK_OPS__LISTEN", "off").env("NO_COLOR", no_colour);
        let log = place.path("log");
        if !errors_too {
            command.stderr(File::create(&log).unwrap());
        }
        let mut terminal = Terminal::start(command, errors_too);
        terminal.wait_for("codes     printed here");
        let logged = std::fs::read_to_string(log).unwrap_or_default();
        terminal.shown.clone() + &logged
    };
    let shown = serve("", true);
    assert!(shown.contains("INFO") && is_coloured(&shown), "{shown:?}");
    for shown in [serve("1", true), serve("", false)] {
        assert!(shown.contains("INFO") && !shown.contains(ESCAPE), "{shown:?}");
    }
}

#[test]
fn long_work_shows_its_progress_on_a_terminal_and_clears_it_away() {
    for no_colour in ["", "1"] {
        let place = with_users(20_000);
        let mut command = place.command("user import users.csv");
        command.env("NO_COLOR", no_colour);
        let (code, shown) = Terminal::run(command).end();
        assert_eq!(code, 0, "{shown}");
        for step in ["checking", "importing"] {
            assert!(shown.contains(step) && shown.contains('%'), "{step}: {shown:?}");
        }
        assert!(!is_coloured(&shown), "{shown:?}");
        let mut lines = shown.trim_end().rsplit(['\n', '\r']).filter(|line| !line.is_empty());
        assert!(lines.next().unwrap().ends_with("new users get ids from 20002 on"), "{shown:?}");
        let last = lines.next().unwrap();
        assert!(last.ends_with("20,000 users imported") && !last.contains("importing"), "{last:?}");

        let mut command = place.command("user export out.csv");
        command.env("NO_COLOR", no_colour);
        let (code, shown) = Terminal::run(command).end();
        assert_eq!(code, 0, "{shown}");
        assert!(
            shown.contains("users (") && shown.trim_end().ends_with("20,001 users written to out.csv"),
            "{shown:?}"
        );
    }
}

#[test]
fn without_a_terminal_for_errors_there_is_no_progress() {
    let place = with_users(20_000);
    // Only the answer goes to a terminal.
    let mut command = place.command("user import users.csv");
    let log = place.path("errors");
    command.stderr(File::create(&log).unwrap());
    let (code, shown) = Terminal::start(command, false).end();
    assert_eq!((code, shown.lines().count()), (0, 2), "{shown:?}");
    assert!(!shown.contains(ESCAPE), "{shown:?}");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "");
    // And without any.
    assert_eq!(place.run("user export out.csv").stderr, "20,001 users written to out.csv\n");
    let listed = place.run("user list");
    assert!(!listed.stdout.contains(ESCAPE) && !listed.stderr.contains(ESCAPE), "{listed:?}");
}

#[test]
fn what_cannot_be_undone_asks_and_only_a_yes_goes_on() {
    let place = with_users(0);
    for answer in ["n", "", "no", "Yes please"] {
        let mut terminal = Terminal::run(place.command("user delete 1"));
        terminal.wait_for("This cannot be undone. Go on? [y/N]");
        terminal.answer(answer);
        let (code, shown) = terminal.end();
        assert_eq!(code, 1, "{answer:?}: {shown}");
        assert!(
            shown.contains("nothing was done") && shown.contains("answer y to go on"),
            "{answer:?}: {shown}"
        );
        assert_eq!(place.count("SELECT count(*) FROM users"), 1, "{answer:?}");
    }
    let mut terminal = Terminal::run(place.command("user delete 1"));
    terminal.wait_for("user 1 (+12****7890) will be deleted");
    terminal.answer("y");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert_eq!(place.count("SELECT count(*) FROM users"), 0);

    place.good("user create +1234567890");
    place.run("user export out.csv");
    let refused = place.run("user export out.csv");
    assert!(refused.code == 2 && refused.stderr.contains("add --yes"), "{}", refused.stderr);
    let mut terminal = Terminal::run(place.command("user export out.csv"));
    terminal.wait_for("out.csv exists and will be overwritten.");
    terminal.answer("y");
    assert_eq!(terminal.end().0, 0);

    place.good("db backup copy.db");
    let mut terminal = Terminal::run(place.command("db restore copy.db"));
    terminal.wait_for("Go on? [y/N]");
    terminal.answer("y");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn init_asks_for_what_no_flag_says() {
    let place = Place::new();
    let mut terminal = Terminal::run(place.command("init --config mine.toml --phone-number +15005550006"));
    for (question, answer) in [
        ("Twilio's Account SID", "AC0123"),
        ("32 hexadecimal digits", "AC0123456789abcdef0123456789abcdef"),
        ("Twilio's Auth Token", "a token"),
        ("The URL of this server", "https://api.example.com"),
        ("The name of your app", "Example"),
        ("The only countries to send to", "DE, UK"),
        ("\"UK\" is not the two letters of a country", "de, AT"),
    ] {
        terminal.wait_for(question);
        terminal.answer(answer);
    }
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("The number that sends"), "a flag said it: {shown}");
    assert!(!shown.contains("a token"), "a secret is not shown as it is typed: {shown}");
    let shown = place.good("config show --config mine.toml");
    for told in [
        "AC0123456789abcdef0123456789abcdef",
        "+15005550006",
        "https://api.example.com",
        "sms.brand",
        "DE,AT",
        "Example",
    ] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
}

#[test]
fn init_asks_again_after_each_kind_of_wrong_answer() {
    let place = Place::new();
    let mut terminal = Terminal::run(place.command("init --systemd --config mine.toml"));
    let mut shown = String::new();
    for (question, answers) in [
        (
            "Twilio's Account SID",
            vec![("SK0123456789abcdef0123456789abcdef", "32 hexadecimal digits"), ("", "")],
        ),
        ("Twilio's Auth Token", vec![("\"quoted\"", "between quotation marks"), ("a token", "")]),
        ("The number that sends", vec![("15005550006", "is no sender"), ("+15005550006", "")]),
        (
            "The URL of this server",
            vec![
                ("ftp://api.example.com", "http:// or https://"),
                ("https://somebody@api.example.com", "a user in it"),
                ("https://api.example.com/?x", "write an absolute URL"),
                ("https://api.example.com", ""),
            ],
        ),
        ("The name of your app", vec![("{x}", "is no placeholder"), ("\u{2014}", "GSM-7"), ("Example", "")]),
        ("The only countries to send to", vec![("Germany", "is not the two letters of a country"), ("", "")]),
        ("The proxy with TLS", vec![("apache", "neither caddy nor nginx"), ("NGINX", "")]),
    ] {
        for (answer, refusal) in answers {
            shown += &terminal.take(question);
            terminal.answer(answer);
            shown += &terminal.take(refusal);
        }
    }
    let (code, rest) = terminal.end();
    shown += &rest;
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("Written: mine.toml, freshk.service, freshk.nginx."), "{shown}");
    assert!(!shown.contains("a token") && !shown.contains("quoted"), "{shown}");
    assert!(place.read("freshk.nginx").contains("server_name api.example.com;"));
}

#[test]
fn init_takes_bytes_that_are_no_text_for_a_wrong_answer() {
    let place = Place::new();
    let mut terminal = Terminal::run(place.command("init --config mine.toml"));
    terminal.wait_for("Twilio's Account SID");
    terminal.screen.write_all(b"\xff\xfeAC\n").unwrap();
    terminal.take("that is not text in UTF-8");
    terminal.wait_for("Twilio's Account SID");
    terminal.screen.write_all(b"\x04").unwrap();
    for question in [
        "Twilio's Auth Token",
        "The number that sends",
        "The URL of",
        "The name of your",
        "The only countries",
    ] {
        terminal.wait_for(question);
        terminal.screen.write_all(b"\x04").unwrap();
    }
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(place.path("mine.toml").exists());
}

#[test]
fn init_that_is_interrupted_leaves_a_terminal_that_shows_what_is_typed_and_no_half_file() {
    let place = Place::new();
    for signal in [Signal::INT, Signal::TERM] {
        let mut terminal = Terminal::run(place.command("init --config mine.toml"));
        terminal.wait_for("Twilio's Account SID");
        terminal.answer("");
        terminal.wait_for("Twilio's Auth Token");
        // The terminal stays open, to be looked at once the program has ended.
        let screen = terminal.screen.try_clone().unwrap();
        kill_process(Pid::from_child(&terminal.child), signal).unwrap();
        let status = terminal.child.wait().unwrap();
        assert_eq!(status.code(), Some(1), "{status}");
        assert!(tcgetattr(&screen).unwrap().local_modes.contains(LocalModes::ECHO));
        assert!(terminal.end().1.contains("interrupted: nothing was written"));
        let left: Vec<_> =
            place.path("").read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["freshk.toml"]);
    }
}
