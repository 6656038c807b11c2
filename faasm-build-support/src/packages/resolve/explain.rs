//! Why no versions fit, for people.

use std::ops::Bound;
use std::sync::Arc;

use pep440_rs::Version;
use pubgrub::{
    DefaultStringReporter, DerivationTree, Derived, External, Map, Ranges, ReportFormatter, Reporter as _,
    Term,
};

use super::unit::Unit;
use super::{Candidate, Candidates};

/// A proof in sentences, one for each step. `available` answers the versions that there are of a package.
pub(super) fn explain(proof: Proof, available: &dyn Fn(&str) -> Candidates) -> String {
    DefaultStringReporter::report_with_formatter(&without_trivial_steps(proof), &Formatter { available })
}

/// Joins "there is no `web` above 2.0" with "`web` 2.0 requires `util`" to "`web` from 2.0 on requires `util`". That there is no version
/// in a range that something requires is left as it is, because that is what people have to know.
fn without_trivial_steps(proof: Proof) -> Proof {
    let DerivationTree::Derived(mut step) = proof else { return proof };
    for cause in [&mut step.cause1, &mut step.cause2] {
        *cause = Arc::new(without_trivial_steps(Arc::unwrap_or_clone(Arc::clone(cause))));
    }
    for (missing, stated) in [(&step.cause1, &step.cause2), (&step.cause2, &step.cause1)] {
        let DerivationTree::External(External::NoVersions(unit, gap)) = &**missing else { continue };
        match &**stated {
            DerivationTree::External(External::FromDependencyOf(by, range, needed, wanted)) if unit == by => {
                let (range, needed, wanted) = (range.union(gap), needed.clone(), wanted.clone());
                return DerivationTree::External(External::FromDependencyOf(
                    by.clone(),
                    range,
                    needed,
                    wanted,
                ));
            }
            DerivationTree::External(External::Custom(by, range, reason)) if unit == by => {
                return DerivationTree::External(External::Custom(
                    by.clone(),
                    range.union(gap),
                    reason.clone(),
                ));
            }
            _ => {}
        }
    }
    DerivationTree::Derived(step)
}

struct Formatter<'a> {
    available: &'a dyn Fn(&str) -> Candidates,
}

type Proof = DerivationTree<Unit, Ranges<Version>, String>;
type Terms = Map<Unit, Term<Ranges<Version>>>;
type Cause = External<Unit, Ranges<Version>, String>;
type Step = Derived<Unit, Ranges<Version>, String>;

impl Formatter<'_> {
    /// A package with a range, which is first made as simple as the versions that there are allow.
    fn show(&self, unit: &Unit, range: &Ranges<Version>) -> String {
        let (Unit::Package(name) | Unit::Extra(name, _)) = unit else {
            return "what you asked for".to_owned();
        };
        let mut versions: Vec<Version> =
            (self.available)(name).iter().map(|(version, _)| version.clone()).collect();
        versions.reverse();
        let simple = if versions.is_empty() { range.clone() } else { range.simplify(versions.iter()) };
        // Nothing that there is lies in it, so that only the range as it was says something.
        let simple = if simple.is_empty() { range } else { &simple };
        format!("{unit}{}", show_range(simple))
    }

    fn requires(
        &self,
        unit: &Unit,
        range: &Ranges<Version>,
        needed: &Unit,
        wanted: &Ranges<Version>,
    ) -> String {
        let needed = match needed {
            // What is required is shown as it was written.
            Unit::Root => "what you asked for".to_owned(),
            needed => format!("{needed}{}", show_range(wanted)),
        };
        match unit {
            Unit::Root => format!("you require {needed}"),
            unit => format!("{} requires {needed}", self.show(unit, range)),
        }
    }
}

impl ReportFormatter<Unit, Ranges<Version>, String> for Formatter<'_> {
    type Output = String;

    fn format_external(&self, cause: &Cause) -> String {
        match cause {
            External::NotRoot(..) => "you require something".to_owned(),
            External::NoVersions(unit, range) => {
                let (Unit::Package(name) | Unit::Extra(name, _)) = unit else {
                    return "nothing fits".to_owned();
                };
                // Versions that lie in the range, and are not taken all the same.
                if let Some((version, candidate)) =
                    (self.available)(name).iter().find(|(version, _)| range.contains(version))
                {
                    return if matches!(candidate, Candidate::Wheel(file) if file.is_yanked()) {
                        format!("{name} {version} was withdrawn")
                    } else {
                        format!(
                            "{name} {version} is a pre-release, which only you can ask for, by `{name}>={version}`"
                        )
                    };
                }
                let versions: Vec<String> =
                    (self.available)(name).iter().take(5).map(|(version, _)| version.to_string()).collect();
                let more = if (self.available)(name).len() > versions.len() { ", …" } else { "" };
                format!("of {name} there is only {}{more}, not {}", versions.join(", "), show_range(range))
            }
            External::Custom(unit, range, reason) => {
                format!("{} cannot be used: {reason}", self.show(unit, range))
            }
            External::FromDependencyOf(unit, range, needed, wanted) => {
                self.requires(unit, range, needed, wanted)
            }
        }
    }

    fn format_terms(&self, terms: &Terms) -> String {
        let mut terms: Vec<_> = terms.iter().collect();
        terms.sort_by_key(|(a, _)| *a);
        match terms.as_slice() {
            [] | [(Unit::Root, _)] => "no versions fit what you require".to_owned(),
            [(unit, Term::Positive(range))] => format!("{} cannot be used", self.show(unit, range)),
            [(unit, Term::Negative(range))] => format!("{} must be used", self.show(unit, range)),
            [(unit, Term::Positive(range)), (needed, Term::Negative(wanted))]
            | [(needed, Term::Negative(wanted)), (unit, Term::Positive(range))] => {
                self.requires(unit, range, needed, wanted)
            }
            terms => {
                let show = |(unit, term): &(&Unit, &Term<Ranges<Version>>)| match term {
                    Term::Positive(range) => self.show(unit, range),
                    Term::Negative(range) => format!("anything but {}", self.show(unit, range)),
                };
                format!("{} exclude each other", terms.iter().map(show).collect::<Vec<_>>().join(" and "))
            }
        }
    }

    fn explain_both_external(&self, first: &Cause, second: &Cause, terms: &Terms) -> String {
        let (first, second) = (self.format_external(first), self.format_external(second));
        format!("because {first} and {second}, {}", self.format_terms(terms))
    }

    fn explain_both_ref(
        &self,
        first_id: usize,
        first: &Step,
        second_id: usize,
        second: &Step,
        terms: &Terms,
    ) -> String {
        let (first, second) = (self.format_terms(&first.terms), self.format_terms(&second.terms));
        format!("because {first} ({first_id}) and {second} ({second_id}), {}", self.format_terms(terms))
    }

    fn explain_ref_and_external(&self, id: usize, step: &Step, cause: &Cause, terms: &Terms) -> String {
        let (step, cause) = (self.format_terms(&step.terms), self.format_external(cause));
        format!("because {step} ({id}) and {cause}, {}", self.format_terms(terms))
    }

    fn and_explain_external(&self, cause: &Cause, terms: &Terms) -> String {
        format!("and because {}, {}", self.format_external(cause), self.format_terms(terms))
    }

    fn and_explain_ref(&self, id: usize, step: &Step, terms: &Terms) -> String {
        format!("and because {} ({id}), {}", self.format_terms(&step.terms), self.format_terms(terms))
    }

    fn and_explain_prior_and_external(&self, prior: &Cause, cause: &Cause, terms: &Terms) -> String {
        let (prior, cause) = (self.format_external(prior), self.format_external(cause));
        format!("and because {prior} and {cause}, {}", self.format_terms(terms))
    }
}

/// A range as people write it: nothing for all versions.
fn show_range(range: &Ranges<Version>) -> String {
    let segments: Vec<String> = range
        .iter()
        .map(|(lower, upper)| match (lower, upper) {
            (Bound::Included(a), Bound::Included(b)) if a == b => format!("=={}", plain(a)),
            (lower, upper) => {
                let lower = match lower {
                    Bound::Included(version) => Some(format!(">={}", plain(version))),
                    Bound::Excluded(version) => Some(format!(">{}", plain(version))),
                    Bound::Unbounded => None,
                };
                let upper = match upper {
                    Bound::Included(version) => Some(format!("<={}", plain(version))),
                    Bound::Excluded(version) => Some(format!("<{}", plain(version))),
                    Bound::Unbounded => None,
                };
                lower.into_iter().chain(upper).collect::<Vec<_>>().join(",")
            }
        })
        .collect();
    segments.join(" or ")
}

/// A bound as it was written: `<2` and `==1.*` are kept as bounds before the first development release.
fn plain(version: &Version) -> Version {
    let version = version.clone().with_min(None).with_max(None);
    if version.dev() == Some(0) && version.pre().is_none() { version.with_dev(None) } else { version }
}
