//! PURE: the ports on which Node's debugger listens, one for each worker.
//!
//! Workers are started with the same words, so `--inspect` would have all of
//! them listen on one port, and only the first gets it. Node's own primary
//! counts up with each worker that it forks (`createWorkerProcess` in
//! lib/internal/cluster/primary.js), and so do we. That primary has the port
//! that was typed for itself; this master is no Node, and the first worker
//! has it.
//!
//! ```text
//!   node --inspect=9229                     app.js   as typed
//!   node --inspect=9229 --inspect-port=9231 app.js   worker 3: the last counts
//! ```
//!
//! In `NODE_OPTIONS` it is the same; what stands before the script outweighs
//! it. Words behind the script are the app's.

use crate::WorkerId;

/// Where Node's debugger listens when nothing else is said.
const DEFAULT: u16 = 9229;

/// Below it the ports are the system's: Node begins anew here behind the
/// last one.
const LEAST: u16 = 1024;

/// Node's options whose value is a word of its own.
const WITH_VALUE: [&str; 13] = [
    "-e",
    "--eval",
    "-p",
    "--print",
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "--inspect-port",
    "--debug-port",
];

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inspector {
    /// The first worker's port; 0: each finds one itself.
    base: u16,
    /// Before which word the port is to be said; `None`: in `NODE_OPTIONS`.
    pub(super) at: Option<usize>,
}

impl Inspector {
    /// What these words ask for, and what `NODE_OPTIONS` does; `None`: no
    /// debugger is to listen.
    pub(super) fn of(words: &[&str], options: &str) -> Option<Inspector> {
        if let Some((base, at)) = asked(&own_options(words)) {
            return Some(Inspector { base, at: Some(at) });
        }
        let words: Vec<&str> = options.split_ascii_whitespace().collect();
        let (base, _) = asked(&self::options(&words, 0))?;
        Some(Inspector { base, at: None })
    }

    /// The port of this worker.
    pub(super) fn port(self, worker: WorkerId) -> u16 {
        if self.base < LEAST {
            return self.base;
        }
        let ports = u32::from(u16::MAX - LEAST) + 1;
        let offset = u32::from(self.base - LEAST);
        let nth = worker.0.saturating_sub(1) % ports;
        LEAST + ((offset + nth) % ports) as u16
    }

    /// The word that says it.
    pub(super) fn word(self, worker: WorkerId) -> String {
        format!("--inspect-port={}", self.port(worker))
    }
}

/// One option: its name, its value if it has one, and the number of the word
/// behind it.
type Said<'a> = (&'a str, &'a str, usize);

/// The options between a program that is Node and its script.
fn own_options<'a>(words: &[&'a str]) -> Vec<Said<'a>> {
    let name = words.first().and_then(|path| path.rsplit('/').next());
    let is_node = name.is_some_and(|name| name.starts_with("node"));
    if is_node { options(words, 1) } else { Vec::new() }
}

/// The options from the word with this number to the first that is none.
fn options<'a>(words: &[&'a str], first: usize) -> Vec<Said<'a>> {
    let mut all = Vec::new();
    let mut words = words.iter().copied().enumerate().skip(first);
    while let Some((number, word)) = words.next()
        && word.starts_with('-')
        && word != "--"
    {
        all.push(match word.split_once('=') {
            Some((name, value)) => (name, value, number + 1),
            None if WITH_VALUE.contains(&word) => {
                let value = words.next().map_or("", |(_, value)| value);
                (word, value, number + 2)
            }
            None => (word, "", number + 1),
        });
    }
    all
}

/// The port that is asked for, and the number of the word behind that which
/// asks.
fn asked(options: &[Said<'_>]) -> Option<(u16, usize)> {
    let mut port = DEFAULT;
    let mut behind = None;
    for (name, value, end) in options {
        let asks = match *name {
            "--inspect" | "--inspect-brk" | "--inspect-wait" => true,
            // It says where, not that.
            "--inspect-port" | "--debug-port" => false,
            _ => continue,
        };
        port = port_in(value).unwrap_or(port);
        if asks || behind.is_some() {
            behind = Some(*end);
        }
    }
    Some((port, behind?))
}

/// `PORT` or `HOST:PORT`; a host alone says nothing of a port.
fn port_in(value: &str) -> Option<u16> {
    let port = value.rsplit_once(':').map_or(value, |(_, port)| port);
    port.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(typed: &str) -> Option<Inspector> {
        let words: Vec<&str> = typed.split(' ').collect();
        Inspector::of(&words, "")
    }

    #[test]
    fn a_debugger_is_asked_for_before_the_script_in_each_of_nodes_ways() {
        for (typed, base, at) in [
            ("node --inspect app.js", 9229, 2),
            ("/usr/bin/node --inspect=9300 app.js", 9300, 2),
            ("node --inspect-brk=127.0.0.1:9300 app.js", 9300, 2),
            ("node --inspect=[::1]:9300 app.js", 9300, 2),
            ("node --inspect=localhost app.js", 9229, 2),
            ("node --inspect-wait --no-warnings app.js", 9229, 2),
            ("node -r ./x.js --inspect --inspect-port=9300 a.js", 9300, 5),
            ("node --inspect --inspect-port 9300 app.js", 9300, 4),
            ("node --inspect-port=9300 --inspect app.js", 9300, 3),
            ("node --inspect --env-file x app.js", 9229, 2),
            ("node --inspect=0 app.js", 0, 2),
        ] {
            let expected = Inspector { base, at: Some(at) };
            assert_eq!(of(typed), Some(expected), "{typed}");
        }
    }

    #[test]
    fn what_the_app_is_told_and_what_other_programs_are_is_nothing_to_us() {
        for typed in [
            "node app.js",
            "node app.js --inspect",
            "node -- --inspect",
            "node -r --inspect app.js",
            "node -e --inspect",
            "node --inspect-port=9300 app.js",
            "sh --inspect app.js",
            "",
        ] {
            assert_eq!(of(typed), None, "{typed}");
        }
    }

    #[test]
    fn the_environment_asks_too_and_the_words_outweigh_it() {
        let options = "--no-warnings --inspect=9400";
        let by = |words: &[&str]| Inspector::of(words, options).unwrap();
        let npm = by(&["npm", "start"]);
        assert_eq!(npm, Inspector { base: 9400, at: None });
        let node = by(&["node", "--inspect", "app.js"]);
        assert_eq!(node, Inspector { base: 9229, at: Some(2) });
    }

    #[test]
    fn ports_count_up_from_what_was_typed_and_begin_anew_behind_the_last() {
        let node = of("node --inspect app.js").unwrap();
        assert_eq!(node.port(WorkerId(1)), 9229);
        assert_eq!(node.word(WorkerId(4)), "--inspect-port=9232");
        let last = of("node --inspect=65535 app.js").unwrap();
        assert_eq!(last.port(WorkerId(1)), 65535);
        assert_eq!(last.port(WorkerId(2)), 1024);
        assert!(node.port(WorkerId(u32::MAX)) >= LEAST);
        let any = of("node --inspect=0 app.js").unwrap();
        assert_eq!(any.port(WorkerId(5)), 0);
    }
}
