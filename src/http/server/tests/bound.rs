//! Where nothing can listen.

use super::*;

#[tokio::test]
async fn an_address_in_use_says_what_to_do() {
    let first = bind(&Listen::parse("127.0.0.1:0").unwrap()).unwrap();
    let address = first.address().unwrap();
    let error = bind(&address).unwrap_err();
    assert!(matches!(error, BindError::InUse(_)));
    assert!(error.to_string().contains("server.listen"));
    let error = bind(&Listen::parse("192.0.2.1:0").unwrap()).unwrap_err();
    assert!(matches!(error, BindError::NotOurs(_)), "{error}");
}
