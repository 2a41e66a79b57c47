//! Operators other than comparisons.

use super::{Arg, Function, Returns, json, math, strict, strings, times};
use crate::types::Type;

/// A function, what it wants its operands to be, and what it gives.
type Found = (&'static Function, (Type, Type), Type);

const fn op(name: &'static str, body: super::Body) -> Function {
    strict(name, &[Arg::Any, Arg::Any], Returns::Is(Type::Void), body)
}

macro_rules! operators {
    ($($constant:ident = $name:literal $body:path;)*) => {
        $(static $constant: Function = op($name, $body);)*
    };
}

operators! {
    ADD = "+" math::add;
    SUBTRACT = "-" math::subtract;
    MULTIPLY = "*" math::multiply;
    DIVIDE = "/" math::divide;
    MODULO = "%" math::modulo;
    POWER = "^" math::power;
    BIT_AND = "&" math::bit_and;
    BIT_OR = "|" math::bit_or;
    BIT_XOR = "#" math::bit_xor;
    SHIFT_LEFT = "<<" math::shift_left;
    SHIFT_RIGHT = ">>" math::shift_right;
    NEGATE = "-" math::negate;
    TIME_PLUS = "+" times::plus;
    PLUS_TIME = "+" times::plus_reversed;
    TIME_MINUS = "-" times::minus;
    TIME_DIFFERENCE = "-" times::difference;
    INTERVAL_PLUS = "+" times::interval_plus;
    INTERVAL_MINUS = "-" times::interval_minus;
    INTERVAL_TIMES = "*" times::interval_times;
    TIMES_INTERVAL = "*" times::times_interval;
    INTERVAL_OVER = "/" times::interval_over;
    INTERVAL_NEGATE = "-" times::interval_negate;
    CONCAT = "||" strings::concat_two;
    ARRAY_CONCAT = "||" strings::array_concat;
    ARRAY_APPEND = "||" strings::array_append;
    JSON_CONCAT = "||" json::concat;
    LIKE = "~~" strings::like_op;
    NOT_LIKE = "!~~" strings::not_like_op;
    ILIKE = "~~*" strings::ilike_op;
    NOT_ILIKE = "!~~*" strings::not_ilike_op;
    FIELD = "->" json::field;
    FIELD_TEXT = "->>" json::field_text;
    ITEM = "->" json::item;
    ITEM_TEXT = "->>" json::item_text;
    PATH = "#>" json::path;
    PATH_TEXT = "#>>" json::path_text;
    CONTAINS = "@>" json::contains;
    CONTAINED = "<@" json::contained;
    HAS_KEY = "?" json::has_key;
    DELETE_KEY = "-" json::delete_key;
    ARRAY_CONTAINS = "@>" strings::array_contains;
    ARRAY_CONTAINED = "<@" strings::array_contained;
    ARRAY_OVERLAPS = "&&" strings::array_overlaps;
}

fn is_integer(ty: Type) -> bool {
    matches!(ty, Type::Int2 | Type::Int4 | Type::Int8)
}

fn is_number(ty: Type) -> bool {
    is_integer(ty) || ty == Type::Float8
}

fn is_text(ty: Type) -> bool {
    matches!(ty, Type::Text | Type::Varchar | Type::Name)
}

fn wider(a: Type, b: Type) -> Type {
    let rank = |ty| match ty {
        Type::Int2 => 0,
        Type::Int4 => 1,
        Type::Int8 => 2,
        _ => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

/// The operator for two types, of which at most one may be unknown.
pub(crate) fn binary_operator(name: &str, left: Type, right: Type) -> Option<Found> {
    use Type::{Interval, Json, Jsonb, Text, Timestamptz, Unknown};
    let plain = |function, ty| Some((function, (ty, ty), ty));
    // An unknown operand takes the other's type, where that makes sense.
    let (l, r) = match (left, right) {
        (Unknown, Unknown) => (Text, Text),
        (Unknown, r) if is_number(r) || r == Interval => (r, r),
        (l, Unknown) if is_number(l) || l == Interval => (l, l),
        (Timestamptz, Unknown) if name == "+" => (Timestamptz, Interval),
        (Unknown, Timestamptz) if name == "+" => (Interval, Timestamptz),
        (Timestamptz, Unknown) => (Timestamptz, Timestamptz),
        (Unknown, Timestamptz) => (Timestamptz, Timestamptz),
        other => other,
    };
    match name {
        "+" | "-" | "*" | "/" | "%" if is_number(l) && is_number(r) => {
            let ty = wider(l, r);
            let function = match name {
                "+" => &ADD,
                "-" => &SUBTRACT,
                "*" => &MULTIPLY,
                "/" => &DIVIDE,
                _ if ty == Type::Float8 => return None,
                _ => &MODULO,
            };
            plain(function, ty)
        }
        "^" if is_number(l) && is_number(r) => plain(&POWER, Type::Float8),
        "&" | "|" | "#" if is_integer(l) && is_integer(r) => {
            let function = match name {
                "&" => &BIT_AND,
                "|" => &BIT_OR,
                _ => &BIT_XOR,
            };
            plain(function, wider(l, r))
        }
        "<<" if is_integer(l) && is_integer(r) => Some((&SHIFT_LEFT, (l, Type::Int4), l)),
        ">>" if is_integer(l) && is_integer(r) => Some((&SHIFT_RIGHT, (l, Type::Int4), l)),
        "+" => match (l, r) {
            (Timestamptz, Interval) => Some((&TIME_PLUS, (l, r), l)),
            (Interval, Timestamptz) => Some((&PLUS_TIME, (l, r), r)),
            (Interval, Interval) => plain(&INTERVAL_PLUS, Interval),
            _ => None,
        },
        "-" => match (l, r) {
            (Timestamptz, Interval) => Some((&TIME_MINUS, (l, r), l)),
            (Timestamptz, Timestamptz) => Some((&TIME_DIFFERENCE, (l, r), Interval)),
            (Interval, Interval) => plain(&INTERVAL_MINUS, Interval),
            (Jsonb, Unknown | Text | Type::Varchar) => Some((&DELETE_KEY, (Jsonb, Text), Jsonb)),
            _ => None,
        },
        "*" | "/" => {
            // The unknown beside an interval is a factor.
            let number = |ty| is_number(ty) || ty == Unknown;
            match (left, right) {
                (Interval, r) if number(r) && name == "*" => {
                    Some((&INTERVAL_TIMES, (Interval, Type::Float8), Interval))
                }
                (l, Interval) if number(l) && name == "*" => {
                    Some((&TIMES_INTERVAL, (Type::Float8, Interval), Interval))
                }
                (Interval, r) if number(r) => {
                    Some((&INTERVAL_OVER, (Interval, Type::Float8), Interval))
                }
                _ => None,
            }
        }
        "||" => concatenation(left, right),
        "~~" | "!~~" | "~~*" | "!~~*"
            if (is_text(l) || l == Unknown) && (is_text(r) || r == Unknown) =>
        {
            let function = match name {
                "~~" => &LIKE,
                "!~~" => &NOT_LIKE,
                "~~*" => &ILIKE,
                _ => &NOT_ILIKE,
            };
            Some((function, (Text, Text), Type::Bool))
        }
        "->" | "->>" if matches!(l, Json | Jsonb) => {
            let result = if name == "->" { l } else { Text };
            match (is_integer(r), name) {
                (true, "->") => Some((&ITEM, (l, Type::Int4), result)),
                (true, _) => Some((&ITEM_TEXT, (l, Type::Int4), result)),
                (false, _) if !is_text(r) && r != Unknown => None,
                (false, "->") => Some((&FIELD, (l, Text), result)),
                (false, _) => Some((&FIELD_TEXT, (l, Text), result)),
            }
        }
        "#>" if matches!(l, Json | Jsonb) => Some((&PATH, (l, Type::TextArray), l)),
        "#>>" if matches!(l, Json | Jsonb) => Some((&PATH_TEXT, (l, Type::TextArray), Text)),
        "@>" if l == Jsonb => Some((&CONTAINS, (l, Jsonb), Type::Bool)),
        "<@" if l == Jsonb || r == Jsonb => Some((&CONTAINED, (Jsonb, Jsonb), Type::Bool)),
        "?" if l == Jsonb => Some((&HAS_KEY, (l, Text), Type::Bool)),
        "@>" | "<@" | "&&" => {
            let array = if l.element().is_some() { l } else { r };
            array.element()?;
            let function = match name {
                "@>" => &ARRAY_CONTAINS,
                "<@" => &ARRAY_CONTAINED,
                _ => &ARRAY_OVERLAPS,
            };
            Some((function, (array, array), Type::Bool))
        }
        _ => None,
    }
}

fn concatenation(left: Type, right: Type) -> Option<Found> {
    use Type::{Jsonb, Text, Unknown};
    match (left, right) {
        (Jsonb, Jsonb | Unknown) | (Unknown, Jsonb) => Some((&JSON_CONCAT, (Jsonb, Jsonb), Jsonb)),
        (array, other) if array.element().is_some() => {
            let element = array.element()?;
            match other {
                Unknown => Some((&ARRAY_CONCAT, (array, array), array)),
                other if other == array => Some((&ARRAY_CONCAT, (array, array), array)),
                _ => Some((&ARRAY_APPEND, (array, element), array)),
            }
        }
        (_, array) if array.element().is_some() => None,
        // One text is enough: the other is cast. What is unknown is text.
        (l, r) if is_text(l) || is_text(r) || l == Unknown || r == Unknown => {
            Some((&CONCAT, (Text, Text), Text))
        }
        _ => None,
    }
}

/// The prefix operator for a type, and what it gives.
pub(crate) fn prefix_operator(name: &str, ty: Type) -> Option<(&'static Function, Type)> {
    match name {
        "-" if is_number(ty) => Some((&NEGATE, ty)),
        "-" if ty == Type::Interval => Some((&INTERVAL_NEGATE, ty)),
        _ => None,
    }
}
