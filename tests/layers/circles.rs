//! Circles of modules, found in the text of a crate.
//!
//! A module is a file: `a.rs` or `a/mod.rs`. With the modules below it, it
//! is a *room*; so `a.rs` and all of `a/` are the room `a`.
//!
//! ```text
//!   src/master/link.rs       use crate::channel::Channel;
//!        │                              │
//!        ▼ its ancestors                ▼ where that is defined
//!   crate · master · link        crate · channel
//!             └──────── arrow ───────▶┘   where the two ways part
//! ```
//!
//! An arrow runs from a module to the one that defines what its code names:
//! in a `use` or in a path. Re-exports are followed to the definition. The
//! arrow counts between the two rooms in which the ways from the crate's root
//! to its ends part, for these are neighbours in one house; so a circle of
//! files in different folders is found as a circle of these folders, also
//! where no file is part of a circle of files.
//!
//! No arrow counts between a module and its own ancestor: a part of a room
//! may use what the room's first file defines for all its parts, and that
//! file presents the parts. Nor does what is for tests or documentation alone
//! (`#[cfg(test)]`, `#[cfg(doc)]`), nor a method's call, which names no module.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The way to a module or to an item, from the crate's root, whose own way is
/// empty.
type Way = Vec<String>;

/// Rooms side by side that use each other in a circle, with an arrow of each
/// pair as it stands in the code: `src/a.rs -> src/b.rs`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    pub(crate) rooms: Vec<String>,
    pub(crate) arrows: Vec<String>,
}

/// Every circle among these files, each by its path below the crate's root
/// file (`master/mod.rs`) with its code, strings and comments left out.
pub(crate) fn find(files: &[(impl AsRef<Path>, String)]) -> Vec<Circle> {
    let house = House::read(files);
    let mut arrows: BTreeMap<(Way, Way), String> = BTreeMap::new();
    for (way, module) in &house.modules {
        for path in &module.paths {
            let Some(target) = house.definition(way, path) else { continue };
            let shared =
                way.iter().zip(&target).take_while(|(a, b)| a == b).count();
            if shared == way.len() || shared == target.len() {
                continue;
            }
            let rooms = (way[..=shared].to_vec(), target[..=shared].to_vec());
            let there = &house.modules[&target].file;
            arrows
                .entry(rooms)
                .or_insert_with(|| format!("{} -> {there}", module.file));
        }
    }
    circles(&arrows)
}

/// The crate, as far as names go.
struct House {
    modules: BTreeMap<Way, Module>,
}

#[derive(Default)]
struct Module {
    file: String,
    /// What `use` brings in: what it is called here, and its path as written.
    names: BTreeMap<String, Way>,
    /// All that is named with more than one word.
    paths: BTreeSet<Way>,
    /// Modules that are there for tests alone.
    for_tests: BTreeSet<String>,
}

impl House {
    fn read(files: &[(impl AsRef<Path>, String)]) -> House {
        let mut modules = BTreeMap::new();
        for (file, code) in files {
            let file = file.as_ref();
            let way = file.with_extension("");
            let mut way: Way = way
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            let last = way.last().map(String::as_str);
            if matches!(last, Some("mod" | "lib")) {
                way.pop();
            }
            let mut module = Module::read(code);
            module.file = file.display().to_string();
            modules.insert(way, module);
        }
        let for_tests: Vec<Way> = modules
            .iter()
            .flat_map(|(way, module): (&Way, &Module)| {
                module.for_tests.iter().map(|name| joined(way, name))
            })
            .collect();
        modules.retain(|way, _| {
            !for_tests.iter().any(|tests| way.starts_with(tests))
        });
        House { modules }
    }

    /// The module in which that is defined, seen from the module at `from`;
    /// `None`: outside of the crate.
    fn definition(&self, from: &[String], path: &[String]) -> Option<Way> {
        // A name that is brought in by way of itself leads nowhere.
        self.resolve(from, path, 16)
    }

    fn resolve(
        &self,
        from: &[String],
        path: &[String],
        hops: usize,
    ) -> Option<Way> {
        let hops = hops.checked_sub(1)?;
        let mut at = from.to_vec();
        let mut is_inside = false;
        for (index, word) in path.iter().enumerate() {
            match word.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                _ if self.modules.contains_key(&joined(&at, word)) => {
                    at.push(word.clone());
                }
                _ => {
                    let names = &self.modules.get(&at)?.names;
                    return match names.get(word) {
                        Some(whole) if whole != path => {
                            let rest = &path[index + 1..];
                            let whole = [whole, rest].concat();
                            self.resolve(&at, &whole, hops)
                        }
                        _ if is_inside => Some(at),
                        _ => None,
                    };
                }
            }
            is_inside = true;
        }
        Some(at)
    }
}

fn joined(way: &[String], name: &str) -> Way {
    [way, &[name.to_owned()]].concat()
}

impl Module {
    fn read(code: &str) -> Module {
        let mut module = Module::default();
        let tokens = tokens(code);
        let mut rest = tokens.as_slice();
        while let Some((&token, behind)) = rest.split_first() {
            rest = behind;
            if token == "#"
                && let ["[", "cfg", "(", "test" | "doc", ")", "]", ..] = rest
            {
                rest = &rest[6..];
                let item = item(rest);
                if let [.., "mod", name, ";"] = item {
                    module.for_tests.insert((*name).to_owned());
                }
                rest = &rest[item.len()..];
            } else if token == "use" {
                rest = module.bring_in(&mut Way::new(), rest);
            } else if token == "(" && rest.first() == Some(&"in") {
                // pub(in a::b): who may look, not what is looked at.
                let end = rest.iter().position(|token| *token == ")");
                rest = &rest[end.unwrap_or(0)..];
            } else if is_word(token) {
                let mut path = vec![token.to_owned()];
                while let ["::", word, ..] = rest
                    && is_word(word)
                {
                    path.push((*word).to_owned());
                    rest = &rest[2..];
                }
                if path.len() > 1 {
                    module.paths.insert(path);
                }
            } else if token == "::" && rest.first().is_some_and(is_a_word) {
                // <T as Trait>::Name: no module begins here.
                rest = &rest[1..];
            }
        }
        module
    }

    /// Reads one tree of a `use`, up to what ends it; what is left.
    fn bring_in<'a>(
        &mut self,
        prefix: &mut Way,
        mut rest: &'a [&'a str],
    ) -> &'a [&'a str] {
        let depth = prefix.len();
        while let Some((&token, behind)) = rest.split_first() {
            match token {
                "::" => {}
                "{" => {
                    rest = behind;
                    while rest.first().is_some_and(|token| *token != "}") {
                        rest = self.bring_in(prefix, rest);
                        if rest.first() == Some(&",") {
                            rest = &rest[1..];
                        }
                    }
                    prefix.truncate(depth);
                    return rest.get(1..).unwrap_or_default();
                }
                "*" => {
                    self.paths.insert(joined(prefix, "*"));
                    prefix.truncate(depth);
                    return behind;
                }
                _ if is_word(token) && token != "as" => {
                    if token != "self" || prefix.is_empty() {
                        prefix.push(token.to_owned());
                    }
                }
                _ => break,
            }
            rest = behind;
        }
        let mut name = prefix.last().cloned();
        if let ["as", other, behind @ ..] = rest {
            name = Some((*other).to_owned());
            rest = behind;
        }
        self.paths.insert(prefix.clone());
        if let Some(name) = name {
            self.names.insert(name, prefix.clone());
        }
        prefix.truncate(depth);
        // What cannot be read must not be read for ever.
        match rest.first() {
            Some(&("," | "}" | ";")) | None => rest,
            Some(_) => &rest[1..],
        }
    }
}

/// The tokens of the item that stands here: to its `;`, or to the end of its
/// braces.
fn item<'a>(tokens: &'a [&'a str]) -> &'a [&'a str] {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" => depth += 1,
            "}" if depth <= 1 => return &tokens[..=at],
            "}" => depth -= 1,
            ";" if depth == 0 => return &tokens[..=at],
            _ => {}
        }
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn is_a_word(token: &&str) -> bool {
    is_word(token)
}

/// Words, `::`, and every other character for itself.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let mut next = rest.chars().skip(1);
        let length = if first.is_alphanumeric() || first == '_' {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            rest.find(|c| !is_part(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else if let ('\'', Some(c), Some('\'')) =
            (first, next.next(), next.next())
        {
            // A character in quotes may be a brace.
            2 + c.len_utf8()
        } else {
            first.len_utf8()
        };
        let (token, behind) = rest.split_at(length);
        tokens.push(token);
        rest = behind.trim_start();
    }
    tokens
}

/// Rooms from each of which one comes to each other.
fn circles(arrows: &BTreeMap<(Way, Way), String>) -> Vec<Circle> {
    let reached = |start: &Way| {
        let mut reached = BTreeSet::new();
        let mut pending = vec![start.clone()];
        while let Some(room) = pending.pop() {
            for (_, to) in arrows.keys().filter(|(from, _)| *from == room) {
                if reached.insert(to.clone()) {
                    pending.push(to.clone());
                }
            }
        }
        reached
    };
    let rooms: BTreeSet<&Way> = arrows.keys().map(|(from, _)| from).collect();
    let reach: BTreeMap<&Way, BTreeSet<Way>> =
        rooms.into_iter().map(|room| (room, reached(room))).collect();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (room, reached) in &reach {
        if !reached.contains(*room) || seen.contains(room) {
            continue;
        }
        let circle: Vec<&Way> = reached
            .iter()
            .filter(|other| {
                reach.get(*other).is_some_and(|back| back.contains(*room))
            })
            .collect();
        seen.extend(circle.iter().copied());
        let within = arrows.iter().filter(|((from, to), _)| {
            circle.contains(&from) && circle.contains(&to)
        });
        found.push(Circle {
            rooms: circle.iter().map(|way| way.join("::")).collect(),
            arrows: within.map(|(_, arrow)| arrow.clone()).collect(),
        });
    }
    found
}

mod tests {
    use super::*;

    /// The rooms of the circles in a crate of these files.
    fn rooms(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let files: Vec<(&str, String)> = files
            .iter()
            .map(|&(path, code)| (path, code.to_owned()))
            .collect();
        find(&files).into_iter().map(|circle| circle.rooms).collect()
    }

    #[test]
    fn two_files_that_use_each_other_are_a_circle_however_they_say_it() {
        let lib = ("lib.rs", "mod a; mod b; mod c; mod d;");
        for (in_a, in_b) in [
            ("use crate::b::B;", "use crate::a::A;"),
            ("use super::{b::{self, B}, d};", "use crate::{a::A as Other};"),
            ("use crate::b;", "fn f() { super::a::f(&[]) }"),
            ("use crate::b::*;", "pub(crate) type T = crate::a::T;"),
            ("fn f() -> crate::b::B { g('{') }", "use super::a as other;"),
            ("use crate::c::B;", "use crate::a::A;"),
        ] {
            let c = ("c.rs", "pub use crate::b::B;");
            let found = rooms(&[lib, ("a.rs", in_a), ("b.rs", in_b), c]);
            assert_eq!(found, [["a", "b"]], "{in_a} {in_b}");
        }
    }

    #[test]
    fn a_name_that_the_root_hands_on_leads_to_where_it_is_defined() {
        let found = rooms(&[
            ("lib.rs", "mod a; mod b; pub use b::{inner::B, f};"),
            ("a.rs", "use crate::B;"),
            ("b.rs", "mod inner;"),
            ("b/inner.rs", "use crate::a::A; struct B;"),
        ]);
        assert_eq!(found, [["a", "b"]]);
    }

    #[test]
    fn folders_can_be_a_circle_of_files_that_are_none() {
        let found = rooms(&[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod one; mod two;"),
            ("a/one.rs", "use crate::b::three::X;"),
            ("a/two.rs", "struct Y;"),
            ("b/mod.rs", "mod three; mod four;"),
            ("b/three.rs", "struct X;"),
            ("b/four.rs", "use crate::a::two::Y;"),
        ]);
        assert_eq!(found, [["a", "b"]]);
    }

    #[test]
    fn three_parts_of_a_room_can_be_a_circle_within_it() {
        let found = rooms(&[
            ("lib.rs", "mod a; mod d;"),
            ("a.rs", "mod x; mod y; mod z; use x::X;"),
            ("a/x.rs", "use super::y::Y;"),
            ("a/y.rs", "use super::z::Z; use crate::d::D;"),
            ("a/z.rs", "use super::x::X;"),
            ("d.rs", "struct D;"),
        ]);
        assert_eq!(found, [["a::x", "a::y", "a::z"]]);
    }

    #[test]
    fn what_names_nothing_or_only_an_ancestor_is_no_arrow() {
        for (in_a, in_b) in [
            ("use crate::b::B;", "#[cfg(test)] mod tests { use crate::a; }"),
            ("use crate::b::B;", "#[cfg(test)] mod only; fn f() {}"),
            ("use crate::b::B;", "#[cfg(doc)] use crate::a::A;"),
            ("use crate::b::B;", "pub(in crate::a) fn f() {}"),
            ("use crate::b::B;", "fn f() { a.g(); <T as X>::a::g() }"),
            ("use crate::b::B;", "use std::a; use other::a::A;"),
            ("use crate::b::B;", "use crate::Root;"),
            ("mod part; use part::P;", "struct B;"),
        ] {
            let mut files = vec![
                ("lib.rs", "mod a; mod b; struct Root;"),
                ("a.rs", in_a),
                ("a/part.rs", "use super::Whole; use crate::Root;"),
                ("b.rs", in_b),
            ];
            if in_b.contains("mod only") {
                files.push(("b/only.rs", "use crate::a::A;"));
            }
            let found = rooms(&files);
            assert_eq!(found, Vec::<Vec<String>>::new(), "{in_a} {in_b}");
        }
    }
}
