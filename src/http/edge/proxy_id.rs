//! The name that a trusted proxy has given the request: logged beside ours, so that both logs can be laid side by side. It is
//! never ours, and never answered.

use poem::http::HeaderMap;

const HEADER: &str = "x-request-id";

/// The longest name that is kept, in characters.
const LENGTH: usize = 128;

/// The name, of nothing but the characters that such names are made of: a proxy may pass on what its client has written.
/// The last line is the proxy's own.
pub(super) fn read(headers: &HeaderMap) -> Option<String> {
    let line = headers.get_all(HEADER).iter().next_back()?.as_bytes();
    let is_kept = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:=+/@".contains(b);
    let name: String = line.iter().filter(|b| is_kept(b)).take(LENGTH).map(|b| char::from(*b)).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::http::HeaderValue;

    fn name(lines: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(HEADER, HeaderValue::from_bytes(line).unwrap());
        }
        read(&headers)
    }

    #[test]
    fn s34_a_proxys_name_for_a_request_is_kept_without_what_does_not_belong_in_one() {
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[b"  "]), None);
        let amazons = "Root=1-67891233-abcdef012345678912345678";
        assert_eq!(name(&[amazons.as_bytes()]).as_deref(), Some(amazons));
        assert_eq!(name(&[b"forged", b"7d1f"]).as_deref(), Some("7d1f"));
        assert_eq!(name(&[b"a\"b {c}\x9b\xff"]).as_deref(), Some("abc"));
        assert_eq!(name(&[&[b'a'; 500]]).unwrap().len(), LENGTH);
    }
}
