//! Which of several functions or operators a call means, by the types of its arguments.
//!
//! Source: `func_get_detail`, `func_match_argtypes` and `func_select_candidate` in parse_func.c,
//! `oper` in parse_oper.c, `enforce_generic_type_consistency` and `select_common_type` in parse_coerce.c.

use super::coerce::{Context, pathway};
use crate::sql::functions::{Operator, Proc};
use crate::types::Type;

/// What the choice came to.
#[derive(Debug)]
pub(crate) enum Choice<T> {
    /// This one.
    One(T),
    /// None fits.
    Nothing,
    /// Several fit equally well.
    Ambiguous,
}

/// A candidate: what it wants of each argument.
#[derive(Debug)]
struct Candidate<T> {
    args: Vec<Type>,
    item: T,
}

/// A function chosen for a call: what it wants of each argument given, and whether the last ones
/// are gathered into an array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chosen {
    pub(crate) proc: &'static Proc,
    /// The last argument's type is repeated.
    pub(crate) expanded: bool,
}

/// The function that a call with these arguments means.
pub(crate) fn function(procs: &'static [Proc], given: &[Type], variadic: bool) -> Choice<Chosen> {
    let mut candidates: Vec<Candidate<Chosen>> = Vec::new();
    for proc in procs {
        let plain = Chosen {
            proc,
            expanded: false,
        };
        if proc.args.len() == given.len() && (!proc.variadic || variadic) {
            candidates.push(Candidate {
                args: proc.args.clone(),
                item: plain,
            });
        } else if proc.variadic && !variadic && given.len() + 1 >= proc.args.len() {
            candidates.push(expand(proc, given.len()));
        } else if proc.args.len() > given.len()
            && given.len() + proc.defaults.len() >= proc.args.len()
        {
            candidates.push(Candidate {
                args: proc.args[..given.len()].to_vec(),
                item: plain,
            });
        }
    }
    // A variadic function needs one argument at least, but for "any" none.
    candidates.retain(|candidate| candidate.args.len() == given.len());
    choose(candidates, given)
}

fn expand(proc: &'static Proc, given: usize) -> Candidate<Chosen> {
    let mut args = proc.args.clone();
    let last = match args.pop() {
        Some(Type::Anyarray) => Type::Anyelement,
        Some(Type::Anycompatiblearray) => Type::Anycompatible,
        Some(array) => array.element().unwrap_or(array),
        None => Type::Any,
    };
    // At least one argument goes into the array.
    args.push(last);
    while args.len() < given {
        args.push(last);
    }
    Candidate {
        args,
        item: Chosen {
            proc,
            expanded: true,
        },
    }
}

/// The operator for two operands.
pub(crate) fn binary(
    operators: &'static [Operator],
    left: Type,
    right: Type,
) -> Choice<&'static Operator> {
    let exact = |left: Type, right: Type| {
        operators
            .iter()
            .find(|op| op.left == Some(left) && op.right == right)
    };
    // An unknown operand is first taken to be of the other's type (`binary_oper_exact`).
    let (guess_left, guess_right) = match (left, right) {
        (Type::Unknown, known) => (known, known),
        (known, Type::Unknown) => (known, known),
        both => both,
    };
    if let Some(found) = exact(guess_left, guess_right) {
        return Choice::One(found);
    }
    if guess_left == guess_right && guess_left.base() != guess_left {
        let base = guess_left.base();
        if let Some(found) = exact(base, base) {
            return Choice::One(found);
        }
    }
    let candidates = operators.iter().filter_map(|op| {
        Some(Candidate {
            args: vec![op.left?, op.right],
            item: op,
        })
    });
    choose(candidates.collect(), &[left, right])
}

/// The prefix operator for an operand.
pub(crate) fn prefix(operators: &'static [Operator], operand: Type) -> Choice<&'static Operator> {
    let candidates = operators.iter().filter(|op| op.left.is_none());
    let candidates = candidates.map(|op| Candidate {
        args: vec![op.right],
        item: op,
    });
    choose(candidates.collect(), &[operand])
}

fn choose<T: Copy>(candidates: Vec<Candidate<T>>, given: &[Type]) -> Choice<T> {
    if let Some(exact) = candidates.iter().find(|candidate| candidate.args == given) {
        return Choice::One(exact.item);
    }
    let fitting: Vec<Candidate<T>> = candidates
        .into_iter()
        .filter(|candidate| fits(given, &candidate.args))
        .collect();
    match &fitting[..] {
        [] => Choice::Nothing,
        [one] => Choice::One(one.item),
        _ => match select(fitting, given) {
            Some(item) => Choice::One(item),
            None => Choice::Ambiguous,
        },
    }
}

/// `can_coerce_type`, implicitly.
fn fits(given: &[Type], wanted: &[Type]) -> bool {
    let each = given.iter().zip(wanted).all(|(&given, &wanted)| {
        given == wanted
            || wanted == Type::Any
            || is_polymorphic(wanted)
            || given == Type::Unknown
            || pathway(given, wanted, Context::Implicit).is_some()
            || wanted == Type::Record && given.category() == 'C'
    });
    each && (!wanted.iter().any(|&ty| is_polymorphic(ty)) || Generic::of(given, wanted).is_some())
}

/// Types that stand for others.
pub(crate) fn is_polymorphic(ty: Type) -> bool {
    use Type::*;
    matches!(
        ty,
        Anyelement
            | Anyarray
            | Anynonarray
            | Anyenum
            | Anyrange
            | Anymultirange
            | Anycompatible
            | Anycompatiblearray
            | Anycompatiblenonarray
            | Anycompatiblerange
            | Anycompatiblemultirange
    )
}

/// What the types that stand for others stand for in one call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Generic {
    element: Option<Type>,
    compatible: Option<Type>,
}

impl Generic {
    /// `None` if the arguments contradict each other.
    pub(crate) fn of(given: &[Type], wanted: &[Type]) -> Option<Generic> {
        let mut generic = Generic::default();
        let mut array = None;
        let mut commons = Vec::new();
        for (&given, &wanted) in given.iter().zip(wanted) {
            let known = given != Type::Unknown;
            let base = given.base();
            match wanted {
                Type::Anyelement | Type::Anynonarray | Type::Anyenum if known => {
                    if wanted == Type::Anynonarray && given.element().is_some()
                        || wanted == Type::Anyenum && base.labels().is_none()
                        || generic.element.is_some_and(|element| element != given)
                    {
                        return None;
                    }
                    generic.element = Some(given);
                }
                Type::Anyarray if known => {
                    base.element()?;
                    if array.is_some_and(|array| array != base) {
                        return None;
                    }
                    array = Some(base);
                }
                Type::Anycompatible | Type::Anycompatiblenonarray if known => commons.push(given),
                Type::Anycompatiblearray if known => commons.push(base.element()?),
                Type::Anyrange
                | Type::Anymultirange
                | Type::Anycompatiblerange
                | Type::Anycompatiblemultirange
                    if known =>
                {
                    return None;
                }
                _ => {}
            }
        }
        if let Some(element) = array.and_then(Type::element) {
            if generic.element.is_some_and(|other| other != element) {
                return None;
            }
            generic.element = Some(element);
        }
        if !commons.is_empty() {
            let common = common(&commons)?;
            let reaches =
                |&from: &Type| from == common || pathway(from, common, Context::Implicit).is_some();
            if !commons.iter().all(reaches) {
                return None;
            }
            generic.compatible = Some(common);
        }
        Some(generic)
    }

    /// What a type of the signature is in this call; `None` if nothing tells.
    pub(crate) fn actual(&self, wanted: Type) -> Option<Type> {
        match wanted {
            Type::Anyelement | Type::Anynonarray | Type::Anyenum => self.element,
            Type::Anyarray => self.element?.array(),
            // What nothing tells is text.
            Type::Anycompatible | Type::Anycompatiblenonarray => {
                Some(self.compatible.unwrap_or(Type::Text))
            }
            Type::Anycompatiblearray => self.compatible.unwrap_or(Type::Text).array(),
            plain if is_polymorphic(plain) => None,
            plain => Some(plain),
        }
    }
}

/// `select_common_type`, for arguments that are all known.
pub(crate) fn common(types: &[Type]) -> Option<Type> {
    let mut common = Type::Unknown;
    for &ty in types {
        let ty = match common == ty {
            true => ty,
            false => ty.base(),
        };
        if ty == Type::Unknown || ty == common {
            continue;
        }
        if common == Type::Unknown {
            common = ty;
        } else if common.category() != ty.category() {
            return None;
        } else if !common.is_preferred()
            && pathway(common, ty, Context::Implicit).is_some()
            && pathway(ty, common, Context::Implicit).is_none()
        {
            common = ty;
        }
    }
    Some(common)
}

/// `func_select_candidate`.
fn select<T: Copy>(mut candidates: Vec<Candidate<T>>, given: &[Type]) -> Option<T> {
    let bases: Vec<Type> = given.iter().map(|ty| ty.base()).collect();
    let unknowns = bases.iter().filter(|&&ty| ty == Type::Unknown).count();
    keep_best(&mut candidates, |candidate| {
        let pairs = candidate.args.iter().zip(&bases);
        pairs
            .filter(|(wanted, base)| **base != Type::Unknown && wanted == base)
            .count()
    });
    if let [one] = &candidates[..] {
        return Some(one.item);
    }
    keep_best(&mut candidates, |candidate| {
        let pairs = candidate.args.iter().zip(&bases);
        pairs
            .filter(|(wanted, base)| {
                **base != Type::Unknown
                    && (wanted == base
                        || wanted.is_preferred() && wanted.category() == base.category())
            })
            .count()
    });
    if let [one] = &candidates[..] {
        return Some(one.item);
    }
    if unknowns == 0 {
        return None;
    }
    // The category of each unknown: strings if any candidate takes one, else what all agree on.
    let mut slots: Vec<Option<(char, bool)>> = vec![None; given.len()];
    let mut resolved = true;
    for (place, base) in bases.iter().enumerate() {
        if *base != Type::Unknown {
            continue;
        }
        let mut conflict = false;
        for candidate in &candidates {
            let wanted = candidate.args[place];
            let (category, preferred) = (wanted.category(), wanted.is_preferred());
            match &mut slots[place] {
                slot @ None => *slot = Some((category, preferred)),
                Some((known, has_preferred)) if *known == category => *has_preferred |= preferred,
                slot if category == 'S' => *slot = Some(('S', preferred)),
                _ => conflict = true,
            }
        }
        if conflict && slots[place].is_some_and(|(category, _)| category != 'S') {
            resolved = false;
            break;
        }
    }
    if resolved {
        let keep = |candidate: &Candidate<T>| {
            slots.iter().zip(&candidate.args).all(|(slot, wanted)| {
                slot.is_none_or(|(category, preferred)| {
                    wanted.category() == category && (!preferred || wanted.is_preferred())
                })
            })
        };
        if candidates.iter().any(keep) {
            candidates.retain(keep);
        }
        if let [one] = &candidates[..] {
            return Some(one.item);
        }
    }
    // All known ones alike: the unknown ones may be of the same type.
    let mut known = bases.iter().filter(|&&ty| ty != Type::Unknown);
    let &first = known.next()?;
    if !known.all(|&ty| ty == first) {
        return None;
    }
    let all = vec![first; given.len()];
    let mut fitting = candidates
        .iter()
        .filter(|candidate| fits(&all, &candidate.args));
    let one = fitting.next()?;
    match fitting.next() {
        None => Some(one.item),
        Some(_) => None,
    }
}

fn keep_best<T>(candidates: &mut Vec<Candidate<T>>, matches: impl Fn(&Candidate<T>) -> usize) {
    let best = candidates.iter().map(&matches).max().unwrap_or(0);
    candidates.retain(|candidate| matches(candidate) == best);
}
