//! What `--help` prints, made from the tables that parsing reads, at most
//! 79 columns wide.

use super::{
    Topic,
    options::{Fallback, Flag, rows},
};

/// The commands: the words that may come first.
pub(super) static COMMANDS: [(&str, &str); 9] = [
    ("serve", "start the cluster, with the built-in HTTP application"),
    ("run", "start the cluster with another program, such as a Node app"),
    ("status", "show a running master and its workers"),
    ("reload", "replace all its workers, one by one, and wait for the end"),
    ("scale", "change the number of its workers"),
    ("stop", "stop it, and wait until it is gone"),
    ("demo", "run a demo of the article that handoff grew from"),
    ("help", "explain a command, as in: handoff help serve"),
    ("version", "print the version"),
];

/// What the master does when it gets a signal.
static SIGNALS: [(&str, &str); 5] = [
    (
        "TERM, QUIT, INT",
        "stop gracefully: requests in hand finish, within --grace",
    ),
    ("a second TERM or INT", "stop now"),
    ("HUP", "rolling reload: new workers first, then the old ones go"),
    (
        "USR2",
        "hot upgrade: a new master takes over the listeners, then the old \
         one goes",
    ),
    ("USR1, PIPE, WINCH", "ignored"),
];

static STATUSES: [(&str, &str); 3] = [
    ("0", "stopped as asked, or done"),
    (
        "1",
        "the system refused something, as an address in use; a reload was \
         abandoned; no master is there to be asked",
    ),
    ("2", "what was typed means nothing, or could mean several masters"),
];

/// The commands that ask a running master: their own words, and what they do.
static CONTROL_COMMANDS: [(&str, &str, &str); 4] = [
    (
        "status",
        "status [--json]",
        "Prints how a running master and its workers are: the state, age, \
         connections, requests and memory of each.",
    ),
    (
        "reload",
        "reload",
        "Has a running master start new workers, and let each old one go \
         when its successor is ready, one by one. It waits for the end, and \
         prints the reason if that was abandoned.",
    ),
    (
        "scale",
        "scale N",
        "Has a running master have so many workers from now on, 1 to 1024.",
    ),
    (
        "stop",
        "stop",
        "Has a running master stop as on SIGTERM: requests in hand finish. It \
         waits until the master is gone.",
    ),
];

/// What they all take.
static CONTROL: (&str, &str) = (
    "--control PATH",
    "ask the master with this socket, as given to serve or run; else the only \
     one in $XDG_RUNTIME_DIR and /run",
);

static JSON: (&str, &str) =
    ("--json", "print it as JSON, on one line, for programs");

/// The text for a topic; it ends with a newline.
#[must_use]
pub(crate) fn help(topic: Topic) -> String {
    let mut page = Page(String::new());
    match topic {
        Topic::Handoff => {
            page.text(
                "handoff, a prefork server for Linux: a master accepts \
                 connections and hands them to its workers, one process \
                 each.",
            );
            page.usage("COMMAND [OPTIONS]");
            page.table("Commands", 12, COMMANDS);
            page.example(
                "handoff serve --listen 8080 --workers 2\n\
                 handoff serve --help",
            );
            page.table("Signals of the master", 24, SIGNALS);
            page.table("Exit status", 24, STATUSES);
        }
        Topic::Serve => {
            page.text(
                "Accepts connections in the master and hands each to a \
                 worker, which answers in HTTP/1.1: / and /plaintext greet, \
                 /echo?TEXT repeats, /sleep/MS?TEXT repeats after that \
                 time, /worker tells which worker it was.",
            );
            page.usage("serve [OPTIONS]");
            page.text(
                "Started by Node with a channel (child_process.fork, spawn \
                 with ipc, cluster), it is no master but a worker: of the \
                 cluster, or, without --listen, for the sockets that the \
                 process sends.",
            );
            page.options(false);
            page.example(
                "handoff serve --listen 0.0.0.0:8080 --listen \
                 unix:/run/app.sock\n\
                 handoff serve --workers 4 --schedule ip-hash --grace 2.5",
            );
        }
        Topic::Run => {
            page.text(
                "Starts a program that speaks as Node's cluster does, once \
                 for each worker, accepts what it asks to listen on, and \
                 hands each connection to one of them. A Node app needs no \
                 change.",
            );
            page.usage("run [OPTIONS] -- PROGRAM [ARGS...]");
            page.options(true);
            page.example(
                "handoff run -- node app.js\n\
                 handoff run --workers 4 --schedule ip-hash -- node app.js",
            );
        }
        Topic::Control(name) => {
            let commands =
                CONTROL_COMMANDS.iter().filter(|(is, ..)| *is == name);
            for (name, usage, about) in commands {
                page.text(about);
                page.text(
                    "It asks over the master's control socket, which only \
                     root and the user that it runs as may.",
                );
                page.usage(&format!("{usage} [--control PATH]"));
                let json = (*name == "status").then_some(JSON);
                let options = json.into_iter().chain([CONTROL]);
                page.table("Options", 18, options);
            }
            page.table("Exit status", 18, STATUSES);
        }
        Topic::Demo => {
            page.text(
                "Runs a demo of \"What we talk about when we talk about \
                 cluster (part 2)\" and prints what the article prints.",
            );
            page.usage("demo NAME");
            page.table(
                "Names",
                15,
                super::DEMOS.map(|(name, about, _)| (name, about)),
            );
            page.text(
                "socketpair parent FD and socketpair child FD play one end \
                 over an inherited socket; ffi/socketpair.c plays the other.",
            );
        }
    }
    page.0
}

impl Flag {
    /// What it is called, and what it does with its default and bounds.
    fn row(&self, default: &Fallback) -> (String, String) {
        let name = format!("{} {}", self.name, self.value.name());
        let name = name.trim_end().to_owned();
        let (Fallback::Typed(default) | Fallback::Found(default)) = default;
        let bounds = match self.value.bounds() {
            Some(bounds) => format!("; {bounds}"),
            None => String::new(),
        };
        let facts = format!("(default {default}{bounds})");
        let facts = facts.replace(' ', TIE);
        (name, format!("{} {facts}", self.help))
    }
}

/// A space at which no line is broken, written as in TeX.
const TIE: &str = "~";

const WIDTH: usize = 79;

/// Parts with an empty line between them.
struct Page(String);

impl Page {
    fn part(&mut self, heading: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(heading);
    }

    fn text(&mut self, text: &str) {
        self.part("");
        for line in wrapped(text, WIDTH) {
            self.0.push_str(&line);
            self.0.push('\n');
        }
    }

    fn usage(&mut self, synopsis: &str) {
        self.part(&format!("Usage: handoff {synopsis}\n"));
    }

    fn example(&mut self, lines: &str) {
        self.part("Examples:\n");
        for line in lines.lines() {
            self.0.push_str(&format!("  {line}\n"));
        }
    }

    /// The options of a command that serves, under their headings, and what
    /// its master does on a signal.
    fn options(&mut self, run: bool) {
        let mut headings: Vec<&str> = rows(run).map(|row| row.0).collect();
        headings.dedup();
        for heading in headings {
            let under = rows(run).filter(|row| row.0 == heading);
            let table = under.map(|(_, flag, default)| flag.row(default));
            self.table(heading, 28, table);
        }
        self.text(
            "SECONDS may have up to three decimals. SIZE is in bytes, or in \
             powers of 1024 with K, M or G after it. --option=VALUE is \
             --option VALUE.",
        );
        self.table("Signals of the master", 24, SIGNALS);
    }

    /// Names at the left, what they mean from `column` on: beside the name
    /// or, where that is too long, below it.
    fn table<L: AsRef<str>, R: AsRef<str>>(
        &mut self,
        heading: &str,
        column: usize,
        rows: impl IntoIterator<Item = (L, R)>,
    ) {
        self.part(&format!("{heading}:\n"));
        for (name, meaning) in rows {
            let mut left = format!("  {}", name.as_ref());
            if left.len() + 2 > column {
                self.0.push_str(&left);
                self.0.push('\n');
                left.clear();
            }
            for line in wrapped(meaning.as_ref(), WIDTH - column) {
                self.0.push_str(&format!("{left:column$}{line}\n"));
                left.clear();
            }
        }
    }
}

/// Lines of at most `width` columns; no word is longer than that.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines.iter().map(|line| line.replace(TIE, " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPICS: [Topic; 8] = [
        Topic::Handoff,
        Topic::Serve,
        Topic::Run,
        Topic::Control("status"),
        Topic::Control("reload"),
        Topic::Control("scale"),
        Topic::Control("stop"),
        Topic::Demo,
    ];

    #[test]
    fn every_topic_has_one_usage() {
        for topic in TOPICS {
            assert_eq!(help(topic).matches("Usage:").count(), 1, "{topic:?}");
        }
    }

    #[test]
    fn every_line_has_at_most_79_columns() {
        for topic in TOPICS {
            for line in help(topic).lines() {
                assert!(line.len() <= WIDTH && line.is_ascii(), "{line}");
                assert_eq!(line, line.trim_end());
            }
        }
    }

    #[test]
    fn every_option_is_explained_with_its_default() {
        for (topic, run) in [(Topic::Serve, false), (Topic::Run, true)] {
            let help = help(topic);
            let words = help.split_whitespace().collect::<Vec<_>>();
            let words = words.join(" ");
            for (_, flag, default) in rows(run) {
                let (name, meaning) = flag.row(default);
                let row = format!("{name} {meaning}").replace(TIE, " ");
                assert!(words.contains(&row), "{row}");
            }
        }
    }

    #[test]
    fn a_row_reads_like_this() {
        let help = help(Topic::Serve);
        for row in [
            "\n  --max-fields N            fields of one request (default \
             100; 1 to 1000)\n",
            "\n  --workers N               worker processes\n                 \
             \x20          (default the usable CPUs; 1 to 1024)\n",
            "\n  --max-requests-per-connection N\n                            \
             close a connection after so many",
        ] {
            assert!(help.contains(row), "{row}");
        }
    }
}
