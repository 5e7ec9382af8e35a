//! The command line as people type it.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use super::{value::Value, *};
use crate::control::{Format, Request};
use log::LevelFilter;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn typed(line: &str) -> Result<Command, Usage> {
    parse(words(line), 2)
}

pub(super) fn served(line: &str) -> Settings {
    match typed(line) {
        Ok(Command::Serve(settings)) => settings,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn without_options_the_defaults_hold() {
    let seconds = Duration::from_secs;
    let expected = Settings {
        listen: vec![],
        workers: 2,
        workers_counted: true,
        schedule: Schedule::RoundRobin,
        window: 128,
        defer_accept: true,
        boot_timeout: seconds(30),
        grace: seconds(10),
        idle_grace: seconds(2),
        hang_timeout: Some(seconds(10)),
        user: None,
        salvage: true,
        log_level: LevelFilter::Info,
        header_timeout: seconds(15),
        idle_timeout: seconds(60),
        body_timeout: seconds(30),
        write_timeout: seconds(30),
        max_head: 16 << 10,
        max_fields: 100,
        max_body: 1 << 20,
        max_requests_per_connection: None,
        max_connections: None,
        max_requests: None,
        max_rss: None,
        control: Control::Default,
        host: None,
        wait_ready: false,
    };
    assert_eq!(served("serve"), expected);
    assert_eq!(served("serve --"), expected);
}

#[test]
fn every_option_reaches_its_field() {
    let millis = Duration::from_millis;
    let line = "serve --listen 8080 --listen=unix:/a=b --workers 3 \
        --schedule ip-hash --window 7 --defer-accept off --boot-timeout 1.5 \
        --grace 0 --idle-grace 0.25 --hang-timeout 1.25 --user www:web --no-salvage --log-level trace --header-timeout 0.1 --idle-timeout=2 \
        --body-timeout 3 --write-timeout 4 --max-head 1K --max-fields 9 \
        --max-body 0 --max-requests-per-connection 5 --max-connections 6 \
        --max-requests 8 --max-rss 10M --control ./off";
    let expected = Settings {
        listen: vec![
            "127.0.0.1:8080".parse().unwrap(),
            "unix:/a=b".parse().unwrap(),
        ],
        workers: 3,
        workers_counted: false,
        schedule: Schedule::IpHash,
        window: 7,
        defer_accept: false,
        boot_timeout: millis(1500),
        grace: millis(0),
        idle_grace: millis(250),
        hang_timeout: Some(millis(1250)),
        user: Some("www:web".parse().unwrap()),
        salvage: false,
        log_level: LevelFilter::Trace,
        header_timeout: millis(100),
        idle_timeout: millis(2000),
        body_timeout: millis(3000),
        write_timeout: millis(4000),
        max_head: 1024,
        max_fields: 9,
        max_body: 0,
        max_requests_per_connection: NonZero::new(5),
        max_connections: NonZero::new(6),
        max_requests: NonZero::new(8),
        max_rss: NonZero::new(10 << 20),
        control: Control::At("./off".into()),
        host: None,
        wait_ready: false,
    };
    assert_eq!(served(line), expected);
}

#[test]
fn the_workers_default_is_cut_to_what_the_option_takes() {
    for (cpus, workers) in [(0, 1), (1, 1), (96, 96), (5000, 1024)] {
        let Ok(Command::Serve(settings)) = parse(words("serve"), cpus) else {
            panic!("{cpus}");
        };
        assert_eq!(settings.workers, workers);
    }
}

#[test]
fn every_default_may_also_be_typed() {
    for flag in flags(SERVE) {
        if let Fallback::Typed(text) = flag.default {
            let line = format!("serve {} {text}", flag.name);
            assert_eq!(typed(&line), typed("serve"), "{line}");
        }
    }
}

#[test]
fn every_word_of_an_option_is_a_value_of_its_own() {
    for flag in flags(SERVE) {
        if let Value::Word(choices) = flag.value {
            let mut seen = Vec::new();
            for (word, _) in choices {
                let settings = served(&format!("serve {} {word}", flag.name));
                assert!(!seen.contains(&settings), "{} {word}", flag.name);
                seen.push(settings);
            }
        }
    }
}

#[test]
fn a_timeout_that_may_be_off_is_so_by_that_word_or_by_0() {
    for value in ["off", "0", "0.000"] {
        let settings = served(&format!("serve --hang-timeout {value}"));
        assert_eq!(settings.hang_timeout, None);
    }
    let line = typed("serve --hang-timeout on").unwrap_err().to_string();
    let expected = "--hang-timeout takes off, or seconds from 0.1 to 86400, \
                    not \"on\"";
    assert_eq!(line, expected);
}

#[test]
fn a_user_has_a_name_and_perhaps_a_group() {
    for (text, user, group) in
        [("www", "www", None), ("1000:web server", "1000", Some("web server"))]
    {
        let group = group.map(str::to_owned);
        let expected = User { user: user.to_owned(), group };
        assert_eq!(text.parse(), Ok(expected));
    }
    for text in ["", ":", "www:", ":www", "a:b:c", "a\0b", "a\nb"] {
        assert_eq!(text.parse::<User>(), Err(()), "{text:?}");
    }
    let line = typed("serve --user www:").unwrap_err().to_string();
    let expected = r#"--user takes USER or USER:GROUP, not "www:""#;
    assert_eq!(line, expected);
}

#[test]
fn a_schedule_is_shown_as_it_is_typed() {
    for name in ["round-robin", "least-connections", "ip-hash"] {
        let settings = served(&format!("serve --schedule {name}"));
        assert_eq!(settings.schedule.to_string(), name);
    }
}

#[test]
fn the_ends_of_every_range_are_taken_and_what_is_beyond_is_not() {
    for (name, ends, beyond) in [
        ("--workers", ["1", "1024"], ["0", "1025"]),
        ("--window", ["1", "4096"], ["0", "4097"]),
        ("--grace", ["0", "86400"], ["-1", "86400.001"]),
        ("--idle-grace", ["0", "86400"], ["-1", "86400.001"]),
        ("--boot-timeout", ["0.1", "86400"], ["0.099", "86401"]),
        ("--hang-timeout", ["0.1", "86400"], ["0.099", "86400.001"]),
        ("--header-timeout", ["0.1", "86400"], ["0", "86400.001"]),
        ("--idle-timeout", ["0.1", "86400"], ["0", "86400.001"]),
        ("--body-timeout", ["0.1", "86400"], ["0", "86400.001"]),
        ("--write-timeout", ["0.1", "86400"], ["0", "86400.001"]),
        ("--max-head", ["256", "1M"], ["255", "1048577"]),
        ("--max-fields", ["1", "1000"], ["0", "1001"]),
        ("--max-body", ["0", "1G"], ["-1", "1073741825"]),
        (
            "--max-requests-per-connection",
            ["0", "1000000000"],
            ["-1", "1000000001"],
        ),
        ("--max-connections", ["1", "1000000"], ["0", "1000001"]),
        ("--max-requests", ["0", "1000000000"], ["-1", "1000000001"]),
        ("--max-rss", ["0", "1024G"], ["-1", "1025G"]),
    ] {
        for end in ends {
            served(&format!("serve {name}={end}"));
        }
        for value in beyond {
            let line = typed(&format!("serve {name} {value}")).unwrap_err();
            let line = line.to_string();
            let range = format!(" from {} to {}, not", ends[0], ends[1]);
            assert!(line.starts_with(name) && line.contains(&range), "{line}");
        }
    }
}

#[test]
fn help_and_version_are_no_errors() {
    use Command::{Help, Version};
    for (line, command) in [
        ("-h", Help(Topic::Handoff)),
        ("--help", Help(Topic::Handoff)),
        ("help", Help(Topic::Handoff)),
        ("help help", Help(Topic::Handoff)),
        ("help serve", Help(Topic::Serve)),
        ("--help demo", Help(Topic::Demo)),
        ("serve --workers 4 --help --nonsense", Help(Topic::Serve)),
        ("serve -h", Help(Topic::Serve)),
        ("demo --help", Help(Topic::Demo)),
        ("demo ipc -h", Help(Topic::Demo)),
        ("-V", Version),
        ("--version", Version),
        ("version", Version),
        ("serve -V", Version),
        ("help scale", Help(Topic::Control("scale"))),
        ("status --json --help", Help(Topic::Control("status"))),
        ("stop -V", Version),
    ] {
        assert_eq!(typed(line), Ok(command), "{line}");
    }
}

#[test]
fn every_demo_is_found_by_its_name() {
    for (line, demo) in [
        ("socketpair", Demo::Socketpair(Ends::Both)),
        ("socketpair parent 3", Demo::Socketpair(Ends::Parent(3))),
        ("socketpair child 12", Demo::Socketpair(Ends::Child(12))),
        ("ipc", Demo::Ipc),
        ("disconnect", Demo::Disconnect),
        ("round-robin", Demo::RoundRobin),
        ("uneven", Demo::Uneven),
    ] {
        let command = typed(&format!("demo {line}"));
        assert_eq!(command, Ok(Command::Demo(demo)), "{line}");
    }
}

#[test]
fn an_error_is_one_line_that_says_what_to_type() {
    for (line, error) in [
        (
            "",
            "type a command: serve, run, status, reload, scale, stop, demo, help, version",
        ),
        ("sreve", r#"unknown command "sreve"; did you mean serve?"#),
        (
            "begin",
            r#"unknown command "begin": type one of serve, run, status, reload, scale, stop, demo, help, version"#,
        ),
        (
            "help me",
            r#"unknown command "me": type one of serve, run, status, reload, scale, stop, demo, help, version"#,
        ),
        (
            "--workers=4",
            r#""--workers=4" needs its command first: type handoff serve "--workers=4""#,
        ),
        (
            "serve --wrokers 4",
            r#"unknown option "--wrokers"; did you mean --workers?"#,
        ),
        (
            "serve --max-requests-per 4",
            r#"unknown option "--max-requests-per"; did you mean --max-requests-per-connection?"#,
        ),
        (
            "serve -w4",
            r#"unknown option "-w4": type handoff serve --help for a list"#,
        ),
        ("serve 8080", r#"serve takes no "8080": type --listen "8080""#),
        (
            "serve unix:/a=b",
            r#"serve takes no "unix:/a=b": type --listen "unix:/a=b""#,
        ),
        ("serve fast", r#"serve takes options only, not "fast""#),
        ("serve -- --workers", r#"serve takes options only, not "--workers""#),
        ("serve --workers", "--workers needs a number from 1 to 1024"),
        (
            "serve --workers 0",
            r#"--workers takes a number from 1 to 1024, not "0""#,
        ),
        (
            "serve --workers=1000000",
            r#"--workers takes a number from 1 to 1024, not "1000000""#,
        ),
        (
            "serve --workers --grace",
            r#"--workers takes a number from 1 to 1024, not "--grace""#,
        ),
        (
            "serve --workers 2 --workers=2",
            "--workers is given twice: type it once",
        ),
        (
            "serve --grace 1e3",
            r#"--grace takes seconds from 0 to 86400, not "1e3""#,
        ),
        (
            "serve --idle-timeout=",
            r#"--idle-timeout takes seconds from 0.1 to 86400, not """#,
        ),
        (
            "serve --max-head 2G",
            r#"--max-head takes a size from 256 to 1M, not "2G""#,
        ),
        (
            "serve --schedule roundrobin",
            r#"--schedule takes round-robin, least-connections or ip-hash, not "roundrobin"; did you mean round-robin?"#,
        ),
        (
            "serve --defer-accept yes",
            r#"--defer-accept takes on or off, not "yes""#,
        ),
        (
            "serve --log-level warning",
            r#"--log-level takes off, error, warn, info, debug or trace, not "warning""#,
        ),
        (
            "serve --listen",
            "--listen needs PORT, HOST:PORT, [IPv6]:PORT or unix:PATH",
        ),
        (
            "serve --listen localhost",
            r#"--listen: "localhost" has no port: type localhost:PORT"#,
        ),
        (
            "serve --listen 80 --listen 127.0.0.1:80",
            r#"--listen "127.0.0.1:80" is given twice: type it once"#,
        ),
        (
            "demo",
            "demo needs a name: socketpair, ipc, disconnect, round-robin, uneven",
        ),
        (
            "demo socketpiar",
            r#"unknown demo "socketpiar"; did you mean socketpair?"#,
        ),
        (
            "demo x",
            r#"unknown demo "x": type one of socketpair, ipc, disconnect, round-robin, uneven"#,
        ),
        ("demo ipc 3", r#"demo ipc takes no "3""#),
        ("status --jsno", r#"status takes no "--jsno"; did you mean --json?"#),
        (
            "status --json=1",
            r#"status takes no "--json=1"; did you mean --json?"#,
        ),
        ("reload --json", r#"reload takes no "--json": it takes --control"#),
        (
            "stop now",
            r#"stop takes no "now": it is about all workers; type --control PATH to name one of several masters"#,
        ),
        ("scale", "scale needs a number of workers from 1 to 1024"),
        (
            "scale 0",
            r#"scale takes a number of workers from 1 to 1024, not "0""#,
        ),
        (
            "scale +4",
            r#"scale takes a number of workers from 1 to 1024, not "+4": type handoff scale 4"#,
        ),
        ("scale 4 4", r#"scale has "4" twice: type it once"#),
        (
            "stop --control /a --control=/b",
            r#"stop has "--control" twice: type it once"#,
        ),
        ("stop --control", "--control needs a path"),
        ("stop --control=", r#"--control "" is no path: type one"#),
        ("serve --control=", r#"--control "" is no path: type one"#),
        (
            "demo socketpair parent",
            "demo socketpair takes nothing, parent FD or child FD",
        ),
        (
            "demo socketpair child -1",
            "demo socketpair takes nothing, parent FD or child FD",
        ),
    ] {
        let answer = typed(line).unwrap_err().to_string();
        assert_eq!(answer, error, "{line}");
    }
}

#[test]
fn a_control_command_knows_what_for_and_where() {
    let command = |line: &str| match typed(line) {
        Ok(Command::Control(command)) => (command.request, command.control),
        other => panic!("{line}: {other:?}"),
    };
    let at = |path: &str| Some(PathBuf::from(path));
    for (line, expected) in [
        ("status", (Request::Status(Format::Table), None)),
        ("status --json", (Request::Status(Format::Json), None)),
        (
            "status --control /a --json",
            (Request::Status(Format::Json), at("/a")),
        ),
        ("reload --control=/a=b", (Request::Reload, at("/a=b"))),
        ("scale 4", (Request::Scale(4), None)),
        ("scale --control a 1024", (Request::Scale(1024), at("a"))),
        ("stop --control off", (Request::Stop, at("off"))),
    ] {
        assert_eq!(command(line), expected, "{line}");
    }
}

#[test]
fn a_control_socket_is_a_path_that_fits_or_off() {
    let control = |path: &str| served(&format!("serve --control {path}"));
    assert_eq!(control("off").control, Control::Off);
    let longest = format!("/{}", "x".repeat(95));
    assert_eq!(control(&longest).control, Control::At(longest.into()));
    let line = format!("serve --control /{}", "x".repeat(96));
    let error = typed(&line).unwrap_err().to_string();
    assert!(error.ends_with("has at most 96"), "{error}");
}

#[test]
fn any_free_port_may_be_asked_for_twice() {
    assert_eq!(served("serve --listen 0 --listen 0").listen.len(), 2);
}

#[test]
fn every_command_of_the_table_is_one() {
    for (name, _) in COMMANDS {
        let answer = typed(name).map_err(|usage| usage.to_string());
        assert!(!answer.is_err_and(|line| line.contains("unknown")), "{name}");
    }
}

#[test]
fn what_the_library_is_given_is_bounded_as_what_is_typed() {
    let with = |change: fn(&mut Settings)| {
        let mut settings = Settings::with_defaults(1);
        change(&mut settings);
        settings.check()
    };
    with(|_| {}).unwrap();
    with(|settings| settings.grace = Duration::MAX).unwrap_err();
    with(|settings| settings.idle_grace = Duration::MAX).unwrap_err();
}
