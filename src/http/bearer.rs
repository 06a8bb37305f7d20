//! The `Authorization` header. Extracting it never fails: the handler's first line checks it, so that the 401 has our form.

use poem::http::HeaderMap;
use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::header::single;
use crate::domain::Secret;
use crate::http::error::{ApiError, ErrorCode};

/// The scheme's name in the description of the API; Swagger UI's Authorize button shows it.
const SCHEME: &str = "BearerToken";

/// An access token as received, unchecked; the first argument of a handler.
#[derive(Debug)]
pub struct BearerToken(Result<Secret, ErrorCode>);

impl BearerToken {
    /// The token.
    ///
    /// # Errors
    /// `not_authenticated` where none came, `token_invalid` where what came cannot be one.
    pub fn token(&self) -> Result<&Secret, ApiError> {
        self.0.as_ref().map_err(|code| ApiError::new(*code))
    }

    fn read(headers: &HeaderMap) -> Result<Secret, ErrorCode> {
        let line = single(headers, &AUTHORIZATION).map_err(|_| ErrorCode::TokenInvalid)?;
        let line = line.ok_or(ErrorCode::NotAuthenticated)?;
        let (scheme, token) = line.split_once(' ').unwrap_or((line, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(ErrorCode::NotAuthenticated);
        }
        let token = token.trim();
        // token68 (RFC 9110 §11.2)
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if token.is_empty() || !token.bytes().all(good) {
            return Err(ErrorCode::TokenInvalid);
        }
        Ok(Secret::new(token))
    }
}

impl<'a> ApiExtractor<'a> for BearerToken {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            SCHEME,
            MetaSecurityScheme {
                ty: "http",
                description: Some("The `access` token that `verify/` gave."),
                name: None,
                key_in: None,
                scheme: Some("bearer"),
                bearer_format: Some("JWT"),
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SCHEME]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        Ok(Self(Self::read(request.headers())))
    }
}

/// The same where an operation also answers without a token.
#[derive(Debug)]
pub struct OptionalBearerToken(BearerToken);

impl OptionalBearerToken {
    /// Whether anything came that claims to be a token.
    pub const fn is_there(&self) -> bool {
        !matches!(self.0.0, Err(ErrorCode::NotAuthenticated))
    }

    /// The token, where one is needed after all.
    pub const fn required(&self) -> &BearerToken {
        &self.0
    }
}

impl<'a> ApiExtractor<'a> for OptionalBearerToken {
    const TYPES: &'static [ApiExtractorType] = BearerToken::TYPES;

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        BearerToken::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        BearerToken::security_schemes()
    }

    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        BearerToken::from_request(request, body, options).await.map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&'static str]) -> Result<String, ErrorCode> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, line.parse().unwrap());
        }
        BearerToken::read(&headers).map(|token| token.expose().to_owned())
    }

    #[test]
    fn s18_what_came_is_told_apart_from_nothing() {
        assert_eq!(read(&["Bearer abc.def-_~+/="]), Ok("abc.def-_~+/=".to_owned()));
        assert_eq!(read(&["bEARER  abc"]), Ok("abc".to_owned()));
        for missing in [&[] as &[_], &["Basic YTpi"], &["abc.def"], &[""]] {
            assert_eq!(read(missing), Err(ErrorCode::NotAuthenticated), "{missing:?}");
        }
        for bad in [&["Bearer"] as &[_], &["Bearer "], &["Bearer a b"], &["Bearer a", "Bearer b"]] {
            assert_eq!(read(bad), Err(ErrorCode::TokenInvalid), "{bad:?}");
        }
    }

    #[test]
    fn s34_a_token_is_never_printed() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "Bearer hidden".parse().unwrap());
        assert!(!format!("{:?}", BearerToken(BearerToken::read(&headers))).contains("hidden"));
    }
}
