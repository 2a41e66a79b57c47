//! What Bind brings: values for parameters, and formats for results.

use super::reply::Format;
use crate::error::{PgError, SqlState};
use crate::types::{Datum, Env, Type, binary, text};
use crate::wire::frontend::Bind;

/// 08P01 that does not end the session.
pub(super) fn violation(message: String) -> PgError {
    PgError::new(SqlState::PROTOCOL_VIOLATION, message)
}

/// Reads the parameters of Bind (`bind_param_error_callback`).
pub(super) fn parameters(bind: &Bind<'_>, types: &[Type]) -> Result<Vec<Datum>, PgError> {
    let values = bind.parameters.iter().zip(types).enumerate();
    values
        .map(|(place, (value, &ty))| {
            let Some(bytes) = value else {
                return Ok(Datum::Null);
            };
            let format = match &bind.formats[..] {
                [] => 0,
                [all] => *all,
                each => each[place],
            };
            let format = Format::from_code(format)?;
            let value = match format {
                Format::Binary => binary::read(ty, bytes, place + 1),
                Format::Text => match std::str::from_utf8(bytes) {
                    Ok(value) => text::read(ty, value, Env::default()),
                    Err(error) => Err(binary::invalid_encoding(&bytes[error.valid_up_to()..])),
                },
            };
            value.map_err(|error| {
                let portal = match bind.portal {
                    "" => "unnamed portal".to_string(),
                    name => format!("portal \"{name}\""),
                };
                // Of its text nothing is told: `log_parameter_max_length_on_error` is 0.
                let shown = match (format, bytes.is_empty()) {
                    (Format::Binary, _) => "",
                    (Format::Text, true) => " = ''",
                    (Format::Text, false) => " = '...'",
                };
                let number = place + 1;
                error.within(format_args!("{portal} parameter ${number}{shown}"))
            })
        })
        .collect()
}

/// One format for each column of a result.
pub(super) fn result_formats(codes: &[i16], columns: usize) -> Result<Vec<Format>, PgError> {
    match codes {
        [] => Ok(Vec::new()),
        [all] => Ok(vec![Format::from_code(*all)?; columns]),
        each if each.len() == columns => each.iter().map(|&code| Format::from_code(code)).collect(),
        each => Err(violation(format!(
            "bind message has {} result formats but query has {columns} columns",
            each.len()
        ))),
    }
}
