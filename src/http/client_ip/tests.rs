use super::*;
use crate::clock::ManualClock;
use hyper::header::HeaderValue;
use proptest::prelude::*;

fn reader(trusted: &[&str], header: &'static str) -> ClientIp {
    let trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
    ClientIp::new(trusted, HeaderName::from_static(header), Arc::new(ManualClock::new()), Metrics::new())
}

fn headers(name: &'static str, lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    headers
}

fn client(header: &'static str, lines: &[&str]) -> String {
    let reader = reader(&["10.0.0.0/8", "fd00::/8"], header);
    reader.client("10.0.0.1".parse().unwrap(), &headers(header, lines)).to_string()
}

#[test]
fn s12_only_trusted_peers_are_believed_and_only_the_one_header() {
    let reader = reader(&["10.0.0.0/8"], "x-forwarded-for");
    let seen =
        |peer: &str, name, line| reader.client(peer.parse().unwrap(), &headers(name, &[line])).to_string();
    assert_eq!(seen("198.51.100.1", "x-forwarded-for", "203.0.113.7"), "198.51.100.1");
    assert_eq!(seen("10.0.0.1", "x-forwarded-for", "203.0.113.7"), "203.0.113.7");
    assert_eq!(seen("::ffff:10.0.0.1", "x-forwarded-for", "203.0.113.7"), "203.0.113.7");
    assert_eq!(seen("10.0.0.1", "x-real-ip", "203.0.113.7"), "10.0.0.1");
}

#[test]
fn s12_x_forwarded_for_is_walked_from_the_right_over_all_its_lines() {
    for (lines, expected) in [
        (&["6.6.6.6, 203.0.113.7"] as &[&str], "203.0.113.7"),
        (&["6.6.6.6", "203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        (&["6.6.6.6", "203.0.113.7", "10.0.0.9"], "203.0.113.7"),
        (&["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
        (&["203.0.113.7:4711"], "203.0.113.7"),
        (&["[2001:db8::1]:4711"], "2001:db8::1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["::ffff:203.0.113.7"], "203.0.113.7"),
        (&["203.0.113.7,, "], "203.0.113.7"),
        (&[""], "10.0.0.1"),
        (&[], "10.0.0.1"),
        (&["203.0.113.7, nonsense"], "10.0.0.1"),
        (&["203.0.113.7, nonsense, 10.0.0.9"], "10.0.0.9"),
        (&["203.0.113.7:99999999"], "10.0.0.1"),
        (&["203.0.113.7, \u{fc}"], "10.0.0.1"),
    ] {
        assert_eq!(client("x-forwarded-for", lines), expected, "{lines:?}");
    }
}

#[test]
fn s12_forwarded_with_quotes_brackets_unknown_and_hidden() {
    for (lines, expected) in [
        (&["for=203.0.113.7"] as &[&str], "203.0.113.7"),
        (&["For=\"203.0.113.7:80\";proto=http;by=10.0.0.2"], "203.0.113.7"),
        (&["for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
        (&["for=\"[2001:db8::1]:_port\""], "2001:db8::1"),
        (&["for=6.6.6.6", "for=203.0.113.7, for=10.0.0.9"], "203.0.113.7"),
        (&["for=\"203.0.113\\.7\""], "203.0.113.7"),
        (&["for=203.0.113.7;host=\"a,b;c\""], "203.0.113.7"),
        (&["for=203.0.113.7, for=unknown"], "10.0.0.1"),
        (&["for=203.0.113.7, for=_hidden"], "10.0.0.1"),
        (&["for=unknown, for=203.0.113.7"], "203.0.113.7"),
        (&["for=203.0.113.7, proto=https"], "10.0.0.1"),
        (&["for=203.0.113.7;for=6.6.6.6"], "10.0.0.1"),
        (&["for=6.6.6.6, for=\"", "for=\"[2001:db8::1]:80\""], "10.0.0.1"),
        (&["for=6.6.6.6, for=\"; for=\"203.0.113.7\""], "10.0.0.1"),
        (&["for=6.6.6.6;\"", "for=\"203.0.113.7:4711\""], "10.0.0.1"),
        (&["nonsense"], "10.0.0.1"),
    ] {
        assert_eq!(client("forwarded", lines), expected, "{lines:?}");
    }
}

#[test]
fn s12_a_single_address_header_holds_one_address() {
    assert_eq!(client("x-real-ip", &["203.0.113.7"]), "203.0.113.7");
    assert_eq!(client("cf-connecting-ip", &["2001:db8::1"]), "2001:db8::1");
    assert_eq!(client("x-real-ip", &["6.6.6.6", "203.0.113.7"]), "10.0.0.1");
    assert_eq!(client("x-real-ip", &["6.6.6.6, 203.0.113.7"]), "10.0.0.1");
}

#[test]
fn s37_an_untrusted_neighbour_that_forwards_is_reported_with_the_very_line() {
    let peer = |text: &str| text.parse::<IpAddr>().unwrap();
    let sent = |name| headers(name, &["203.0.113.7"]);
    let none = reader(&[], "x-forwarded-for");
    assert_eq!(none.untrusted_header(peer("127.0.0.1"), &sent("x-forwarded-for")), Some("x-forwarded-for"));
    assert_eq!(none.untrusted_header(peer("172.17.0.1"), &sent("x-real-ip")), Some("x-real-ip"));
    assert_eq!(none.untrusted_header(peer("203.0.113.1"), &sent("x-forwarded-for")), None);
    assert_eq!(none.untrusted_header(peer("127.0.0.1"), &HeaderMap::new()), None);
    let trusting = reader(&["127.0.0.0/8"], "x-forwarded-for");
    assert_eq!(trusting.untrusted_header(peer("127.0.0.1"), &sent("x-forwarded-for")), None);
    let configured = "x-forwarded-for";
    assert_eq!(
        lines_trusting(&[], peer("127.0.0.1"), configured, configured),
        "trusted_proxies = [\"127.0.0.1/32\"]"
    );
    assert_eq!(
        lines_trusting(&["10.0.0.0/8".parse().unwrap()], peer("172.17.0.1"), configured, "x-real-ip"),
        "trusted_proxies = [\"10.0.0.0/8\", \"172.17.0.1/32\"] and forwarded_header = \"x-real-ip\""
    );
}

#[test]
fn s37_the_page_of_metrics_names_the_latest_untrusted_proxy_alone() {
    let reader = reader(&[], "x-forwarded-for");
    let sent = headers("x-real-ip", &["203.0.113.7"]);
    for peer in ["127.0.0.1", "172.17.0.1"] {
        let peer: IpAddr = peer.parse().unwrap();
        reader.watch(peer, ClientAddress::new(peer), &sent, false);
    }
    let page = reader.metrics.render(crate::metrics::Format::Text);
    let shown: Vec<_> =
        page.lines().filter(|line| line.starts_with(crate::metrics::UNTRUSTED_PROXY)).collect();
    assert_eq!(shown.len(), 1, "{page}");
    assert!(shown[0].contains("{peer=\"172.17.0.1\",header=\"x-real-ip\"} "), "{shown:?}");
}

#[test]
fn s37_a_trusted_proxy_that_names_no_client_is_told_what_to_send() {
    let advice = |header, sent: &HeaderMap| {
        let (reader, peer) = (reader(&["10.0.0.0/8"], header), "10.0.0.1".parse().unwrap());
        reader.silence(peer, reader.resolve(peer, sent), sent)
    };
    let is_told = |advice: Option<String>, words: &str| {
        let advice = advice.unwrap();
        assert!(advice.contains(words), "{advice}");
    };
    let none = HeaderMap::new();
    is_told(advice("x-forwarded-for", &none), "have it send x-forwarded-for, with the address of its client");
    is_told(advice("x-real-ip", &none), "have it send x-real-ip");
    let other = headers("x-real-ip", &["203.0.113.7"]);
    is_told(advice("x-forwarded-for", &other), "server.forwarded_header = \"x-real-ip\"");
    is_told(
        advice("forwarded", &headers("forwarded", &["for=unknown"])),
        "its forwarded ends with no address",
    );
    // Who is named is a client: another one of ours, or the proxy's own machine.
    for named in ["203.0.113.7", "10.0.0.9", "10.0.0.1"] {
        assert_eq!(advice("x-forwarded-for", &headers("x-forwarded-for", &[named])), None, "{named}");
    }
    let (untrusting, peer) = (reader(&[], "x-forwarded-for"), "10.0.0.1".parse().unwrap());
    assert_eq!(untrusting.silence(peer, untrusting.resolve(peer, &none), &none), None);
}

fn address_text() -> impl Strategy<Value = String> {
    any::<IpAddr>().prop_map(|address| address.to_string())
}

proptest! {
    #[test]
    fn s12_nothing_panics(
        lines in prop::collection::vec("[ -~]{0,60}|([0-9a-f.:,;=\"\\\\ \\[\\]_]|for=|unknown){0,40}", 0..4),
        header in prop::sample::select(vec!["x-forwarded-for", "forwarded", "x-real-ip"]),
    ) {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        client(header, &lines);
    }

    #[test]
    fn s12_what_a_client_forges_never_wins(
        forged in prop::collection::vec("[ -~]{0,60}", 0..4),
        real in any::<std::net::Ipv4Addr>().prop_filter("not ours", |a| a.octets()[0] != 10),
        proxies in prop::collection::vec(0u8.., 0..3),
    ) {
        let mut lines = forged;
        lines.push(real.to_string());
        lines.extend(proxies.iter().map(|n| format!("10.0.0.{n}")));
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        prop_assert_eq!(client("x-forwarded-for", &lines), real.to_string());
    }

    #[test]
    fn s12_forged_forwarded_elements_give_the_truth_or_the_proxy(
        forged in "([0-9.,;=\" \\\\]|for=|6\\.6\\.6\\.6){0,30}",
        one_line in any::<bool>(),
    ) {
        let appended = "for=\"203.0.113.7:4711\"";
        let seen = if one_line {
            client("forwarded", &[&format!("{forged}, {appended}")])
        } else {
            client("forwarded", &[&forged, appended])
        };
        prop_assert!(seen == "203.0.113.7" || seen == "10.0.0.1", "{}", seen);
    }

    #[test]
    fn s12_lines_count_as_one_joined_line(
        hops in prop::collection::vec(address_text(), 1..8),
        cut in 0usize..8,
    ) {
        let cut = cut.min(hops.len());
        let (left, right) = (hops[..cut].join(", "), hops[cut..].join(","));
        prop_assert_eq!(
            client("x-forwarded-for", &[&left, &right]),
            client("x-forwarded-for", &[&hops.join(", ")])
        );
    }
}
