//! `health`, as the health check of a container calls it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::Place;

/// A place whose configuration says that the server listens there.
fn listening(address: &str) -> Place {
    let place = Place::new();
    place.write("freshk.toml", format!("debug = true\n[server]\nlisten = \"{address}\"\n"));
    place
}

#[tokio::test]
async fn a_server_that_serves_is_ready_and_one_that_ended_is_not() {
    let home = Place::new();
    let server = home.serve();
    let address = server.url().strip_prefix("http://").unwrap();
    let url = format!("{}/health/ready", server.url());
    let place = listening(address);
    assert_eq!(place.good("health"), format!("ready: {url}\n"));
    assert_eq!(place.json("health"), json!({ "ready": true, "url": url, "status": 200, "problem": null }));
    assert_eq!(Place::new().good(&format!("health --listen {address}")), format!("ready: {url}\n"));

    // It listens on every address of the machine.
    let everywhere = listening(&address.replace("127.0.0.1", "0.0.0.0"));
    assert_eq!(everywhere.good("health"), format!("ready: {url}\n"));

    // What is wrong elsewhere in the configuration is not looked at.
    place.write("freshk.toml", format!("[otp]\nttl = \"soon\"\n[server]\nlisten = \"{address}\"\n"));
    place.good("health");

    drop(server);
    let gone = place.run("health --json");
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.contains("nothing answers at http://127.0.0.1:"), "{}", gone.stderr);
    let told: Value = serde_json::from_str(&gone.stdout).unwrap();
    assert_eq!((&told["ready"], &told["status"]), (&json!(false), &Value::Null), "{told}");
}

#[test]
fn a_page_of_another_program_and_an_address_that_nobody_knows_are_not_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listening(&listener.local_addr().unwrap().to_string());
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").unwrap();
    });
    let answer = place.run("health");
    other.join().unwrap();
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""));
    assert!(answer.stderr.contains("is not a freshk server"), "{}", answer.stderr);

    let answer = listening("127.0.0.1:0").run("health");
    assert!(answer.code == 1 && answer.stderr.contains("give it with --listen"), "{}", answer.stderr);
}
