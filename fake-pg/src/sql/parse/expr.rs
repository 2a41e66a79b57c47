//! Expressions.
//!
//! The parser's own precedence errs in places (`a || b -> c`, `a IS NULL = b`),
//! so a tree of operators is flattened into a chain and associated anew by
//! PostgreSQL's table (gram.y, "precedence: lowest to highest").

use std::sync::Arc;

use squawk_syntax::ast::AstNode;
use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::operand::{call, is_type, operand, type_name};
use super::query;
use super::tree::{Tree, child, child_of, path};
use crate::sql::ast::Expr;

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
    /// Whether it is the collation that the type has anyway.
    Collate(bool),
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
    Overlaps,
    Operator(String),
    Unsupported(&'static str),
}

impl Infix {
    fn strength(&self) -> u8 {
        match self {
            Infix::Or => strength::OR,
            Infix::And => strength::AND,
            Infix::Is(_) | Infix::Distinct(_) => strength::IS,
            Infix::Between { .. }
            | Infix::In(_)
            | Infix::Like { .. }
            | Infix::Overlaps
            | Infix::Unsupported(_) => strength::BETWEEN,
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
    // Behind a cast the parser leaves BETWEEN as a sibling of its operand.
    let mut next = node.next_sibling();
    while let Some(headless) = next.filter(is_headless) {
        flatten(tree, &headless, &mut links);
        next = headless.next_sibling();
    }
    if let [Link::Operand(node)] = links.as_slice() {
        return operand(tree, node);
    }
    links.reverse();
    Chain { tree, links }.parse(0)
}

/// The first expression among a node's children.
pub(super) fn child_expr(tree: &Tree<'_>, node: &SyntaxNode) -> Option<Expr> {
    node.children()
        .find(is_expr)
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
    squawk_syntax::ast::Expr::can_cast(node.kind()) && !is_headless(node)
}

/// A BETWEEN without the operand before it.
fn is_headless(node: &SyntaxNode) -> bool {
    node.kind() == K::BETWEEN_EXPR
        && node
            .first_token()
            .is_some_and(|token| matches!(token.kind(), K::BETWEEN_KW | K::NOT_KW))
}

/// A chain leans to the left, as deep as it is long: it is climbed from its lowest operand.
fn flatten(tree: &Tree<'_>, node: &SyntaxNode, links: &mut Vec<Link>) {
    let mut spine = vec![node.clone()];
    while let Some(lowest) = spine.last()
        && lowest.kind() == K::BIN_EXPR
        && let Some(left) = lowest.first_child()
        && left.kind() == K::BIN_EXPR
    {
        spine.push(left);
    }
    let mut left_is_done = false;
    while let Some(node) = spine.pop() {
        links_of(tree, &node, left_is_done, links);
        left_is_done = true;
    }
}

/// The links of one node; those of its left operand may be there already.
fn links_of(tree: &Tree<'_>, node: &SyntaxNode, left_is_done: bool, links: &mut Vec<Link>) {
    match node.kind() {
        K::BIN_EXPR | K::PREFIX_EXPR | K::POSTFIX_EXPR | K::BETWEEN_EXPR => {}
        K::CAST_EXPR if child(node, K::COLON_COLON).is_some() => {
            if let Some(base) = node.children().find(is_expr) {
                flatten(tree, &base, links);
            }
            links.push(Link::Cast(node.clone()));
            return;
        }
        K::COLLATE => {
            if let Some(base) = node.children().find(is_expr) {
                flatten(tree, &base, links);
            }
            let name = child(node, K::COLLATION_REF).map(|name| path(&name));
            let name = name.unwrap_or_default();
            let name: Vec<&str> = name.iter().map(|name| &**name).collect();
            let is_default = matches!(
                name[..],
                ["default" | "C" | "POSIX"] | ["pg_catalog", "default" | "C" | "POSIX"]
            );
            links.push(Link::Collate(is_default));
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
        if let Some(inner) = element.as_node()
            && is_expr(inner)
        {
            if seen_operand || !left_is_done {
                flatten(tree, inner, links);
            }
            seen_operand = true;
            continue;
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
            K::OVERLAPS_KW => Link::Infix(Infix::Overlaps, at),
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
            left = match self.links.pop() {
                Some(Link::Infix(infix, at)) => self.infix(left, infix, at),
                Some(Link::IsNull(negated, _)) => Expr::IsNull(Box::new(left), negated),
                Some(Link::Cast(node)) => match node.children().find(is_type) {
                    Some(ty) => {
                        let mut name = type_name(self.tree, &ty);
                        let sign = child(&node, K::COLON_COLON);
                        name.cast_at = sign.map_or(0, |sign| self.tree.at(&sign));
                        Expr::Cast(Box::new(left), name)
                    }
                    None => Expr::Unsupported("this cast".into()),
                },
                Some(Link::Collate(true)) => left,
                Some(Link::Collate(false)) => Expr::Unsupported("COLLATE".into()),
                _ => return left,
            };
            // What ends with its own word or parenthesis is complete: nothing is left to associate.
            alone = match is_alone && !is_complete(&left) {
                true => bound,
                false => 0,
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
                "not" => Expr::Not(Box::new(self.parse(strength::NOT)), at),
                "-" => negate(self.parse(strength::SIGN), at),
                "+" => match self.parse(strength::SIGN) {
                    number @ (Expr::Integer(..) | Expr::Numeric(..)) => number,
                    other => Expr::Prefix("+".into(), Box::new(other), at),
                },
                _ => {
                    // As strong as what follows it: `~5 & 7` is `(~5) & 7`.
                    let operand = self.parse(strength::OPERATOR + 1);
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
            Infix::Overlaps => match (left, self.parse(bound + 1)) {
                (Expr::Row(mut left, _), Expr::Row(right, _))
                    if left.len() == 2 && right.len() == 2 =>
                {
                    left.extend(right);
                    call("overlaps", left, at)
                }
                _ => Expr::Unsupported("this OVERLAPS".into()),
            },
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

/// Whether what was just made has no open operand on its right.
fn is_complete(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::IsNull(..)
            | Expr::IsBool(..)
            | Expr::InList(..)
            | Expr::InQuery(..)
            | Expr::Any { .. }
            | Expr::AnyQuery { .. }
    )
}

/// A sign before a constant belongs to the constant (gram.y, doNegate).
fn negate(operand: Expr, at: u32) -> Expr {
    match operand {
        Expr::Integer(n, _) => Expr::Integer(n.wrapping_neg(), at),
        Expr::Numeric(text, _) => {
            let negated: Arc<str> = match text.strip_prefix('-') {
                Some(positive) => positive.into(),
                None => format!("-{text}").into(),
            };
            // The lowest bigint is one, though without its sign it would not be (`make_const`).
            match negated.parse::<i64>() {
                Ok(n) => Expr::Integer(n, at),
                Err(_) => Expr::Numeric(negated, at),
            }
        }
        other => Expr::Prefix("-".into(), Box::new(other), at),
    }
}
