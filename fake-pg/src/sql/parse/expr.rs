//! Expressions.
//!
//! The parser's own precedence errs in places (`a || b -> c`, `a IS NULL = b`),
//! so a tree of operators is flattened into a chain and associated anew by
//! PostgreSQL's table (gram.y, "precedence: lowest to highest").

use std::sync::Arc;

use squawk_syntax::ast::{AstNode, Literal};
use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::query;
use super::tree::{Tree, child, child_of, children, has, name, path};
use crate::sql::ast::{Call, Expr, OrderBy, TypeName};

/// Binding strengths, lowest first, as gram.y lists them.
mod strength {
    pub(super) const OR: u8 = 1;
    pub(super) const AND: u8 = 2;
    pub(super) const NOT: u8 = 3;
    pub(super) const IS: u8 = 4;
    pub(super) const COMPARISON: u8 = 5;
    pub(super) const BETWEEN: u8 = 6;
    pub(super) const OPERATOR: u8 = 7;
    pub(super) const ADD: u8 = 8;
    pub(super) const MULTIPLY: u8 = 9;
    pub(super) const POWER: u8 = 10;
    pub(super) const TIME_ZONE: u8 = 11;
    pub(super) const COLLATE: u8 = 12;
    pub(super) const SIGN: u8 = 13;
    pub(super) const CAST: u8 = 15;
}

/// A link of a flattened chain.
enum Link {
    Operand(SyntaxNode),
    Prefix(String, u32),
    Infix(Infix, u32),
    IsNull(bool, u32),
    Cast(SyntaxNode),
    Collate(u32),
}

/// Operators between two operands.
enum Infix {
    Or,
    And,
    Is(bool),
    Distinct(bool),
    Between { negated: bool, symmetric: bool },
    In(bool),
    Like { insensitive: bool, negated: bool },
    Escape,
    AtTimeZone,
    Operator(String),
    Unsupported(&'static str),
}

impl Infix {
    fn strength(&self) -> u8 {
        match self {
            Infix::Or => strength::OR,
            Infix::And => strength::AND,
            Infix::Is(_) | Infix::Distinct(_) => strength::IS,
            Infix::Between { .. } | Infix::In(_) | Infix::Like { .. } | Infix::Unsupported(_) => {
                strength::BETWEEN
            }
            // Taken by LIKE; never an operator of its own.
            Infix::Escape => 0,
            Infix::AtTimeZone => strength::TIME_ZONE,
            Infix::Operator(op) => match op.as_str() {
                "<" | ">" | "=" | "<=" | ">=" | "<>" => strength::COMPARISON,
                "+" | "-" => strength::ADD,
                "*" | "/" | "%" => strength::MULTIPLY,
                "^" => strength::POWER,
                _ => strength::OPERATOR,
            },
        }
    }

    /// Operators that cannot be chained without parentheses.
    fn alone(&self) -> bool {
        matches!(
            self.strength(),
            strength::IS | strength::COMPARISON | strength::BETWEEN
        )
    }
}

/// Lowers an expression.
pub(super) fn expr(tree: &Tree<'_>, node: &SyntaxNode) -> Expr {
    let mut links = Vec::new();
    flatten(tree, node, &mut links);
    if let [Link::Operand(node)] = links.as_slice() {
        return operand(tree, node);
    }
    links.reverse();
    Chain { tree, links }.parse(0)
}

/// The first expression among a node's children.
pub(super) fn child_expr(tree: &Tree<'_>, node: &SyntaxNode) -> Option<Expr> {
    node.children()
        .find(|child| is_expr(child))
        .map(|child| expr(tree, &child))
}

/// All expressions among a node's children.
pub(super) fn child_exprs(tree: &Tree<'_>, node: &SyntaxNode) -> Vec<Expr> {
    node.children()
        .filter(is_expr)
        .map(|child| expr(tree, &child))
        .collect()
}

/// Whether a node is an expression.
pub(super) fn is_expr(node: &SyntaxNode) -> bool {
    squawk_syntax::ast::Expr::can_cast(node.kind())
}

fn flatten(tree: &Tree<'_>, node: &SyntaxNode, links: &mut Vec<Link>) {
    match node.kind() {
        K::BIN_EXPR | K::PREFIX_EXPR | K::POSTFIX_EXPR | K::BETWEEN_EXPR => {}
        K::CAST_EXPR if child(node, K::COLON_COLON).is_some() => {
            if let Some(base) = node.children().find(|child| is_expr(child)) {
                flatten(tree, &base, links);
            }
            links.push(Link::Cast(node.clone()));
            return;
        }
        K::COLLATE => {
            if let Some(base) = node.children().find(|child| is_expr(child)) {
                flatten(tree, &base, links);
            }
            links.push(Link::Collate(tree.at(node)));
            return;
        }
        _ => {
            links.push(Link::Operand(node.clone()));
            return;
        }
    }
    let mut negated = false;
    let mut seen_operand = false;
    let symmetric = child(node, K::SYMMETRIC).is_some();
    for element in node.children_with_tokens() {
        if let Some(inner) = element.as_node() {
            if is_expr(inner) {
                flatten(tree, inner, links);
                seen_operand = true;
                continue;
            }
        }
        let kind = element.kind();
        let at = match &element {
            rowan_element if rowan_element.as_node().is_some() => {
                rowan_element.as_node().map_or(0, |node| tree.at(node))
            }
            other => other.as_token().map_or(0, |token| tree.token_at(token)),
        };
        let spelled = || element.to_string();
        let link = match kind {
            K::WHITESPACE | K::COMMENT | K::SYMMETRIC => continue,
            K::NOT_KW if node.kind() == K::BETWEEN_EXPR => {
                negated = true;
                continue;
            }
            K::NOT_KW => Link::Prefix("not".into(), at),
            K::ISNULL_KW => Link::IsNull(false, at),
            K::NOTNULL_KW => Link::IsNull(true, at),
            K::OR_KW => Link::Infix(Infix::Or, at),
            K::AND_KW => Link::Infix(Infix::And, at),
            K::IS_KW => Link::Infix(Infix::Is(false), at),
            K::IS_NOT => Link::Infix(Infix::Is(true), at),
            K::IS_DISTINCT_FROM => Link::Infix(Infix::Distinct(false), at),
            K::IS_NOT_DISTINCT_FROM => Link::Infix(Infix::Distinct(true), at),
            K::BETWEEN_KW => Link::Infix(Infix::Between { negated, symmetric }, at),
            K::IN_KW => Link::Infix(Infix::In(false), at),
            K::NOT_IN => Link::Infix(Infix::In(true), at),
            K::LIKE_KW => like(false, false, at),
            K::ILIKE_KW => like(true, false, at),
            K::NOT_LIKE => like(false, true, at),
            K::NOT_ILIKE => like(true, true, at),
            K::ESCAPE_KW => Link::Infix(Infix::Escape, at),
            K::AT_TIME_ZONE => Link::Infix(Infix::AtTimeZone, at),
            K::SIMILAR_TO | K::NOT_SIMILAR_TO => Link::Infix(Infix::Unsupported("SIMILAR TO"), at),
            K::OVERLAPS_KW => Link::Infix(Infix::Unsupported("OVERLAPS"), at),
            K::OPERATOR_CALL => {
                let op = element.as_node().map_or(String::new(), operator_call);
                if seen_operand {
                    Link::Infix(Infix::Operator(op), at)
                } else {
                    Link::Prefix(op, at)
                }
            }
            K::NEQ | K::NEQB => Link::Infix(Infix::Operator("<>".into()), at),
            _ if node.kind() == K::PREFIX_EXPR => Link::Prefix(spelled(), at),
            _ if node.kind() == K::POSTFIX_EXPR => {
                Link::Infix(Infix::Unsupported("this IS test"), at)
            }
            _ => Link::Infix(Infix::Operator(spelled()), at),
        };
        links.push(link);
    }
}

fn like(insensitive: bool, negated: bool, at: u32) -> Link {
    Link::Infix(
        Infix::Like {
            insensitive,
            negated,
        },
        at,
    )
}

/// The operator inside `OPERATOR(schema.op)`.
fn operator_call(node: &SyntaxNode) -> String {
    let Some(op) = child(node, K::OP) else {
        return String::new();
    };
    op.children_with_tokens()
        .filter(|element| !matches!(element.kind(), K::PATH_REF | K::WHITESPACE | K::DOT))
        .map(|element| element.to_string())
        .collect()
}

/// A chain being associated, its first link last.
struct Chain<'a, 'b> {
    tree: &'a Tree<'b>,
    links: Vec<Link>,
}

impl Chain<'_, '_> {
    fn parse(&mut self, min: u8) -> Expr {
        let mut left = self.prefix();
        let mut alone = 0;
        loop {
            let (bound, is_alone) = match self.links.last() {
                Some(Link::Infix(infix, _)) => (infix.strength(), infix.alone()),
                Some(Link::IsNull(..)) => (strength::IS, true),
                Some(Link::Cast(_)) => (strength::CAST, false),
                Some(Link::Collate(_)) => (strength::COLLATE, false),
                _ => return left,
            };
            if bound < min.max(1) {
                return left;
            }
            if is_alone && bound == alone {
                self.refuse_chain();
            }
            alone = if is_alone { bound } else { 0 };
            left = match self.links.pop() {
                Some(Link::Infix(infix, at)) => self.infix(left, infix, at),
                Some(Link::IsNull(negated, _)) => Expr::IsNull(Box::new(left), negated),
                Some(Link::Cast(node)) => match node.children().find(is_type) {
                    Some(ty) => Expr::Cast(Box::new(left), type_name(self.tree, &ty)),
                    None => Expr::Unsupported("this cast".into()),
                },
                Some(Link::Collate(_)) => Expr::Unsupported("COLLATE".into()),
                _ => return left,
            };
        }
    }

    /// `a = b = c`: PostgreSQL's grammar stops at the second operator.
    fn refuse_chain(&self) {
        if let Some(Link::Infix(_, at) | Link::IsNull(_, at)) = self.links.last() {
            self.tree.refuse(*at);
        }
    }

    fn prefix(&mut self) -> Expr {
        match self.links.pop() {
            Some(Link::Operand(node)) => operand(self.tree, &node),
            Some(Link::Prefix(op, at)) => match op.as_str() {
                "not" => Expr::Not(Box::new(self.parse(strength::NOT))),
                "-" => negate(self.parse(strength::SIGN), at),
                "+" => match self.parse(strength::SIGN) {
                    number @ (Expr::Integer(_) | Expr::Numeric(_)) => number,
                    other => Expr::Prefix("+".into(), Box::new(other), at),
                },
                _ => {
                    let operand = self.parse(strength::OPERATOR);
                    Expr::Prefix(op.into(), Box::new(operand), at)
                }
            },
            Some(link) => {
                self.links.push(link);
                Expr::Unsupported("this expression".into())
            }
            None => Expr::Unsupported("this expression".into()),
        }
    }

    fn infix(&mut self, left: Expr, infix: Infix, at: u32) -> Expr {
        let bound = infix.strength();
        match infix {
            Infix::Or => match (left, self.parse(bound + 1)) {
                (Expr::Or(mut all), right) => {
                    all.push(right);
                    Expr::Or(all)
                }
                (left, right) => Expr::Or(vec![left, right]),
            },
            Infix::And => match (left, self.parse(bound + 1)) {
                (Expr::And(mut all), right) => {
                    all.push(right);
                    Expr::And(all)
                }
                (left, right) => Expr::And(vec![left, right]),
            },
            Infix::Is(negated) => self.is(left, negated),
            Infix::Distinct(negated) => {
                let right = self.parse(bound + 1);
                Expr::IsDistinct(Box::new(left), Box::new(right), negated, at)
            }
            Infix::Between { negated, symmetric } => {
                let low = self.parse(bound + 1);
                // The AND that belongs to BETWEEN.
                self.links.pop();
                let high = self.parse(bound + 1);
                Expr::Between {
                    operand: Box::new(left),
                    low: Box::new(low),
                    high: Box::new(high),
                    negated,
                    symmetric,
                    at,
                }
            }
            Infix::In(negated) => self.is_in(left, negated, at),
            Infix::Like {
                insensitive,
                negated,
            } => {
                let pattern = self.parse(bound + 1);
                let mut escape = None;
                if let Some(Link::Infix(Infix::Escape, _)) = self.links.last() {
                    self.links.pop();
                    escape = Some(Box::new(self.parse(bound + 1)));
                }
                Expr::Like {
                    operand: Box::new(left),
                    pattern: Box::new(pattern),
                    escape,
                    insensitive,
                    negated,
                    at,
                }
            }
            Infix::Escape => Expr::Unsupported("ESCAPE".into()),
            Infix::AtTimeZone => {
                let zone = self.parse(bound + 1);
                call("timezone", vec![zone, left], at)
            }
            Infix::Unsupported(what) => {
                self.parse(bound + 1);
                Expr::Unsupported(what.into())
            }
            Infix::Operator(op) => {
                if let Some(any) = self.any(&left, &op, at) {
                    return any;
                }
                let right = self.parse(bound + 1);
                Expr::Binary(op.into(), Box::new(left), Box::new(right), at)
            }
        }
    }

    fn is(&mut self, left: Expr, negated: bool) -> Expr {
        let left = Box::new(left);
        let Some(Link::Operand(node)) = self.links.pop() else {
            return Expr::Unsupported("this IS test".into());
        };
        match node.first_token().map(|token| token.kind()) {
            Some(K::NULL_KW) => Expr::IsNull(left, negated),
            Some(K::TRUE_KW) => Expr::IsBool(left, Some(true), negated),
            Some(K::FALSE_KW) => Expr::IsBool(left, Some(false), negated),
            Some(K::UNKNOWN_KW) => Expr::IsBool(left, None, negated),
            _ => Expr::Unsupported("this IS test".into()),
        }
    }

    fn is_in(&mut self, left: Expr, negated: bool, at: u32) -> Expr {
        let Some(Link::Operand(node)) = self.links.pop() else {
            return Expr::Unsupported("this IN".into());
        };
        let left = Box::new(left);
        if let Some(inner) = query::inner_query(&node) {
            return match query::query(self.tree, &inner) {
                Ok(query) => Expr::InQuery(left, Box::new(query), negated, at),
                Err(what) => Expr::Unsupported(what),
            };
        }
        Expr::InList(left, child_exprs(self.tree, &node), negated, at)
    }

    /// `op ANY (…)`, `op ALL (…)`.
    fn any(&mut self, left: &Expr, op: &str, at: u32) -> Option<Expr> {
        let Some(Link::Operand(node)) = self.links.last() else {
            return None;
        };
        let function = child_of(node, &[K::ANY_FN, K::SOME_FN, K::ALL_FN])?;
        self.links.pop();
        let all = function.kind() == K::ALL_FN;
        let operand = Box::new(left.clone());
        let op = op.into();
        if let Some(inner) = query::inner_query(&function) {
            return Some(match query::query(self.tree, &inner) {
                Ok(query) => Expr::AnyQuery {
                    operand,
                    op,
                    query: Box::new(query),
                    all,
                    at,
                },
                Err(what) => Expr::Unsupported(what),
            });
        }
        let array = Box::new(child_expr(self.tree, &function)?);
        Some(Expr::Any {
            operand,
            op,
            array,
            all,
            at,
        })
    }
}

/// A sign before a constant belongs to the constant (gram.y, doNegate).
fn negate(operand: Expr, at: u32) -> Expr {
    match operand {
        Expr::Integer(n) => Expr::Integer(n.wrapping_neg()),
        Expr::Numeric(text) => Expr::Numeric(match text.strip_prefix('-') {
            Some(positive) => positive.into(),
            None => format!("-{text}").into(),
        }),
        other => Expr::Prefix("-".into(), Box::new(other), at),
    }
}

fn call(name: &str, args: Vec<Expr>, at: u32) -> Expr {
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

fn subquery(tree: &Tree<'_>, node: &SyntaxNode, wrap: impl Fn(Box<crate::sql::ast::Query>) -> Expr) -> Expr {
    match query::query(tree, node) {
        Ok(query) => wrap(Box::new(query)),
        Err(what) => Expr::Unsupported(what),
    }
}

/// Lowers what stands between operators.
fn operand(tree: &Tree<'_>, node: &SyntaxNode) -> Expr {
    let at = tree.at(node);
    match node.kind() {
        K::LITERAL => literal(tree, node, at),
        K::NAME_REF => name_ref(node, at),
        K::FIELD_EXPR => field(tree, node, at),
        K::PAREN_EXPR => {
            if let Some(inner) = query::inner_query(node) {
                return subquery(tree, &inner, Expr::Subquery);
            }
            child_expr(tree, node).unwrap_or_else(|| unsupported("this parenthesis"))
        }
        K::TUPLE_EXPR => Expr::Row(child_exprs(tree, node)),
        K::CAST_EXPR => cast(tree, node),
        K::CASE_EXPR => case(tree, node),
        K::ARRAY_EXPR => match query::inner_query(node) {
            Some(inner) => subquery(tree, &inner, Expr::ArrayQuery),
            None => Expr::Array(child_exprs(tree, node)),
        },
        K::INDEX_EXPR => match <[Expr; 2]>::try_from(child_exprs(tree, node)) {
            Ok([base, index]) => Expr::Index(Box::new(base), Box::new(index)),
            Err(_) => unsupported("this subscript"),
        },
        K::SLICE_EXPR => unsupported("array slices"),
        K::CALL_EXPR => call_expr(tree, node, at),
        _ => unsupported("this expression"),
    }
}

fn literal(tree: &Tree<'_>, node: &SyntaxNode, at: u32) -> Expr {
    let Some(token) = node.first_token() else {
        return unsupported("this literal");
    };
    let text = token.text();
    match token.kind() {
        K::NULL_KW => Expr::Null,
        K::TRUE_KW => Expr::Bool(true),
        K::FALSE_KW => Expr::Bool(false),
        K::DEFAULT_KW => Expr::Default,
        K::POSITIONAL_PARAM => match text[1..].parse::<usize>() {
            Ok(number @ 1..=65535) => {
                tree.saw_param(number);
                Expr::Param(number - 1, at)
            }
            _ => unsupported("this parameter number"),
        },
        K::INT_NUMBER => match text.parse::<i64>() {
            Ok(number) => Expr::Integer(number),
            Err(_) => Expr::Numeric(text.into()),
        },
        K::NUMERIC_NUMBER => Expr::Numeric(text.into()),
        K::BIT_STRING | K::BYTE_STRING => unsupported("bit strings"),
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

fn field(tree: &Tree<'_>, node: &SyntaxNode, at: u32) -> Expr {
    let mut names = Vec::new();
    if has(node, K::STAR) || !collect_names(node, &mut names) {
        let _ = tree;
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
    match child_expr(tree, node) {
        Some(operand) => Expr::Cast(Box::new(operand), type_name(tree, &ty)),
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
    }
}

fn call_expr(tree: &Tree<'_>, node: &SyntaxNode, at: u32) -> Expr {
    if child(node, K::OVER_CLAUSE).is_some() {
        return unsupported("window functions");
    }
    if child_of(node, &[K::WITHIN_CLAUSE, K::NULL_TREATMENT]).is_some() {
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
    let mut args = Vec::new();
    let mut order_by = Vec::new();
    for arg in children(&list, K::ARG) {
        if has(&arg, K::VARIADIC_KW) {
            return unsupported("VARIADIC");
        }
        match child_expr(tree, &arg) {
            Some(expr) => args.push(expr),
            None => return unsupported("named arguments"),
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
        order_by: order_by as Vec<OrderBy>,
        filter: child(node, K::FILTER_CLAUSE).and_then(|clause| child_expr(tree, &clause)),
        at,
    }))
}

/// Calls with a grammar of their own.
fn special_call(tree: &Tree<'_>, node: &SyntaxNode, at: u32) -> Expr {
    match node.kind() {
        K::EXISTS_FN => match query::inner_query(node) {
            Some(inner) => subquery(tree, &inner, Expr::Exists),
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
    }
}

fn simple_type(name: &str, at: u32) -> TypeName {
    TypeName {
        name: vec![name.into()],
        modifiers: Vec::new(),
        array: false,
        at,
    }
}
