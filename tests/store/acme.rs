//! What an ACME client keeps in `PostgreSQL` for several servers.

use freshk::storage::postgres::{AcmeTable, PostgresOptions, PostgresSettings, PostgresStore};
use freshk::storage::users::FirstId;

use crate::postgres;

#[test]
fn one_server_of_several_may_order_and_all_read_the_same() {
    let Some(server) = postgres::server() else { return };
    let schema = server.schema();
    let mut settings = PostgresSettings::parse(&server.url()).unwrap();
    schema.name().clone_into(&mut settings.schema);
    let first_id = FirstId { id: 1, raises: true };
    let options = PostgresOptions { settings: settings.clone(), first_id, principals: 0, migrate: true };
    let _store = PostgresStore::open(&options).unwrap();
    let table = AcmeTable::new(Box::new(settings));
    assert_eq!(table.read("certificate.pem").unwrap(), None);
    for text in ["first", "second"] {
        table.write("certificate.pem", text).unwrap();
        assert_eq!(table.read("certificate.pem").unwrap().as_deref(), Some(text));
    }
    assert!(table.lease("a").unwrap() && table.lease("a").unwrap(), "its holder prolongs it");
    assert!(!table.lease("b").unwrap(), "another one waits");
    schema.execute("UPDATE acme SET until = 0 WHERE name = 'lease'");
    assert!(
        table.lease("b").unwrap() && !table.lease("a").unwrap(),
        "a server that is gone holds it no longer"
    );
}
