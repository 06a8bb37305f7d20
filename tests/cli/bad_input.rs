//! What cannot be done: exit 2 for a command line that will not do, else 1, and always what to do next.

use crate::support::Place;

#[test]
fn usage_errors_exit_with_2_and_others_with_1() {
    let place = Place::new();
    place.good("user create +1234567890");
    for (line, code, told) in [
        ("user show nobody", 1, "freshk user list"),
        ("user show 99", 1, "freshk user list"),
        ("user create 1234567890", 2, "such as +1234567890"),
        ("user create +1234567890", 1, "has a user already"),
        ("user create +1234567891 --role boss", 2, "users.roles has retailer, staff"),
        ("user set-role 1 boss", 2, "users.roles"),
        ("user set-phone 1 nonsense", 2, "such as +1234567890"),
        ("user delete 1", 2, "add --yes"),
        ("session revoke x", 2, "freshk session list"),
        ("session list --user nobody", 1, "freshk user list"),
        ("otp list --phone x", 2, "such as +1234567890"),
        ("limit show x", 2, "203.0.113.7"),
        ("limit reset 1.2.3", 2, "203.0.113.7"),
        ("sms list --state nowhere", 2, "delivered"),
        ("sms send-test x", 2, "such as +1234567890"),
        ("audit list --event nothing", 2, "authn_login_fail"),
        ("audit list --since yesterday", 2, "7d"),
        ("stats --since yesterday", 2, "7d"),
        ("user export /nowhere/users.csv", 1, "a directory that exists"),
    ] {
        let answer = place.run(line);
        assert_eq!((answer.code, answer.stdout.as_str()), (code, ""), "{line}: {}", answer.stderr);
        assert!(
            answer.stderr.starts_with("error: ") && answer.stderr.contains(told),
            "{line}: {}",
            answer.stderr
        );
    }
}

#[test]
fn a_test_message_is_shown_in_debug_and_audited() {
    let place = Place::new();
    place.good("user create +1234567890");
    let answer = place.run("sms send-test +1234567890");
    assert_eq!((answer.code, answer.stdout.as_str()), (0, "the provider has a message to +12******90\n"));
    assert_eq!(place.json("audit list --event sms_test_sent")["lines"][0]["detail"], "operator: accepted");
    assert_eq!(place.json("sms list")["messages"], serde_json::json!([]));
}
