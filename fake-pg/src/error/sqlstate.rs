//! The codes of conditions. What is said about each stands in the file above.

use std::fmt;
use std::str::FromStr;

/// Five characters that name a condition, by the SQL standard's classes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState([u8; 5]);

/// Names as in PostgreSQL's `errcodes.txt`.
#[allow(missing_docs)]
impl SqlState {
    pub const SUCCESSFUL_COMPLETION: Self = Self(*b"00000");
    pub const WARNING: Self = Self(*b"01000");
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    pub const INVALID_ROLE: Self = Self(*b"0P000");
    pub const CARDINALITY_VIOLATION: Self = Self(*b"21000");
    pub const STRING_DATA_RIGHT_TRUNCATION: Self = Self(*b"22001");
    pub const NUMERIC_VALUE_OUT_OF_RANGE: Self = Self(*b"22003");
    pub const INVALID_DATETIME_FORMAT: Self = Self(*b"22007");
    pub const DATETIME_FIELD_OVERFLOW: Self = Self(*b"22008");
    pub const INVALID_TIME_ZONE_DISPLACEMENT: Self = Self(*b"22009");
    pub const INTERVAL_FIELD_OVERFLOW: Self = Self(*b"22015");
    pub const ARRAY_SUBSCRIPT_ERROR: Self = Self(*b"2202E");
    pub const NULL_VALUE_NOT_ALLOWED: Self = Self(*b"22004");
    pub const UNTRANSLATABLE_CHARACTER: Self = Self(*b"22P05");
    pub const DATA_EXCEPTION: Self = Self(*b"22000");
    pub const ARRAY_ELEMENT_ERROR: Self = Self(*b"2202E");
    pub const SUBSTRING_ERROR: Self = Self(*b"22011");
    pub const NAME_TOO_LONG: Self = Self(*b"42622");
    pub const INVALID_ESCAPE_SEQUENCE: Self = Self(*b"22025");
    pub const DIVISION_BY_ZERO: Self = Self(*b"22012");
    pub const SEQUENCE_GENERATOR_LIMIT_EXCEEDED: Self = Self(*b"2200H");
    pub const INVALID_ARGUMENT_FOR_LOGARITHM: Self = Self(*b"2201E");
    pub const INVALID_ARGUMENT_FOR_POWER_FUNCTION: Self = Self(*b"2201F");
    pub const INVALID_ROW_COUNT_IN_LIMIT_CLAUSE: Self = Self(*b"2201W");
    pub const CHARACTER_NOT_IN_REPERTOIRE: Self = Self(*b"22021");
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    pub const INVALID_TEXT_REPRESENTATION: Self = Self(*b"22P02");
    pub const INVALID_BINARY_REPRESENTATION: Self = Self(*b"22P03");
    pub const BAD_COPY_FILE_FORMAT: Self = Self(*b"22P04");
    pub const NOT_NULL_VIOLATION: Self = Self(*b"23502");
    pub const FOREIGN_KEY_VIOLATION: Self = Self(*b"23503");
    pub const UNIQUE_VIOLATION: Self = Self(*b"23505");
    pub const CHECK_VIOLATION: Self = Self(*b"23514");
    pub const INVALID_CURSOR_STATE: Self = Self(*b"24000");
    pub const INVALID_TRANSACTION_STATE: Self = Self(*b"25000");
    pub const ACTIVE_SQL_TRANSACTION: Self = Self(*b"25001");
    pub const READ_ONLY_SQL_TRANSACTION: Self = Self(*b"25006");
    pub const NO_ACTIVE_SQL_TRANSACTION: Self = Self(*b"25P01");
    pub const IN_FAILED_SQL_TRANSACTION: Self = Self(*b"25P02");
    pub const IDLE_IN_TRANSACTION_SESSION_TIMEOUT: Self = Self(*b"25P03");
    pub const INVALID_SQL_STATEMENT_NAME: Self = Self(*b"26000");
    pub const INVALID_AUTHORIZATION_SPECIFICATION: Self = Self(*b"28000");
    pub const INVALID_GRANT_OPERATION: Self = Self(*b"0LP01");
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    pub const DEPENDENT_OBJECTS_STILL_EXIST: Self = Self(*b"2BP01");
    pub const INVALID_CURSOR_NAME: Self = Self(*b"34000");
    pub const INVALID_SAVEPOINT_SPECIFICATION: Self = Self(*b"3B001");
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    pub const INVALID_SCHEMA_NAME: Self = Self(*b"3F000");
    pub const SERIALIZATION_FAILURE: Self = Self(*b"40001");
    pub const DEADLOCK_DETECTED: Self = Self(*b"40P01");
    pub const SYNTAX_ERROR: Self = Self(*b"42601");
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    pub const INVALID_NAME: Self = Self(*b"42602");
    pub const DUPLICATE_COLUMN: Self = Self(*b"42701");
    pub const AMBIGUOUS_COLUMN: Self = Self(*b"42702");
    pub const UNDEFINED_COLUMN: Self = Self(*b"42703");
    pub const UNDEFINED_OBJECT: Self = Self(*b"42704");
    pub const DUPLICATE_OBJECT: Self = Self(*b"42710");
    pub const DUPLICATE_ALIAS: Self = Self(*b"42712");
    pub const WINDOWING_ERROR: Self = Self(*b"42P20");
    pub const AMBIGUOUS_FUNCTION: Self = Self(*b"42725");
    pub const GROUPING_ERROR: Self = Self(*b"42803");
    pub const DATATYPE_MISMATCH: Self = Self(*b"42804");
    pub const WRONG_OBJECT_TYPE: Self = Self(*b"42809");
    pub const CANNOT_COERCE: Self = Self(*b"42846");
    pub const UNDEFINED_FUNCTION: Self = Self(*b"42883");
    pub const UNDEFINED_TABLE: Self = Self(*b"42P01");
    pub const UNDEFINED_PARAMETER: Self = Self(*b"42P02");
    pub const DUPLICATE_CURSOR: Self = Self(*b"42P03");
    pub const DUPLICATE_PREPARED_STATEMENT: Self = Self(*b"42P05");
    pub const DUPLICATE_DATABASE: Self = Self(*b"42P04");
    pub const DUPLICATE_SCHEMA: Self = Self(*b"42P06");
    pub const DUPLICATE_TABLE: Self = Self(*b"42P07");
    pub const INVALID_OBJECT_DEFINITION: Self = Self(*b"42P17");
    pub const INVALID_FOREIGN_KEY: Self = Self(*b"42830");
    pub const INVALID_CURSOR_DEFINITION: Self = Self(*b"42P11");
    pub const INVALID_COLUMN_REFERENCE: Self = Self(*b"42P10");
    pub const INVALID_TABLE_DEFINITION: Self = Self(*b"42P16");
    pub const AMBIGUOUS_PARAMETER: Self = Self(*b"42P08");
    pub const INDETERMINATE_DATATYPE: Self = Self(*b"42P18");
    pub const RESERVED_NAME: Self = Self(*b"42939");
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    pub const STATEMENT_TOO_COMPLEX: Self = Self(*b"54001");
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self(*b"54000");
    pub const TOO_MANY_COLUMNS: Self = Self(*b"54011");
    pub const OUT_OF_MEMORY: Self = Self(*b"53200");
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: Self = Self(*b"55000");
    pub const OBJECT_IN_USE: Self = Self(*b"55006");
    pub const CANT_CHANGE_RUNTIME_PARAM: Self = Self(*b"55P02");
    pub const LOCK_NOT_AVAILABLE: Self = Self(*b"55P03");
    pub const UNSAFE_NEW_ENUM_VALUE_USAGE: Self = Self(*b"55P04");
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    pub const CRASH_SHUTDOWN: Self = Self(*b"57P02");
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    pub const IDLE_SESSION_TIMEOUT: Self = Self(*b"57P05");
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");

    /// The five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a SQLSTATE is ASCII")
    }
}

impl FromStr for SqlState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let valid = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
        match <[u8; 5]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().all(valid) => Ok(Self(bytes)),
            _ => Err(format!("not a SQLSTATE: {text:?}")),
        }
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlstate_is_five_digits_or_capitals() {
        assert_eq!("40001".parse(), Ok(SqlState::SERIALIZATION_FAILURE));
        assert_eq!("40P01".parse::<SqlState>().unwrap().to_string(), "40P01");
        for wrong in ["", "4000", "400011", "40p01", "4000é"] {
            assert!(wrong.parse::<SqlState>().is_err(), "{wrong}");
        }
    }
}
