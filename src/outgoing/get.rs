//! One GET.

use ureq::Agent;
use ureq::http::HeaderMap;

use super::words;

/// Asks for `url`, and waits for the answer within the agent's time-out; gives its status and at most `cap` bytes of its body, which
/// is empty where it could not be read to its end. Blocks its thread.
///
/// # Errors
/// What went wrong, in words.
pub(crate) fn get(agent: &Agent, url: &str, headers: HeaderMap, cap: u64) -> Result<(u16, Vec<u8>), String> {
    let mut request = agent.get(url);
    if let Some(own) = request.headers_mut() {
        own.extend(headers);
    }
    let mut response = request.call().map_err(|error| words(&error))?;
    let body = response.body_mut().with_config().limit(cap).read_to_vec().unwrap_or_default();
    Ok((response.status().as_u16(), body))
}
