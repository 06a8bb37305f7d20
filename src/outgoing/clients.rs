//! A client for many calls at once.
//!
//! One agent of ureq goes through all its resting connections, under one lock and twice a call, and compares each with the
//! others. Here every call under way has an agent to itself, which rests with one connection; they share the settings of TLS
//! and the names that were looked up.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Mutex;

use ureq::Agent;
use ureq::config::{Config, ConfigBuilder};
use ureq::typestate::AgentScope;

use super::names::Names;
use super::together::Together;
use crate::clock::Stopwatch;
use crate::sync::lock;

/// Agents of the same settings.
pub(crate) struct Clients {
    settings: Config,
    connector: Together,
    names: Names,
    /// Those that no call has, with the time since they had one; the last ones to be used last.
    resting: Mutex<VecDeque<(Agent, Stopwatch)>>,
}

/// An agent that one call has.
pub(crate) struct Lent<'c> {
    clients: &'c Clients,
    agent: Agent,
}

impl Clients {
    /// With these settings; nothing is connected.
    pub(crate) fn new(settings: ConfigBuilder<AgentScope>) -> Self {
        Self {
            settings: settings.max_idle_connections(1).build(),
            connector: Together::default(),
            names: Names::new(),
            resting: Mutex::default(),
        }
    }

    /// An agent for one call: the one that rests for the shortest time, whose connection is the likeliest to be good.
    pub(crate) fn lend(&self) -> Lent<'_> {
        let agent = lock(&self.resting).pop_back().map(|(agent, _)| agent);
        let agent = agent.unwrap_or_else(|| {
            Agent::with_parts(self.settings.clone(), self.connector.clone(), self.names.clone())
        });
        Lent { clients: self, agent }
    }
}

impl Deref for Lent<'_> {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let rest = self.clients.settings.max_idle_age();
        let mut resting = lock(&self.clients.resting);
        resting.push_back((self.agent.clone(), Stopwatch::start()));
        // Their connections are used no more.
        while resting.front().is_some_and(|(_, since)| since.elapsed() > rest) {
            resting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// A server that tells how many connections it has had, and answers each call on them.
    fn server() -> (String, Receiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (connected, connections) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = connected.send(());
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                    }
                });
            }
        });
        (url, connections)
    }

    fn clients(rest: Duration) -> Clients {
        Clients::new(Agent::config_builder().max_idle_age(rest))
    }

    fn call(agent: &Agent, url: &str) {
        assert_eq!(agent.get(url).call().unwrap().body_mut().read_to_string().unwrap(), "ok");
    }

    #[test]
    fn calls_one_after_the_other_go_over_one_connection() {
        let (url, connections) = server();
        let clients = clients(Duration::from_mins(1));
        for _ in 0..3 {
            call(&clients.lend(), &url);
        }
        assert_eq!(connections.try_iter().count(), 1);
        assert_eq!(lock(&clients.resting).len(), 1);
    }

    #[test]
    fn calls_at_once_have_an_agent_each_and_the_freshest_is_lent_first() {
        let (url, connections) = server();
        let clients = clients(Duration::from_mins(1));
        let (first, second) = (clients.lend(), clients.lend());
        call(&first, &url);
        call(&second, &url);
        drop(first);
        drop(second);
        assert_eq!((connections.try_iter().count(), lock(&clients.resting).len()), (2, 2));
        for _ in 0..3 {
            call(&clients.lend(), &url);
        }
        let rested: Vec<_> = lock(&clients.resting).iter().map(|(_, since)| since.elapsed()).collect();
        assert!(rested[0] > rested[1], "the older one was used");
        assert_eq!(connections.try_iter().count(), 0);
    }

    #[test]
    fn agents_that_have_rested_for_too_long_go() {
        let clients = clients(Duration::ZERO);
        let lent: Vec<_> = (0..3).map(|_| clients.lend()).collect();
        drop(lent);
        // Time has passed since each but, perhaps, the last.
        assert!(lock(&clients.resting).len() <= 1);
    }
}
