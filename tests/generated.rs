//! Generated files are held against the code; `UPDATE_GENERATED=1 cargo test --test generated` rewrites them.

use std::fs;

use freshk::api::ProductionApi;
use freshk::http::docs;

#[test]
fn openapi_yaml_is_what_the_program_serves() {
    let generated = docs::spec_yaml::<ProductionApi>();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write("openapi.yaml", &generated).unwrap();
    }
    let committed = fs::read_to_string("openapi.yaml").unwrap_or_default();
    assert!(
        committed == generated,
        "openapi.yaml differs from the code: run UPDATE_GENERATED=1 cargo test --test generated"
    );
}
