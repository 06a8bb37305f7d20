//! Content negotiation: the media type that a client prefers, by its `Accept` header (RFC 9110 §12.5.1).

use poem::http::HeaderMap;
use poem::http::header::ACCEPT;

/// One element of the header.
pub(super) struct Range<'a> {
    media_type: &'a str,
    parameters: Vec<&'a str>,
}

impl Range<'_> {
    /// Whether it asks for this very type; wildcards ask for none.
    pub(super) fn is(&self, media_type: &str) -> bool {
        self.media_type.eq_ignore_ascii_case(media_type)
    }

    /// The value of a parameter, without quotes.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find_map(|parameter| {
            let (given, value) = parameter.split_once('=')?;
            given.eq_ignore_ascii_case(name).then_some(value.trim_matches('"'))
        })
    }

    fn weight(&self) -> f32 {
        self.parameter("q").map_or(1.0, |weight| weight.parse().unwrap_or(0.0))
    }
}

/// The element with the highest weight among those for which `offer` gives a value, the first of equals; `None` where there
/// is none.
pub(super) fn preferred<T>(headers: &HeaderMap, offer: impl Fn(&Range<'_>) -> Option<T>) -> Option<T> {
    let mut best: Option<(f32, T)> = None;
    for line in headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()) {
        for element in line.split(',') {
            let mut parts = element.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let range = Range { media_type, parameters: parts.collect() };
            let weight = range.weight();
            if weight > 0.0
                && best.as_ref().is_none_or(|(heaviest, _)| weight > *heaviest)
                && let Some(offered) = offer(&range)
            {
                best = Some((weight, offered));
            }
        }
    }
    best.map(|(_, offered)| offered)
}
