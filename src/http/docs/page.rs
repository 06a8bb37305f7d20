//! The page to try the API on: Swagger UI as poem-openapi embeds it, in a page of our own.
//!
//! Nothing comes from another host, and a policy of its own lets only its own two scripts run.

use data_encoding::BASE64;
use poem_openapi::OpenApiService;
use sha2::{Digest as _, Sha256};

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>FreshK API</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%23176b4d'/%3E%3Cpath d='M5 12V4h6M5 8h5' fill='none' stroke='white' stroke-width='2'/%3E%3C/svg%3E">
"#;

/// The schemas' examples stand beside them, and no answer has links: both would only take room. In the dark the whole page is
/// inverted at its root, since a filter on `body` would move the dialogs, which lie fixed on the screen; what is dark in
/// the light stays so.
const STYLE: &str = "
body { margin: 0; background: #fff; }
.documents { max-width: 1460px; margin: 0 auto; padding: 12px 20px 0; font: 14px/1.5 sans-serif; color: #3b4151; }
.documents a, .swagger-ui .info a { color: #176b4d; }
.swagger-ui .btn.authorize { color: #176b4d; border-color: #176b4d; }
.swagger-ui .btn.authorize svg { fill: #176b4d; }
.swagger-ui .opblock .opblock-summary-method { color: #000; text-shadow: none; }
.swagger-ui .response-col_links, .swagger-ui .model > .property { display: none; }
.swagger-ui .copy-to-clipboard, .swagger-ui .download-contents { z-index: 1; }
@media (max-width: 600px) {
  .documents { padding: 12px 10px 0; }
  .swagger-ui .wrapper { padding: 0 10px; }
  .swagger-ui .opblock .opblock-summary { flex-wrap: wrap; }
  .swagger-ui .opblock .opblock-summary-path { max-width: 100%; flex-shrink: 1; }
  .swagger-ui .responses-inner { padding: 12px; }
  .swagger-ui .responses-table, .swagger-ui .responses-table > tbody, .swagger-ui .responses-table > tbody > tr,
  .swagger-ui .responses-table > tbody > tr > td { display: block; width: auto; max-width: 100%; }
  .swagger-ui .responses-table > thead { display: none; }
  .swagger-ui .responses-table > tbody > tr > td { padding: 6px 0; }
  .swagger-ui .responses-table > tbody > tr > td.response-col_links { display: none; }
  .swagger-ui .responses-table .response-col_status { font-weight: 700; }
  .swagger-ui table.model > tbody > tr.description td, .swagger-ui table.headers { display: block; overflow-x: auto; }
  .swagger-ui .live-responses-table .highlight-code .microlight { padding-bottom: 48px !important; }
  .swagger-ui .model-example { overflow-x: auto; }
  .swagger-ui .model-hint { display: none; }
}
@media (prefers-color-scheme: dark) {
  html { background: #fff; filter: invert(0.92) hue-rotate(180deg); }
  .swagger-ui .microlight, .swagger-ui .opblock-summary-method { filter: invert(1) hue-rotate(180deg); }
  .swagger-ui .dialog-ux .backdrop-ux { background: rgba(255, 255, 255, 0.8); }
}
";

const BODY: &str = r#"<p class="documents">For machines: <a href="/openapi.yaml">openapi.yaml</a>, <a href="/openapi.json">openapi.json</a>;
what providers call: <a href="/openapi-callbacks.json">openapi-callbacks.json</a>.</p>
<div id="ui"></div>
"#;

/// The token that was given under "Authorize" is kept over a reload.
const START: &str =
    "SwaggerUIBundle({ dom_id: '#ui', url: '/openapi.json', deepLinking: true, persistAuthorization: true })";

/// The page.
pub(super) fn page() -> String {
    let theirs = OpenApiService::new((), "", "").swagger_ui_html();
    let style = between(&theirs, "<style", "</style>");
    let script = between(&theirs, "<script", "</script>");
    format!(
        "{HEAD}<style>{style}{STYLE}</style>\n</head>\n<body>\n{BODY}<script>{script}</script>\n<script>{START}</script>\n\
         </body>\n</html>\n"
    )
}

/// The text of the first element whose tag begins with `open`.
fn between<'a>(page: &'a str, open: &str, close: &str) -> &'a str {
    let text = page.split_once(open).and_then(|(_, tag)| tag.split_once('>')).map_or("", |(_, text)| text);
    text.split_once(close).map_or(text, |(text, _)| text)
}

/// The page's content security policy: its scripts by their hashes, calls to this host alone. Swagger UI writes styles
/// into the page as it goes, and its pictures are `data:` URLs.
pub(super) fn policy(page: &str) -> String {
    let scripts: Vec<_> = scripts(page)
        .into_iter()
        .map(|script| format!("'sha256-{}'", BASE64.encode(&Sha256::digest(script.as_bytes()))))
        .collect();
    format!(
        "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        scripts.join(" ")
    )
}

/// The texts of the page's inline scripts.
fn scripts(page: &str) -> Vec<&str> {
    let (mut scripts, mut rest) = (Vec::new(), page);
    while let Some((_, tag)) = rest.split_once("<script")
        && let Some((_, text)) = tag.split_once('>')
        && let Some((script, after)) = text.split_once("</script>")
    {
        scripts.push(script);
        rest = after;
    }
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_two_scripts_and_nothing_from_elsewhere() {
        let page = page();
        let scripts = scripts(&page);
        assert_eq!(scripts.len(), 2);
        assert!(scripts[0].len() > 1_000_000 && scripts[1] == START, "Swagger UI, and what starts it");
        assert!(!page.contains(" src=\"http") && !page.contains(" href=\"http") && !page.contains("@import"));
        assert_eq!(policy(&page).matches("'sha256-").count(), 2);
    }

    #[test]
    fn the_page_is_whole_fits_a_phone_and_the_dark_and_keeps_the_token() {
        let page = page();
        let head = page.split_once("<style>").unwrap().0;
        assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">\n"));
        for part in [
            "<meta charset=\"utf-8\">",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
            "<meta name=\"color-scheme\" content=\"light dark\">",
            "<title>FreshK API</title>",
            "<link rel=\"icon\" href=\"data:image/svg+xml,",
        ] {
            assert!(head.contains(part), "{part}: {head}");
        }
        assert!(page.contains("@media (prefers-color-scheme: dark)"));
        assert!(START.contains("persistAuthorization: true"));
        for document in ["/openapi.yaml", "/openapi.json", "/openapi-callbacks.json"] {
            assert!(page.contains(&format!("<a href=\"{document}\">")), "{document}");
        }
        assert!(page.contains(".swagger-ui{"), "its style is there");
    }
}
