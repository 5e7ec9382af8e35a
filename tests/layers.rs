//! The rules of the house, read out of the sources: where `unsafe` may
//! stand, what the pure modules may not know, and how large anything gets.

#[path = "layers/circles.rs"]
mod circles;

use std::fs;
use std::path::{Path, PathBuf};

/// Whose decisions are values: no kernel, no clock, no file, no log.
const PURE: [&str; 19] = [
    "src/config",
    "src/control/protocol",
    "src/control/status",
    "src/control/table",
    "src/http",
    "src/ipc",
    "src/master/dispatcher",
    "src/master/primary",
    "src/master/readiness",
    "src/master/scheduler",
    "src/master/server",
    "src/master/supervisor",
    "src/master/traffic/limits",
    "src/master/workers/advice",
    "src/master/workers/inspector",
    "src/master/workers/watch",
    "src/salvage",
    "src/worker/node/dialogue",
    "src/worker/node/lists",
];

/// What a pure module could only want in order to act.
const IMPURE: [&str; 18] = [
    "File",
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "debug!",
    "env",
    "error!",
    "fs",
    "info!",
    "process",
    "sys",
    "thread",
    "trace!",
    "warn!",
];

/// Where the parts of the master meet: nothing else may know all of it.
const MASTER: [&str; 4] = ["commands.rs", "mod.rs", "orders.rs", "start.rs"];

/// The card's four.
const DEPENDENCIES: [&str; 4] = ["libc", "log", "memchr", "simple_logger"];

/// The card's top level, and what cargo and the licences add to it.
const TOP_LEVEL: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "benches",
    "ffi",
    "src",
    "tests",
];

/// A file that is longer holds more than one notion.
const MOST_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below these folders, by its path from the root.
fn files(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut pending: Vec<PathBuf> =
        folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder").flatten();
            pending.extend(entries.map(|entry| entry.path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let name = path.strip_prefix(root()).unwrap_or(&path);
            found.push((name.to_owned(), text));
        }
    }
    found.sort();
    found
}

/// The text without its comments and strings; every line keeps its number.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("'\"'") {
            3
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            3 + raw.find("\"#").map_or(raw.len(), |at| at + 2)
        } else if let Some(string) = rest.strip_prefix('"') {
            1 + end_of_string(string)
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        let (gone, left) = rest.split_at(skipped);
        code.extend(gone.chars().filter(|c| *c == '\n'));
        rest = left;
    }
    code
}

/// Behind the quote that no backslash escapes.
fn end_of_string(string: &str) -> usize {
    let mut escaped = false;
    for (at, c) in string.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    string.len()
}

#[test]
fn code_is_what_is_left_without_comments_and_strings() {
    let text = "a // b\nc(\"d // \\\" e\", 'f', '\"') // g\nr#\"h\"i\"#; j";
    assert_eq!(code(text), "a \nc(, 'f', ) \n; j");
}

/// The words of a line; a macro's has its exclamation mark.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '!')
}

fn is_test(path: &Path) -> bool {
    let names = ["tests", "tests.rs", "model.rs"];
    path.iter().any(|part| names.iter().any(|name| part == *name))
}

/// Each line of these files that has one of these words.
fn sightings(files: &[(PathBuf, String)], forbidden: &[&str]) -> Vec<String> {
    let mut seen = Vec::new();
    for (path, text) in files {
        for (number, line) in (1..).zip(code(text).lines()) {
            if words(line).any(|word| forbidden.contains(&word)) {
                seen.push(format!("{}:{number}: {line}", path.display()));
            }
        }
    }
    seen
}

#[test]
fn unsafe_and_libc_stand_behind_the_fence() {
    let mut files = files(&["src", "tests", "benches"]);
    files.retain(|(path, _)| {
        let is_rust = path.extension().is_some_and(|end| end == "rs");
        let itself = path == Path::new("tests/layers.rs");
        is_rust && !path.starts_with("src/sys") && !itself
    });
    assert!(files.len() > 30);
    let seen = sightings(&files, &["unsafe", "libc"]);
    assert!(seen.is_empty(), "{seen:#?}");
}

#[test]
fn the_pure_modules_know_no_kernel_no_clock_and_no_log() {
    let mut files = files(&["src"]);
    files.retain(|(path, _)| {
        let module = path.with_extension("");
        PURE.iter().any(|pure| module.starts_with(pure)) && !is_test(path)
    });
    for (_, text) in &mut files {
        // Unit tests stand at the end of a file.
        let end = text.find("#[cfg(test)]\nmod tests {");
        text.truncate(end.unwrap_or(text.len()));
    }
    for pure in PURE {
        let is_there = files
            .iter()
            .any(|(path, _)| path.with_extension("").starts_with(pure));
        assert!(is_there, "{pure} has moved: name it here anew");
    }
    let seen = sightings(&files, &IMPURE);
    assert!(seen.is_empty(), "{seen:#?}");
}

/// It accepts, and hands over: nothing in it reads what a client says.
#[test]
fn the_master_knows_no_http() {
    let files = files(&["src/master"]);
    assert!(files.len() > 30);
    let seen = sightings(&files, &["http"]);
    assert!(seen.is_empty(), "{seen:#?}");
}

/// The chapter on what is defended says of each promise what tries it.
#[test]
fn the_tests_that_a_chapter_names_are_there() {
    let files = files(&["src", "tests"]);
    let name = Path::new("src/chapters/defended.md");
    let chapter = fs::read_to_string(root().join(name)).unwrap();
    let mut named = 0;
    for word in chapter.split('`').skip(1).step_by(2) {
        let is_test = word.contains('_') && word == word.to_lowercase();
        let is_there = match word.ends_with(".rs") {
            true => root().join(word).is_file(),
            false if is_test => {
                let function = format!("fn {word}(");
                files.iter().any(|(_, text)| text.contains(&function))
            }
            false => continue,
        };
        assert!(is_there, "{word}");
        named += 1;
    }
    assert!(named > 20);
}

#[test]
fn whoever_says_that_it_is_pure_is_held_to_it() {
    for (path, text) in files(&["src"]) {
        let mut head = text.lines().take_while(|line| line.starts_with("//!"));
        let says = head.any(|line| words(line).any(|word| word == "PURE"));
        let path = path.with_extension("");
        let held = PURE.iter().any(|pure| path.starts_with(pure));
        assert!(!says || held, "{} is on no list", path.display());
    }
}

#[test]
fn the_master_is_one_object_in_the_files_where_its_parts_meet() {
    let mut found = Vec::new();
    for (path, text) in files(&["src"]) {
        let name = path.strip_prefix("src/master").unwrap_or(&path);
        if code(&text).lines().any(|line| line.starts_with("impl Master "))
            && path.starts_with("src/master")
        {
            found.push(name.display().to_string());
        }
    }
    assert_eq!(found, MASTER);
}

#[test]
fn nothing_that_a_loop_can_reach_sleeps() {
    let mut files = files(&["src"]);
    files.retain(|(path, _)| !path.starts_with("src/demo") && !is_test(path));
    for (_, text) in &mut files {
        let end = text.find("#[cfg(test)]\nmod tests {");
        text.truncate(end.unwrap_or(text.len()));
    }
    let mut seen = sightings(&files, &["sleep", "usleep", "nanosleep"]);
    seen.retain(|line| line.contains("thread") || line.contains("libc"));
    // A lock among masters that begin at the same time is waited for, a
    // second at most: whoever else held on to it would keep a master out.
    seen.retain(|line| !line.starts_with("src/sys/lock.rs:"));
    // Whoever asks a master is a process of its own, with no loop.
    seen.retain(|line| !line.starts_with("src/control/client.rs:"));
    assert!(seen.is_empty(), "{seen:#?}");
}

#[test]
fn the_dependencies_are_the_four_of_the_card() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let names = |section: &str| -> Vec<String> {
        let lines = manifest.lines().map(str::trim);
        let mut lines = lines.skip_while(|line| *line != section);
        lines.next();
        let lines = lines.take_while(|line| !line.starts_with('['));
        let pairs = lines.filter_map(|line| line.split_once('='));
        pairs.map(|(name, _)| name.trim().to_owned()).collect()
    };
    assert_eq!(names("[dependencies]"), DEPENDENCIES);
    assert!(names("[build-dependencies]").is_empty());
    assert!(!manifest.contains("[target"), "no dependency by the back door");
}

#[test]
fn no_file_is_longer_than_one_notion() {
    let mut long = Vec::new();
    for (path, text) in files(&["src", "tests", "benches", "ffi"]) {
        let is_code = ["rs", "c", "js", "py", "sh"]
            .iter()
            .any(|end| path.extension().is_some_and(|is| is == *end));
        let lines = text.lines().count();
        if is_code && lines > MOST_LINES {
            long.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_module_begins_with_what_it_is() {
    for (path, text) in files(&["src", "tests", "benches"]) {
        let is_rust = path.extension().is_some_and(|end| end == "rs");
        let says = text.starts_with("//! ")
            || text.starts_with("#![doc = include_str!");
        assert!(!is_rust || says, "{}", path.display());
    }
}

#[test]
fn the_top_level_is_that_of_the_card() {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    let ignored: Vec<&str> =
        ignored.lines().map(|line| line.trim_matches('/')).collect();
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let expected = name.starts_with('.')
            || TOP_LEVEL.contains(&name.as_str())
            || ignored.contains(&name.as_str());
        assert!(expected, "{name} does not belong here");
    }
}

/// The library's files, by their path below its root, without what is no
/// code.
fn library() -> Vec<(PathBuf, String)> {
    let mut files = files(&["src"]);
    files.retain(|(path, _)| path.extension().is_some_and(|is| is == "rs"));
    for (path, text) in &mut files {
        *path = path.strip_prefix("src").expect("below src").to_owned();
        *text = code(text);
    }
    // It is another crate, which uses the library's face.
    files.retain(|(path, _)| path != Path::new("main.rs"));
    files
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let files = library();
    assert!(files.len() > 100);
    let found = circles::find(&files);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_circle_that_is_planted_in_the_library_is_found() {
    for (file, planted, rooms) in [
        ("ipc/json.rs", "use crate::channel::Channel;", ["channel", "ipc"]),
        ("sys/epoll.rs", "fn f(_: crate::Post) {}", ["event", "sys"]),
        ("http/date.rs", "use super::encode;", ["http::date", "http::encode"]),
    ] {
        let mut files = library();
        let at = |name: &str| {
            let mut paths = files.iter().map(|(path, _)| path);
            paths.position(|path| path == Path::new(name)).expect("a file")
        };
        let at = at(file);
        files[at].1.push_str(planted);
        let found = circles::find(&files);
        let is_it = |circle: &circles::Circle| {
            rooms.iter().all(|room| circle.rooms.iter().any(|is| is == room))
        };
        assert!(found.iter().any(is_it), "{file}: {planted} {found:#?}");
    }
}
