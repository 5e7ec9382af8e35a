//! The documentation's pages: nothing in them leads nowhere, whether they are
//! read as files or as `cargo doc` makes them.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap()
}

/// The lines that are no code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        code ^= fence;
        !fence && !code
    })
}

/// `[label]: target`, in the order of their lines.
fn definitions(text: &str) -> Vec<(&str, &str)> {
    let lines = prose(text).map(|line| line.trim_start_matches("//! "));
    let lines = lines.filter_map(|line| line.strip_prefix('['));
    lines.filter_map(|line| line.split_once("]: ")).collect()
}

/// What stands between these two, wherever it does.
fn between<'a>(text: &'a str, open: &str, close: char) -> Vec<&'a str> {
    let parts = text.split(open).skip(1);
    parts.filter_map(|part| Some(part.split_once(close)?.0)).collect()
}

#[test]
fn every_link_of_the_front_page_leads_somewhere_as_a_file_and_as_a_page() {
    let (readme, front) = (read("README.md"), read("src/lib.rs"));
    let pictures = read("benches/results/pictures.md");
    let as_files = definitions(&readme);
    let as_pages = [definitions(&front), definitions(&pictures)].concat();
    let text: Vec<&str> = prose(&readme).collect();
    let text = text.join("\n");
    for target in between(&text, "](", ')') {
        let elsewhere = target.starts_with("http") || target.starts_with('#');
        assert!(elsewhere, "{target} is no page: define it twice");
    }
    let labels = between(&text, "][", ']');
    assert!(labels.len() > 4, "{labels:?}");
    for label in labels.iter().map(|label| label.replace('\n', " ")) {
        let file = as_files.iter().find(|(is, _)| *is == label);
        let (_, file) = file.unwrap_or_else(|| panic!("no file for {label}"));
        assert!(!read(file).is_empty());
        assert!(as_pages.iter().any(|(is, _)| *is == label), "{label}");
    }
}

/// RFC 3986 §2.1.
fn decoded(uri: &str) -> String {
    let mut parts = uri.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_pictures_in_the_pages_are_those_in_the_files() {
    let pictures = read("benches/results/pictures.md");
    let pictures = definitions(&pictures);
    assert_eq!(pictures.len(), 2);
    for (label, uri) in pictures {
        let name = label.strip_prefix("picture of ").unwrap();
        let inside = uri.strip_prefix("data:image/svg+xml,").unwrap();
        let file = read(&format!("benches/results/{name}.svg"));
        assert_eq!(decoded(inside), file, "{name}");
    }
}

#[test]
fn no_chapter_leads_to_a_file_beside_the_sources() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/chapters");
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap();
        for target in between(&text, "](", ')') {
            assert!(!target.contains('/'), "{:?}: {target}", entry.path());
        }
    }
}
