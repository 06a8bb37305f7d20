//! `backup.command`: what it gets, and that nothing it does harms the backup, the server or a secret.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::place::{Place, stderr, until};

fn place() -> Place {
    let place = Place::new();
    place.database("x");
    fs::create_dir(place.path("backups")).unwrap();
    fs::create_dir(place.path("away")).unwrap();
    place
}

/// The environment in which a shell's script is the command; `$1` is the backup.
fn with(script: &str) -> Vec<(String, String)> {
    let command = format!("sh -c '{script}' sh {{file}}");
    [("FRESHK_BACKUP__DIR", "backups"), ("FRESHK_BACKUP__COMMAND", &command)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

fn borrowed(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// What `db backup` says with that script, which must fail.
fn fails(place: &Place, script: &str, more: &[(&str, &str)]) -> String {
    let environment = with(script);
    let environment = [borrowed(&environment), more.to_vec()].concat();
    let output = place.command(&["db", "backup"], &environment).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{script}: {said}");
    assert!(said.contains("was made, but backup.command failed"), "{script}: {said}");
    said
}

fn is_running(pid: &str) -> bool {
    // A zombie that nobody has reaped yet is dead.
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

fn written(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_server_has_its_backup_taken_away_with_its_checksum() {
    let place = place();
    let server = place.serve(&[
        ("FRESHK_BACKUP__DIR", "backups"),
        ("FRESHK_BACKUP__COMMAND", "cp {file} {file}.sha256 away"),
    ]);
    until(|| written(&place.path("server.log")).contains("has taken the backup"));
    assert_eq!(place.files_in("away"), place.files_in("backups"));
    assert_eq!(place.files_in("away").len(), 2);
    assert!(server.get("/metrics").contains("\nfreshk_backup_command_failures_total 0\n"));
    assert!(server.stop());
}

#[test]
fn a_failure_is_loud_and_the_backup_stays() {
    let place = place();
    let said = fails(&place, "echo no such bucket >&2; exit 3", &[]);
    assert!(said.contains("no such bucket") && said.contains("exit status: 3"), "{said}");
    assert_eq!(place.files_in("backups").len(), 2);
}

#[test]
fn a_failure_under_a_server_is_an_error_and_counted() {
    let place = place();
    let environment = with("echo no such bucket; exit 3");
    let server = place.serve(&borrowed(&environment));
    until(|| written(&place.path("server.log")).contains("no such bucket"));
    let log = written(&place.path("server.log"));
    assert!(log.contains("ERROR") && log.contains("backup.command failed"), "{log}");
    assert!(server.get("/metrics").contains("\nfreshk_backup_command_failures_total 1\n"));
    assert!(server.get("/health/ready").starts_with("HTTP/1.1 200"));
    assert_eq!(place.files_in("backups").len(), 2);
    assert!(server.stop());
}

#[test]
fn one_that_says_that_all_is_well_and_moved_or_changed_the_backup_is_not_believed() {
    let place = place();
    let said = fails(&place, "mv \"$1\" away", &[]);
    assert!(said.contains("is not there any more") && said.contains("neither move nor change"), "{said}");
    let said = fails(&place, ": > \"$1\"", &[]);
    assert!(said.contains("is not as it was"), "{said}");
    let missing = [("FRESHK_BACKUP__DIR", "backups"), ("FRESHK_BACKUP__COMMAND", "/no/such/program {file}")];
    let said = stderr(&place.command(&["db", "backup"], &missing).output().unwrap());
    assert!(said.contains("/no/such/program could not be started"), "{said}");
}

#[test]
fn s34_neither_a_secret_nor_ten_megabytes_of_output_come_out() {
    let place = place();
    let secrets =
        [("SECRET_KEY", "a secret that is told to nobody, of 32"), ("TWILIO_AUTH_TOKEN", "token-of-twilio")];
    let said = fails(&place, "env; exit 1", &secrets);
    assert!(
        said.contains("PWD=") && !said.contains("told to nobody") && !said.contains("token-of-twilio"),
        "{said}"
    );
    let said = fails(&place, "head -c 10485760 /dev/zero | tr \"\\\\0\" x; echo; echo the end; exit 1", &[]);
    assert!(said.contains("\nthe end\n") && said.len() < 8192, "{} bytes", said.len());
}

#[test]
fn one_that_hangs_ends_with_the_command_that_runs_it() {
    let place = place();
    let environment = with("sleep 600 & echo $! > away/pid; wait");
    let mut child = place
        .command(&["db", "backup"], &borrowed(&environment))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = place.path("away/pid");
    until(|| written(&pid).ends_with('\n'));
    let sent =
        Command::new("sh").args(["-c", "kill -s INT \"$0\"", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), Some(1));
    until(|| !is_running(&written(&pid)));
    assert_eq!(place.files_in("backups").len(), 2, "the backup stays");
}

#[test]
fn one_that_hangs_keeps_no_server_from_serving_or_stopping() {
    let place = place();
    let environment = with("trap \"\" TERM; sleep 600 & echo $! > away/pid; wait; wait");
    let server = place.serve(&borrowed(&environment));
    let pid = place.path("away/pid");
    until(|| written(&pid).ends_with('\n'));
    assert!(server.get("/health/ready").starts_with("HTTP/1.1 200"));
    assert!(server.stop());
    until(|| !is_running(&written(&pid)));
    let log = written(&place.path("server.log"));
    assert!(log.contains("because freshk was told to stop"), "{log}");
}

#[test]
fn a_kill_in_the_middle_leaves_the_backup_whole() {
    let place = place();
    let environment = with("echo $$ > away/pid; exec sleep 600");
    let mut child =
        place.command(&["db", "backup"], &borrowed(&environment)).stdout(Stdio::null()).spawn().unwrap();
    let pid = place.path("away/pid");
    until(|| written(&pid).ends_with('\n'));
    child.kill().unwrap();
    child.wait().unwrap();
    let listed =
        place.command(&["db", "backups", "--json"], &[("FRESHK_BACKUP__DIR", "backups")]).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed["total"], &listed["backups"][0]["checksum"]), (&1.into(), &"ok".into()));
    assert!(
        Command::new("sh")
            .args(["-c", "kill -s KILL \"$0\"", written(&pid).trim()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn it_is_for_backups_in_the_directory_alone_and_a_line_for_a_shell_is_a_fault() {
    let place = place();
    let environment = with("exit 1");
    let made = place.command(&["db", "backup", "x.db"], &borrowed(&environment)).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    for (dir, command, words) in [
        ("backups", "gzip {file} | ssh far", "| is for a shell"),
        ("backups", "scp '{file} far:", "a quotation mark is not closed"),
        ("", "scp {file} far:", "it does nothing"),
    ] {
        let faulty = [("FRESHK_BACKUP__DIR", dir), ("FRESHK_BACKUP__COMMAND", command)];
        let output = place.command(&["db", "backup"], &faulty).output().unwrap();
        let said = stderr(&output);
        assert!(
            !output.status.success() && said.contains(words) && said.contains("backup.command"),
            "{said}"
        );
    }
}
