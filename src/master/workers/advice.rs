//! PURE: what to type instead of a wrapper.
//!
//! npm, npx, yarn, cross-env, `node --watch` start the app as a child of
//! their own, which knows nothing of the channel. What they start is what is
//! to be typed: a script of package.json by its own command, anything else
//! by the words that the child was started with.

use crate::ipc::json;

/// Bytes of a command in a line of the log.
const MOST: usize = 200;

/// Whose first word names a script, as does the word behind `run`.
const RUNNERS: [&str; 4] = ["npm", "pnpm", "yarn", "bun"];

/// What a program is called in a sentence: its file's name, and the options
/// that make it what it is.
pub(super) fn name(words: &[String]) -> String {
    let Some((first, rest)) = words.split_first() else {
        return String::new();
    };
    let mut name = file_name(first).to_owned();
    for option in rest.iter().take_while(|word| word.starts_with('-')).take(2)
    {
        name.push(' ');
        name.push_str(&shown(option));
    }
    name
}

/// The script of package.json that these words run, if they do.
pub(super) fn script_of(words: &[String]) -> Option<&str> {
    let mut words = words.iter().map(String::as_str);
    if !RUNNERS.contains(&file_name(words.next()?)) {
        return None;
    }
    let mut words = words.filter(|word| !word.starts_with('-'));
    match words.next()? {
        "run" | "run-script" => words.next(),
        script => Some(script),
    }
}

/// The command of a script, as package.json has it.
pub(super) fn command_in(package: &str, script: &str) -> Option<String> {
    let [scripts] = json::members(package, ["scripts"]).ok()?;
    let [command] = json::members(scripts?.text(), [script]).ok()?;
    command?.string().map(|command| command.into_owned())
}

/// How a script's command is typed as words. `is_local` is whether a program
/// lies in node_modules/.bin, where npm looks first.
pub(super) fn of_script(
    command: &str,
    is_local: impl Fn(&str) -> bool,
) -> String {
    let mut words = command.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let is_plain = command.bytes().all(|byte| byte == b' ' || is_plain(byte));
    // `NAME=value command`: the shell's.
    if !is_plain || first.contains('=') {
        // Of one command no shell need stay.
        let is_one = !command.contains([';', '&', '|', '(', '`', '\n']);
        let before = if is_one { "exec env " } else { "" };
        let command = format!("{before}{}", command.trim());
        return typed(&["sh".to_owned(), "-c".to_owned(), command]);
    }
    let first = match !first.contains('/') && is_local(first) {
        true => format!("node_modules/.bin/{first}"),
        false => first.to_owned(),
    };
    let words = words.map(str::to_owned);
    typed(&std::iter::once(first).chain(words).collect::<Vec<_>>())
}

/// The words of a running process as they may be typed; `None`: it has given
/// itself a title, in which they are lost.
pub(super) fn of_process(words: &[String]) -> Option<String> {
    let (first, rest) = words.split_first()?;
    if first.is_empty() || first.contains(' ') {
        return None;
    }
    let mut words = words.to_owned();
    if file_name(first) == "node" && !rest.is_empty() {
        "node".clone_into(&mut words[0]);
    }
    Some(typed(&words))
}

/// Words as a shell takes them, on one line.
fn typed(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.bytes().all(is_plain) {
            return word.clone();
        }
        format!("'{}'", shown(word).replace('\'', r"'\''"))
    });
    let mut line = quoted.collect::<Vec<_>>().join(" ");
    if line.len() > MOST {
        let end = (0..=MOST).rfind(|at| line.is_char_boundary(*at));
        line.truncate(end.unwrap_or(0));
        line.push('…');
    }
    line
}

/// No shell sees more in it than itself.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte)
}

/// What no terminal takes for a command.
fn shown(word: &str) -> String {
    word.replace(char::is_control, "?")
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(typed: &str) -> Vec<String> {
        typed.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_program_is_called_by_its_file_and_the_options_before_its_words() {
        assert_eq!(name(&words("/usr/bin/npm start")), "npm");
        assert_eq!(name(&words("node --watch app.js -x")), "node --watch");
        assert_eq!(name(&words("npx -y serve")), "npx -y");
        assert_eq!(name(&[]), "");
    }

    #[test]
    fn a_script_is_named_in_each_runners_way() {
        for (typed, script) in [
            ("npm start", Some("start")),
            ("npm --silent run web", Some("web")),
            ("/usr/bin/yarn web", Some("web")),
            ("pnpm run-script web", Some("web")),
            ("npm", None),
            ("npm run", None),
            ("node start", None),
            ("npx start", None),
        ] {
            assert_eq!(script_of(&words(typed)), script, "{typed}");
        }
    }

    #[test]
    fn a_scripts_command_is_found_in_package_json() {
        let package = r#"{ "name": "x", "start": "no",
            "scripts": { "test": "t", "start": "node \"my app.js\"" } }"#;
        let found = |script| command_in(package, script);
        assert_eq!(found("start").unwrap(), "node \"my app.js\"");
        assert_eq!(found("web"), None);
        for broken in ["", "{}", "[]", r#"{"scripts":["start"]}"#, "{"] {
            assert_eq!(command_in(broken, "start"), None, "{broken}");
        }
        let no_text = r#"{"scripts":{"start":7}}"#;
        assert_eq!(command_in(no_text, "start"), None);
    }

    #[test]
    fn a_script_is_typed_as_npm_would_run_it() {
        let is_local = |name: &str| name == "next";
        for (command, typed) in [
            ("node app.js", "node app.js"),
            (" node  app.js ", "node app.js"),
            ("next start -p 3000", "node_modules/.bin/next start -p 3000"),
            ("./next start", "./next start"),
            ("cd a && node b.js", "sh -c 'cd a && node b.js'"),
            ("PORT=1 node a.js", "sh -c 'exec env PORT=1 node a.js'"),
            ("node 'a b.js'", r"sh -c 'exec env node '\''a b.js'\'''"),
        ] {
            assert_eq!(of_script(command, is_local), typed, "{command}");
        }
    }

    #[test]
    fn a_process_is_typed_by_its_words_unless_it_has_a_title() {
        let node = words("/usr/local/bin/node app.js");
        assert_eq!(of_process(&node).unwrap(), "node app.js");
        let title = ["next-server (v15)".to_owned()];
        assert_eq!(of_process(&title), None);
        assert_eq!(of_process(&[]), None);
    }

    #[test]
    fn a_line_stays_one_line_and_short() {
        let wild = ["a".to_owned(), "b\n\u{1b}[31m".to_owned(), String::new()];
        assert_eq!(typed(&wild), "a 'b??[31m' ''");
        let long = ["é".repeat(MOST)];
        assert!(typed(&long).len() <= MOST + "…".len());
    }
}
