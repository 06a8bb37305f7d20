//! Headers that the description lists as parameters.

use poem::http::{HeaderMap, HeaderName};

/// Makes a type an optional header of a call: `$schema` describes it, and `$read` takes it out of the headers, which never
/// fails, so that the order of faults is the handler's.
macro_rules! header_parameter {
    ($type:ty, $schema:expr, $read:expr) => {
        impl<'a> poem_openapi::ApiExtractor<'a> for $type {
            const TYPES: &'static [poem_openapi::ApiExtractorType] =
                &[poem_openapi::ApiExtractorType::Parameter];

            type ParamType = String;
            type ParamRawType = String;

            fn param_in() -> Option<poem_openapi::registry::MetaParamIn> {
                Some(poem_openapi::registry::MetaParamIn::Header)
            }

            fn param_schema_ref() -> Option<poem_openapi::registry::MetaSchemaRef> {
                Some(poem_openapi::registry::MetaSchemaRef::Inline(Box::new($schema)))
            }

            async fn from_request(
                request: &'a poem::Request,
                _: &mut poem::RequestBody,
                _: poem_openapi::ExtractParamOptions<Self::ParamType>,
            ) -> poem::Result<Self> {
                Ok($read(request.headers()))
            }
        }
    };
}
pub(super) use header_parameter;

/// The text of a header that came once; `Ok(None)` where it did not come.
///
/// # Errors
/// Where it came more than once, or is no text.
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, NotOneText> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let text = line.to_str().map_err(|_| NotOneText)?;
    if lines.next().is_some() { Err(NotOneText) } else { Ok(Some(text)) }
}

/// A header that came more than once, or is no text.
#[derive(Debug)]
pub(super) struct NotOneText;
