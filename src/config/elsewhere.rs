//! Words of other programs: what a process manager, a server or Node is told
//! with them, and what is typed here instead.
//!
//! Somebody who comes from there types them from habit. No word of it does
//! anything; the answer leads on.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::usage::quoted;

/// Commands, and what to do instead.
static COMMANDS: [(&[&str], &str); 6] = [
    (
        &["start", "cluster"],
        "type handoff serve, or handoff run -- node app.js",
    ),
    (&["restart", "gracefulReload", "hup"], "type handoff reload"),
    (
        &[
            "list", "ls", "l", "ps", "jlist", "show", "describe", "info",
            "monit", "top",
        ],
        "type handoff status",
    ),
    (&["delete", "del", "kill", "quit"], "type handoff stop"),
    (
        &["logs", "log", "flush"],
        "the log goes to standard error: let a service manager keep it, or \
         type 2>FILE behind serve or run",
    ),
    (
        &["startup", "unstartup", "save", "resurrect", "daemon"],
        "it stays in the foreground: let a service manager start it (the \
         README has a unit for systemd)",
    ),
];

/// Options of `serve` and `run`, and what to do instead.
static OPTIONS: [(&[&str], &str); 10] = [
    (&["-i", "--instances", "-n"], "type --workers N"),
    (&["--max-memory-restart"], "type --max-rss SIZE"),
    (&["--kill-timeout"], "type --grace SECONDS"),
    (&["--listen-timeout"], "type --boot-timeout SECONDS"),
    (&["-u", "--uid", "--gid"], "type --user USER:GROUP"),
    (&["--name"], "type --control PATH to tell one from another"),
    (&["--watch"], "type handoff reload when something has changed"),
    (&["-d", "--daemon"], "let a service manager start it"),
    (&["--no-daemon"], "leave it away: it stays in the foreground anyway"),
    (
        &["-l", "-o", "-e", "--log", "--output", "--error"],
        "type 2>FILE: the log goes to standard error",
    ),
];

/// Options that say where to listen.
const PLACES: [&str; 7] =
    ["-p", "--port", "-b", "--bind", "-H", "--host", "--address"];

/// What to do where somebody has typed this command.
pub(super) fn command(word: &OsStr) -> Option<String> {
    if is_script(word) {
        let word = quoted(word);
        return Some(format!("type handoff run -- node {word}"));
    }
    if ["node", "npm", "npx", "yarn", "pnpm", "bun", "deno"]
        .iter()
        .any(|name| word == *name)
    {
        let word = quoted(word);
        return Some(format!("type handoff run -- {word}"));
    }
    found(&COMMANDS, word).map(str::to_owned)
}

/// What to do where somebody has typed this option of `serve` or `run`.
pub(super) fn option(name: &OsStr, run: bool) -> Option<&'static str> {
    let name = without_value(name);
    if !PLACES.iter().any(|place| name == *place) {
        return found(&OPTIONS, name);
    }
    Some(match run {
        true => {
            "the program says where to listen: type PORT=3000 handoff run -- \
             node app.js if it asks for that"
        }
        false => "type --listen PORT or --listen HOST:PORT",
    })
}

/// Whether a program's name is that of a text which Node executes.
pub(crate) fn is_script(name: &OsStr) -> bool {
    let end = Path::new(name).extension();
    ["js", "mjs", "cjs", "ts"].iter().any(|is| end == Some(OsStr::new(is)))
}

/// `-p3000` is `-p`.
fn without_value(name: &OsStr) -> &OsStr {
    match name.as_bytes() {
        [b'-', letter, value, ..]
            if *letter != b'-'
                && (value.is_ascii_digit() || *value == b'=') =>
        {
            OsStr::from_bytes(&name.as_bytes()[..2])
        }
        _ => name,
    }
}

fn found(
    table: &'static [(&[&str], &'static str)],
    typed: &OsStr,
) -> Option<&'static str> {
    let mut rows = table.iter();
    let row = rows.find(|(words, _)| words.iter().any(|w| typed == *w))?;
    Some(row.1)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    /// What somebody is told who types this.
    fn told(line: &str) -> String {
        let words = line.split_whitespace().map(OsString::from);
        match crate::config::parse(words, 4) {
            Ok(command) => panic!("{line}: {command:?}"),
            Err(usage) => usage.to_string(),
        }
    }

    #[test]
    fn a_word_of_another_program_leads_to_the_one_here() {
        for (line, words) in [
            ("start", "type handoff serve, or handoff run -- node app.js"),
            ("start app.js", "type handoff serve, or handoff run"),
            ("restart", r#"unknown command "restart": type handoff reload"#),
            ("restart all", "type handoff reload"),
            ("list", "type handoff status"),
            ("ls", "type handoff status"),
            ("monit", "type handoff status"),
            ("logs", "the log goes to standard error"),
            ("delete all", "type handoff stop"),
            ("kill", "type handoff stop"),
            ("startup systemd", "let a service manager start it"),
            ("save", "let a service manager start it"),
            ("help restart", "type handoff reload"),
            ("app.js", r#"type handoff run -- node "app.js""#),
            ("node app.js", r#"type handoff run -- "node""#),
            ("npm start", r#"type handoff run -- "npm""#),
            ("serve --port 80", r#"unknown option "--port": type --listen"#),
            ("serve -p 80", "type --listen PORT or --listen HOST:PORT"),
            ("serve -p80", "type --listen PORT or --listen HOST:PORT"),
            ("serve --port=80", "type --listen PORT or --listen HOST:PORT"),
            ("serve --host 0.0.0.0", "type --listen PORT"),
            ("serve app.js", r#"type handoff run -- node "app.js""#),
            ("run --port 80 -- x", "the program says where to listen"),
            ("run -p 80 -- x", "type PORT=3000 handoff run -- node app.js"),
            ("run -i max -- x", "type --workers N"),
            ("run -i4 -- x", "type --workers N"),
            ("run --instances=4 -- x", "type --workers N"),
            ("run --max-memory-restart 1G -- x", "type --max-rss SIZE"),
            ("run --kill-timeout 3000 -- x", "type --grace SECONDS"),
            ("run --name api -- x", "type --control PATH"),
            ("run --watch -- x", "type handoff reload"),
            ("run app.js", r#"type handoff run -- node "app.js""#),
            ("run ./b/app.mjs", r#"type handoff run -- node "./b/app.mjs""#),
            ("run node app.js", r#"type handoff run -- "node""#),
            ("run --workers 2 npm start", r#"type handoff run -- "npm""#),
            ("stop all", r#"stop takes no "all": it is about all workers"#),
            ("reload app", "it is about all workers; type --control PATH"),
            ("scale app 4", r#"not "app": type handoff scale 4"#),
            ("scale +2", r#"not "+2": type handoff scale 4"#),
            ("scale -2", r#"not "-2": type handoff scale 4"#),
        ] {
            let line_told = told(line);
            assert!(line_told.contains(words), "{line}: {line_told}");
            assert!(!line_told.contains('\n'), "{line}: {line_told}");
        }
    }

    #[test]
    fn what_is_no_word_of_another_program_is_told_as_ever() {
        assert!(told("serve --wrokers 4").contains("did you mean --workers?"));
        assert!(told("serve -w4").contains("--help for a list"));
        assert!(told("sreve").contains("did you mean serve?"));
        assert!(told("run x").contains(r#"type handoff run -- "x""#));
    }
}
