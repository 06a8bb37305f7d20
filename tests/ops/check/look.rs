//! How the list looks: in a terminal, beside one, and to a reader that goes away.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::set_up::SetUp;

const FAULTS: [(&str, &str); 2] = [("FRESHK_LIMITS__IP", "0"), ("FRESHK_SERVER__PUBLIC_URL", "")];

/// What a command shows in a terminal of so many columns.
fn in_terminal(columns: u16, mut command: Command) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let screen = File::options().read(true).write(true).open(name).unwrap();
    let mut child = command.stdout(OwnedFd::from(screen)).stderr(Stdio::null()).spawn().unwrap();
    // Holds the other end of the terminal, which must end with the child.
    drop(command);
    let mut shown = Vec::new();
    // The terminal says that nobody writes any more with an error.
    drop(File::from(terminal).read_to_end(&mut shown));
    child.wait().unwrap();
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap().to_owned();
    first + &parts.map(|part| part.split_once('m').unwrap().1).collect::<String>()
}

/// Without the checks that tell how long ago something was, or how much room is left: where their lines break depends on it.
fn timeless(text: &str) -> Vec<&str> {
    let mut moves = false;
    let stays = |line: &&str| {
        let goes_on = line.starts_with("                ");
        if !goes_on {
            moves = ["backups", "monitoring", "disk", "drill"].iter().any(|what| line.contains(what));
        }
        !moves
    };
    text.lines().filter(stays).collect()
}

#[test]
fn beside_a_terminal_it_is_plain_and_80_columns_wide() {
    let set_up = SetUp::good();
    let output = set_up.command(&["check"], &FAULTS).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!text.contains('\x1b'), "{text}");
    for line in [
        "Configuration",
        "  fail  rate limits         off: limits.ip",
        "                         -> give each a number above 0",
        "                         -> set server.public_url to an https:// one; Twilio's",
        "                            delivery reports come in there too",
        "22 ok, 1 warning, 1 failure",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "error: 1 check failed\nhelp: do what is written below it\n");
}

#[test]
fn in_a_terminal_verdicts_have_colours_unless_they_are_not_wanted() {
    let set_up = SetUp::good();
    for columns in [80, 60] {
        let shown = in_terminal(columns, set_up.command(&["check"], &FAULTS));
        for coloured in
            ["\x1b[31mfail\x1b[0m  rate limits", "\x1b[33mwarn\x1b[0m  TLS", "\x1b[32mok\x1b[0m    sender"]
        {
            assert!(shown.contains(coloured), "{coloured:?}\n{shown}");
        }
        assert!(
            shown.ends_with("\x1b[32m22 ok\x1b[0m, \x1b[33m1 warning\x1b[0m, \x1b[31m1 failure\x1b[0m\n"),
            "{shown}"
        );
        let mut plain = set_up.command(&["check"], &FAULTS);
        plain.env("NO_COLOR", "1");
        let plain = in_terminal(columns, plain);
        assert!(!plain.contains('\x1b'), "{plain}");
        assert_eq!(timeless(&plain), timeless(&without_colours(&shown)));
        let widest = plain.lines().map(|line| line.chars().count()).max().unwrap();
        assert!((usize::from(columns) - 8..=usize::from(columns)).contains(&widest), "{columns}: {plain}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let set_up = SetUp::good();
    for args in [&["check"][..], &["check", "--json"]] {
        let mut child =
            set_up.command(args, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
    }
}
