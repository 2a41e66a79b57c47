//! Identifiers as they must be written.

/// Words that must be quoted where they are names: every keyword that is not unreserved
/// (`pg_get_keywords` of PostgreSQL 15).
const KEYWORDS: &str = "\
    all analyse analyze and any array as asc asymmetric authorization between bigint binary \
    bit boolean both case cast char character check coalesce collate collation column \
    concurrently constraint create cross current_catalog current_date current_role \
    current_schema current_time current_timestamp current_user dec decimal default \
    deferrable desc distinct do else end except exists extract false fetch float for foreign \
    freeze from full grant greatest group grouping having ilike in initially inner inout int \
    integer intersect interval into is isnull join lateral leading least left like limit \
    localtime localtimestamp national natural nchar none normalize not notnull null nullif \
    numeric offset on only or order out outer overlaps overlay placing position precision \
    primary real references returning right row select session_user setof similar smallint \
    some substring symmetric table tablesample then time timestamp to trailing treat trim \
    true union unique user using values varchar variadic verbose when where window with \
    xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi \
    xmlroot xmlserialize xmltable";

/// An identifier as it must be written: in double quotes if it would be read otherwise
/// (`quote_identifier`).
pub(crate) fn quote_name(name: &str) -> std::borrow::Cow<'_, str> {
    let mut characters = name.chars();
    let first = characters.next();
    let plain = first.is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !KEYWORDS.split(' ').any(|word| word == name);
    match plain {
        true => name.into(),
        false => format!("\"{}\"", name.replace('"', "\"\"")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::quote_name;

    #[test]
    fn names_are_quoted_where_they_would_be_read_otherwise() {
        // From quote_ident() on PostgreSQL 15.18.
        for (name, quoted) in [
            ("a_1", "a_1"),
            ("A", "\"A\""),
            ("1a", "\"1a\""),
            ("user", "\"user\""),
            ("name", "name"),
            ("a\"b", "\"a\"\"b\""),
            ("", "\"\""),
        ] {
            assert_eq!(quote_name(name), quoted);
        }
    }
}
