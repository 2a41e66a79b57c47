//! Settings as PostgreSQL shows and refuses them.

use super::*;

#[test]
fn local_ends_with_the_transaction_and_set_with_its_rollback() {
    let mut settings = Settings::new([("application_name", "a")]).unwrap();
    let app = |settings: &Settings| settings.application_name().to_string();
    settings.begin();
    settings.set("application_name", Some("b"), true).unwrap();
    assert_eq!(app(&settings), "b");
    settings.commit();
    assert_eq!(app(&settings), "a");
    settings.begin();
    settings.set("application_name", Some("c"), false).unwrap();
    settings.savepoint();
    let level = settings.level();
    settings.set("application_name", Some("d"), false).unwrap();
    settings.rollback_to(level);
    assert_eq!(app(&settings), "c");
    settings.rollback();
    assert_eq!(app(&settings), "a");
    settings.set("application_name", Some("e"), false).unwrap();
    settings.set("application_name", None, false).unwrap();
    assert_eq!(app(&settings), "a");
}

#[test]
fn values_are_shown_as_postgres_shows_them() {
    // From PostgreSQL 15: set, then show.
    for (name, value, shown) in [
        ("lock_timeout", "2s", "2s"),
        ("lock_timeout", "1500", "1500ms"),
        ("lock_timeout", "0", "0"),
        ("statement_timeout", "120000", "2min"),
        ("synchronous_commit", "OFF", "off"),
        ("synchronous_commit", "true", "on"),
        ("timezone", "utc", "UTC"),
        ("client_encoding", "utf-8", "UTF8"),
        ("datestyle", "ISO", "ISO, MDY"),
        ("my.own", "x", "x"),
    ] {
        let mut settings = Settings::default();
        settings.set(name, Some(value), false).unwrap();
        assert_eq!(settings.get(name).unwrap(), shown, "{name} = {value}");
    }
    for (name, value, code) in [
        ("lock_timeout", "soon", "22023"),
        ("synchronous_commit", "maybe", "22023"),
        ("server_version", "16", "55P02"),
        ("TimeZone", "Europe/Berlin", "0A000"),
        ("enable_hashjoin", "off", "0A000"),
    ] {
        let error = Settings::default()
            .set(name, Some(value), false)
            .unwrap_err();
        assert_eq!(error.code.as_str(), code, "{name} = {value}");
    }
}
