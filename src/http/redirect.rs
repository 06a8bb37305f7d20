//! The plain port beside TLS: sends browsers on to https, and refuses everything else, so that an app that sends phone numbers
//! in clear is noticed on its first call.

use std::sync::Arc;

use poem::http::header::{CONTENT_TYPE, LOCATION};
use poem::http::{Method, StatusCode};
use poem::{Endpoint, Request, Response, Result};

use crate::certificate::challenge::Challenges;
use crate::http::edge::Hosts;

/// The port of https where a URL names none.
const HTTPS: u16 = 443;

/// Sends GET and HEAD for a host of ours on to https.
#[derive(Debug)]
pub struct Redirect {
    hosts: Hosts,
    /// What stands behind the host; empty for the usual port.
    port: String,
    challenges: Option<Arc<Challenges>>,
}

/// Where an authority asks whether a name is ours (RFC 8555 §8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

impl Redirect {
    /// For these hosts, as `server.allowed_hosts` has them, to the port on which TLS is served. An authority finds its answers
    /// among `challenges`.
    pub fn new(hosts: &[String], port: u16, challenges: Option<Arc<Challenges>>) -> Self {
        let port = if port == HTTPS { String::new() } else { format!(":{port}") };
        Self { hosts: Hosts::only(hosts), port, challenges }
    }

    fn answer(&self, request: &Request) -> Response {
        if *request.method() == Method::GET
            && let Some(token) = request.uri().path().strip_prefix(CHALLENGES)
            && let Some(answer) = self.challenges.as_ref().and_then(|open| open.answer(token))
        {
            return told(StatusCode::OK, answer);
        }
        let Ok(host) = self.hosts.admit(request.uri(), request.headers()) else {
            return told(StatusCode::NOT_FOUND, "This server does not answer for that host.\n".to_owned());
        };
        let base = format!("https://{host}{}", self.port);
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let told_so = format!(
                "Nothing was done: this port has no TLS, and what is sent here can be read on the way. Call {base} instead.\n"
            );
            return told(StatusCode::FORBIDDEN, told_so);
        }
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target } else { "/" };
        Response::builder()
            .status(StatusCode::PERMANENT_REDIRECT)
            .header(LOCATION, format!("{base}{target}"))
            .finish()
    }
}

impl Endpoint for Redirect {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        Ok(self.answer(&request))
    }
}

/// The hosts that such a port answers for: those that are allowed where they are named one by one, else those of the URL and of
/// the certificate.
pub fn hosts(allowed: &[String], public: Option<&str>, names: &[String]) -> Vec<String> {
    if !allowed.is_empty() && !allowed.iter().any(|host| host == "*") {
        return allowed.to_vec();
    }
    let names = names.iter().map(|name| name.strip_prefix('*').unwrap_or(name).to_owned());
    public.map(str::to_owned).into_iter().chain(names).collect()
}

fn told(status: StatusCode, text: String) -> Response {
    Response::builder().status(status).header(CONTENT_TYPE, "text/plain; charset=utf-8").body(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::challenge::Challenge;

    fn asked(redirect: &Redirect, method: Method, uri: &str, host: &str) -> (u16, String) {
        let request =
            Request::builder().method(method).uri(uri.parse().unwrap()).header("host", host).finish();
        let response = redirect.answer(&request);
        let location = response.headers().get(LOCATION).map(|location| location.to_str().unwrap().to_owned());
        (response.status().as_u16(), location.unwrap_or_default())
    }

    #[test]
    fn s43_a_get_goes_on_to_https_of_a_host_of_ours_and_nowhere_else() {
        let redirect = Redirect::new(&["api.example.com".to_owned(), ".example.org".to_owned()], 443, None);
        for (method, uri, host, status, location) in [
            (Method::GET, "/docs?x=1", "api.example.com", 308, "https://api.example.com/docs?x=1"),
            (Method::HEAD, "/", "API.example.com:80", 308, "https://api.example.com/"),
            (Method::GET, "//evil.example/x", "a.example.org", 308, "https://a.example.org//evil.example/x"),
            (Method::GET, "/", "evil.example", 404, ""),
            (Method::GET, "http://evil.example/", "api.example.com", 404, ""),
            (Method::GET, "/", "api.example.com@evil.example", 404, ""),
            (Method::POST, "/api/mobile/auth/production/request/", "api.example.com", 403, ""),
            (Method::POST, "/", "evil.example", 404, ""),
            (Method::OPTIONS, "*", "api.example.com", 403, ""),
        ] {
            let found = asked(&redirect, method.clone(), uri, host);
            assert_eq!(found, (status, location.to_owned()), "{method} {uri} {host}");
        }
        let other = Redirect::new(&["api.example.com".to_owned()], 8443, None);
        assert_eq!(asked(&other, Method::GET, "/a", "api.example.com").1, "https://api.example.com:8443/a");
        let nobody = Redirect::new(&[], 443, None);
        assert_eq!(asked(&nobody, Method::GET, "/", "api.example.com").0, 404, "no host is ours");
    }

    #[test]
    fn s43_an_authority_is_answered_under_any_host_while_it_asks() {
        let challenges = Arc::new(Challenges::default());
        let redirect = Redirect::new(&["a.example".to_owned()], 443, Some(challenges.clone()));
        let path = "/.well-known/acme-challenge/token";
        assert_eq!(asked(&redirect, Method::GET, path, "other.example").0, 404);
        let open = vec![Challenge::new("a.example", "token", "token.thumbprint").unwrap()];
        challenges.set(open);
        assert_eq!(asked(&redirect, Method::GET, path, "other.example").0, 200);
        assert_eq!(asked(&redirect, Method::POST, path, "a.example").0, 403);
        assert_eq!(asked(&redirect, Method::GET, "/.well-known/acme-challenge/", "a.example").0, 308);
    }

    #[test]
    fn s43_where_every_host_is_allowed_only_those_that_are_known_are_redirected() {
        let names = ["a.example".to_owned(), "*.b.example".to_owned()];
        let taken = |allowed: &[&str]| {
            let allowed: Vec<_> = allowed.iter().map(|&host| host.to_owned()).collect();
            hosts(&allowed, Some("c.example"), &names)
        };
        assert_eq!(taken(&["d.example"]), ["d.example"]);
        assert_eq!(taken(&["*"]), ["c.example", "a.example", ".b.example"]);
        assert_eq!(taken(&[]), taken(&["*"]));
    }
}
