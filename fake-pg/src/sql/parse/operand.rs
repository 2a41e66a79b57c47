//! What stands between operators: literals, names, calls, CASE, casts, types.

use std::sync::Arc;

use squawk_syntax::ast::{AstNode, Literal};
use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::expr::{child_expr, child_exprs, expr, is_expr};
use super::tree::{Tree, child, child_of, children, has, name, path, token};
use super::{escape, query};
use crate::sql::ast::{Call, Expr, Query, TypeName};

pub(super) fn call(name: &str, args: Vec<Expr>, at: u32) -> Expr {
    Expr::Call(Box::new(Call {
        name: vec![name.into()],
        args,
        star: false,
        distinct: false,
        order_by: Vec::new(),
        filter: None,
        at,
    }))
}

fn unsupported(what: &str) -> Expr {
    Expr::Unsupported(what.into())
}

fn subquery(
    tree: &Tree<'_>,
    node: &SyntaxNode,
    at: u32,
    wrap: fn(Box<Query>, u32) -> Expr,
) -> Expr {
    match query::query(tree, node) {
        Ok(query) => wrap(Box::new(query), at),
        Err(what) => Expr::Unsupported(what),
    }
}

/// Lowers what stands between operators.
pub(super) fn operand(tree: &Tree<'_>, node: &SyntaxNode) -> Expr {
    let at = tree.at(node);
    match node.kind() {
        K::LITERAL => literal(tree, node, at),
        K::NAME_REF => name_ref(node, at),
        K::FIELD_EXPR => field(node, at),
        K::PAREN_EXPR => {
            if let Some(inner) = query::inner_query(node) {
                return subquery(tree, &inner, at, Expr::Subquery);
            }
            child_expr(tree, node).unwrap_or_else(|| unsupported("this parenthesis"))
        }
        K::TUPLE_EXPR => Expr::Row(child_exprs(tree, node), at),
        K::CAST_EXPR => cast(tree, node),
        K::CASE_EXPR => case(tree, node),
        K::ARRAY_EXPR => match query::inner_query(node) {
            Some(inner) => subquery(tree, &inner, at, Expr::ArrayQuery),
            None => Expr::Array(child_exprs(tree, node), at),
        },
        K::INDEX_EXPR | K::SLICE_EXPR if child(node, K::ARRAY_EXPR).is_some() => {
            // A constructor is subscripted in parentheses only.
            if let Some(bracket) = token(node, K::L_BRACK) {
                tree.refuse(tree.token_at(&bracket));
            }
            unsupported("this subscript")
        }
        K::INDEX_EXPR => match <[Expr; 2]>::try_from(child_exprs(tree, node)) {
            Ok([base, index]) => Expr::Index(Box::new(base), Box::new(index)),
            Err(_) => unsupported("this subscript"),
        },
        K::SLICE_EXPR => slice(tree, node),
        K::CALL_EXPR => call_expr(tree, node, at),
        _ => unsupported("this expression"),
    }
}

fn slice(tree: &Tree<'_>, node: &SyntaxNode) -> Expr {
    let mut base = None;
    let (mut low, mut high) = (None, None);
    let mut after_colon = false;
    for element in node.children_with_tokens() {
        after_colon |= element.kind() == K::COLON;
        let Some(inner) = element.as_node().filter(|inner| is_expr(inner)) else {
            continue;
        };
        let bound = Some(Box::new(expr(tree, inner)));
        match (&base, after_colon) {
            (None, _) => base = bound,
            (_, false) => low = bound,
            (_, true) => high = bound,
        }
    }
    match base {
        Some(base) => Expr::Slice(base, low, high),
        None => unsupported("this subscript"),
    }
}

fn literal(tree: &Tree<'_>, node: &SyntaxNode, at: u32) -> Expr {
    let Some(token) = node.first_token() else {
        return unsupported("this literal");
    };
    let text = token.text();
    match token.kind() {
        K::NULL_KW => Expr::Null(at),
        K::TRUE_KW => Expr::Bool(true, at),
        K::FALSE_KW => Expr::Bool(false, at),
        K::DEFAULT_KW => Expr::Default(at),
        K::POSITIONAL_PARAM => match text[1..].parse::<usize>() {
            Ok(number @ 1..=65535) => {
                tree.saw_param(number);
                Expr::Param(number - 1, at)
            }
            _ => unsupported("this parameter number"),
        },
        K::INT_NUMBER => match text.parse::<i64>() {
            Ok(number) => Expr::Integer(number, at),
            Err(_) => Expr::Numeric(text.into(), at),
        },
        K::NUMERIC_NUMBER => Expr::Numeric(text.into(), at),
        K::BIT_STRING | K::BYTE_STRING => unsupported("bit strings"),
        K::ESC_STRING => Expr::String(escape::string(tree, node).into(), at),
        _ => match Literal::cast(node.clone()).and_then(|literal| literal.string_value()) {
            Some(value) => Expr::String(value.into(), at),
            None => unsupported("this literal"),
        },
    }
}

fn name_ref(node: &SyntaxNode, at: u32) -> Expr {
    let kind = node.first_token().map(|token| token.kind());
    match kind {
        Some(
            K::CURRENT_TIMESTAMP_KW
            | K::CURRENT_DATE_KW
            | K::CURRENT_TIME_KW
            | K::LOCALTIME_KW
            | K::LOCALTIMESTAMP_KW
            | K::CURRENT_USER_KW
            | K::CURRENT_ROLE_KW
            | K::SESSION_USER_KW
            | K::USER_KW
            | K::CURRENT_CATALOG_KW
            | K::CURRENT_SCHEMA_KW,
        ) => call(&name(node), Vec::new(), at),
        _ => Expr::Column(vec![name(node)], at),
    }
}

fn field(node: &SyntaxNode, at: u32) -> Expr {
    let mut names = Vec::new();
    if has(node, K::STAR) || !collect_names(node, &mut names) {
        return unsupported("selecting a field of a composite value");
    }
    Expr::Column(names, at)
}

fn collect_names(node: &SyntaxNode, names: &mut Vec<Arc<str>>) -> bool {
    match node.kind() {
        K::NAME_REF => names.push(name(node)),
        K::FIELD_EXPR => return node.children().all(|child| collect_names(&child, names)),
        _ => return false,
    }
    true
}

/// The names before `.*`, or `None` if the node is not that.
pub(super) fn star(node: &SyntaxNode) -> Option<Vec<Arc<str>>> {
    if node.kind() != K::FIELD_EXPR || !has(node, K::STAR) {
        return None;
    }
    let mut names = Vec::new();
    node.children()
        .all(|child| collect_names(&child, &mut names))
        .then_some(names)
}

fn cast(tree: &Tree<'_>, node: &SyntaxNode) -> Expr {
    let Some(ty) = node.children().find(is_type) else {
        return unsupported("this cast");
    };
    if child_of(
        node,
        &[
            K::INTERVAL_YEAR,
            K::INTERVAL_MONTH,
            K::INTERVAL_DAY,
            K::INTERVAL_HOUR,
            K::INTERVAL_MINUTE,
            K::INTERVAL_SECOND,
        ],
    )
    .is_some()
    {
        return unsupported("interval fields");
    }
    let mut name = type_name(tree, &ty);
    name.cast_at = tree.at(node);
    match child_expr(tree, node) {
        Some(operand) => Expr::Cast(Box::new(operand), name),
        None => unsupported("this cast"),
    }
}

fn case(tree: &Tree<'_>, node: &SyntaxNode) -> Expr {
    let whens = child(node, K::WHEN_CLAUSE_LIST).map_or(Vec::new(), |list| {
        children(&list, K::WHEN_CLAUSE)
            .filter_map(|when| <[Expr; 2]>::try_from(child_exprs(tree, &when)).ok())
            .map(|[condition, value]| (condition, value))
            .collect()
    });
    Expr::Case {
        operand: child_expr(tree, node).map(Box::new),
        whens,
        otherwise: child(node, K::ELSE_CLAUSE)
            .and_then(|clause| child_expr(tree, &clause))
            .map(Box::new),
        at: tree.at(node),
    }
}

fn call_expr(tree: &Tree<'_>, node: &SyntaxNode, at: u32) -> Expr {
    if child(node, K::OVER_CLAUSE).is_some() {
        return unsupported("window functions");
    }
    if child_of(node, &[K::WITHIN_CLAUSE]).is_some() {
        return unsupported("WITHIN GROUP");
    }
    let Some(callee) = node.first_child() else {
        return unsupported("this call");
    };
    let name = match callee.kind() {
        K::NAME_REF => vec![name(&callee)],
        K::FIELD_EXPR => {
            let mut names = Vec::new();
            if !collect_names(&callee, &mut names) {
                return unsupported("this call");
            }
            names
        }
        _ => return special_call(tree, &callee, at),
    };
    let Some(list) = child(node, K::ARG_LIST) else {
        return unsupported("this call");
    };
    if let K::CURRENT_TIMESTAMP_KW | K::LOCALTIMESTAMP_KW =
        callee.first_token().map_or(K::ERROR, |token| token.kind())
    {
        return rounded(&name, &list, at);
    }
    let mut args = Vec::new();
    let mut order_by = Vec::new();
    for arg in children(&list, K::ARG) {
        if has(&arg, K::VARIADIC_KW) {
            return unsupported("VARIADIC");
        }
        match child_expr(tree, &arg).or_else(|| named_arg(tree, &arg)) {
            Some(expr) => args.push(expr),
            None => return unsupported("this argument"),
        }
        if let Some(clause) = child(&arg, K::ORDER_BY_CLAUSE) {
            order_by = query::order_by(tree, &clause);
        }
    }
    Expr::Call(Box::new(Call {
        name,
        args,
        star: has(&list, K::STAR),
        distinct: child(&list, K::DISTINCT).is_some(),
        order_by,
        filter: child(node, K::FILTER_CLAUSE).and_then(|clause| child_expr(tree, &clause)),
        at,
    }))
}

/// `current_timestamp(3)`: rounded as a cast rounds.
fn rounded(name: &[Arc<str>], list: &SyntaxNode, at: u32) -> Expr {
    let (is_local, text) = (&*name[0] == "localtimestamp", list.text().to_string());
    let digits = text.trim_matches(|c: char| "()".contains(c) || c.is_whitespace());
    match digits.parse() {
        Ok(precision @ 0..=6) => {
            let to = if is_local { "timestamp" } else { "timestamptz" };
            let to = TypeName {
                modifiers: vec![precision],
                ..simple_type(to, at)
            };
            Expr::Cast(Box::new(call(&name[0], Vec::new(), at)), to)
        }
        _ => unsupported("this precision"),
    }
}

/// `name => value`, or `name := value`.
fn named_arg(tree: &Tree<'_>, arg: &SyntaxNode) -> Option<Expr> {
    let named = child(arg, K::NAMED_ARG)?;
    let value = child_expr(tree, &named)?;
    Some(Expr::Named(name(&named.first_child()?), Box::new(value)))
}

/// Calls with a grammar of their own.
fn special_call(tree: &Tree<'_>, node: &SyntaxNode, at: u32) -> Expr {
    match node.kind() {
        K::EXISTS_FN => match query::inner_query(node) {
            Some(inner) => subquery(tree, &inner, at, Expr::Exists),
            None => unsupported("this EXISTS"),
        },
        K::EXTRACT_FN => {
            let field = child_of(node, &[K::EXTRACT_FIELD_NAME, K::EXTRACT_FIELD_LITERAL])
                .map_or(String::new(), |field| field.text().to_string());
            let field = field.trim().trim_matches('\'').to_lowercase();
            match child_expr(tree, node) {
                Some(source) => call("extract", vec![Expr::String(field.into(), at), source], at),
                None => unsupported("this EXTRACT"),
            }
        }
        K::SUBSTRING_FN => {
            let Some(args) = child_of(node, &[K::SUBSTRING_FROM_FOR, K::SUBSTRING_EXPRS]) else {
                return unsupported("this form of SUBSTRING");
            };
            call("substring", child_exprs(tree, &args), at)
        }
        K::OVERLAY_FN => {
            let mut args = child_exprs(tree, node);
            for inner in node.children().filter(|inner| !is_expr(inner)) {
                args.extend(child_exprs(tree, &inner));
            }
            call("overlay", args, at)
        }
        K::POSITION_FN => call("position", child_exprs(tree, node), at),
        K::TRIM_FN => {
            let name = match child_of(node, &[K::TRIM_BOTH, K::TRIM_LEADING, K::TRIM_TRAILING])
                .map(|side| side.kind())
            {
                Some(K::TRIM_LEADING) => "ltrim",
                Some(K::TRIM_TRAILING) => "rtrim",
                _ => "btrim",
            };
            let Some(args) = child_of(node, &[K::TRIM_FROM, K::TRIM_EXPR_FROM, K::TRIM_EXPRS])
            else {
                return unsupported("this form of TRIM");
            };
            let mut exprs = child_exprs(tree, &args);
            if args.kind() == K::TRIM_EXPR_FROM {
                exprs.rotate_left(1);
            }
            call(name, exprs, at)
        }
        K::ANY_FN | K::SOME_FN | K::ALL_FN => unsupported("ANY without an operator"),
        _ => unsupported("this function's syntax"),
    }
}

/// Whether a node is a type.
pub(super) fn is_type(node: &SyntaxNode) -> bool {
    squawk_syntax::ast::Type::can_cast(node.kind())
}

/// Lowers a type, synonyms resolved as gram.y resolves them.
pub(super) fn type_name(tree: &Tree<'_>, node: &SyntaxNode) -> TypeName {
    let at = tree.at(node);
    if node.kind() == K::ARRAY_TYPE {
        let mut inner = match node.children().find(is_type) {
            Some(inner) => type_name(tree, &inner),
            None => simple_type("unknown", at),
        };
        inner.array = true;
        return inner;
    }
    let mut modifiers = child(node, K::ARG_LIST).map_or(Vec::new(), |list| {
        children(&list, K::ARG)
            .filter_map(|arg| arg.text().to_string().trim().parse().ok())
            .collect()
    });
    if let K::TIMESTAMP_TYPE | K::TIME_TYPE | K::INTERVAL_TYPE = node.kind()
        && let Some(precision) = child(node, K::LITERAL)
    {
        modifiers.extend(precision.text().to_string().parse::<i32>().ok());
    }
    let mut name = match node.kind() {
        K::VARCHAR_TYPE => vec!["varchar".into()],
        K::CHARACTER_TYPE => {
            if modifiers.is_empty() {
                modifiers.push(1);
            }
            vec!["bpchar".into()]
        }
        K::BIT_TYPE => vec!["bit".into()],
        K::BIT_VARYING_TYPE => vec!["varbit".into()],
        K::DOUBLE_TYPE => vec!["float8".into()],
        K::TIMESTAMP_TYPE if child(node, K::WITH_TIMEZONE).is_some() => vec!["timestamptz".into()],
        K::TIMESTAMP_TYPE => vec!["timestamp".into()],
        K::TIME_TYPE if child(node, K::WITH_TIMEZONE).is_some() => vec!["timetz".into()],
        K::TIME_TYPE => vec!["time".into()],
        K::INTERVAL_TYPE => vec!["interval".into()],
        _ => path(node),
    };
    if let [single] = name.as_mut_slice() {
        let synonym = match &**single {
            "int" | "integer" => "int4",
            "smallint" => "int2",
            "bigint" => "int8",
            "real" => "float4",
            "float" => "float8",
            "boolean" => "bool",
            "decimal" | "dec" => "numeric",
            other => other,
        };
        if synonym != &**single {
            *single = synonym.into();
        }
    }
    TypeName {
        name,
        modifiers,
        array: false,
        at,
        cast_at: 0,
    }
}

fn simple_type(name: &str, at: u32) -> TypeName {
    TypeName {
        name: vec![name.into()],
        modifiers: Vec::new(),
        array: false,
        at,
        cast_at: 0,
    }
}
