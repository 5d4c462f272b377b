//! Configurations that are wrong: what is said about each, and where.

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use crate::config::Desk;
use crate::config::EXAMPLE;
use crate::config::minimal_with;

/// The whole list for the minimal configuration with these edits, without file and position.
#[track_caller]
fn refusal(edits: &[(&str, Value)]) -> String {
    let errors =
        Desk::new().load(&minimal_with(edits)).expect_err("this configuration should have been refused");
    let lines: Vec<String> = errors.problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
    lines.join("\n")
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let text = r#"{
  "state_dir": 7,
  "log-dir": "/var/log/homeport",
  "docker_hub": { "username": "me", "tokn": { "file": "docker-hub-token" } },
  "email": { "from": "homeport", "to": [] },
  "heartbeat": { "every": 30 },
  "projects": [
    {
      "repositroy": "me/hello",
      "image": { "name": "me/Hello", "also": ["latest", 7, "12"] },
      "deploy": {
        "ports": [8080, "70000:5000", "5000"],
        "env": { "PORT": 5000 },
        "prove": { "http": "health", "timeout": "5s" },
        "order": "parallel"
      }
    },
    "hello"
  ]
}"#;
    insta::assert_snapshot!(Desk::new().errors(text), @r#"
    config.json:2:16: state_dir: expected a string, found a number: put it in double quotes
    config.json:3:3: log-dir: unknown key `log-dir`: did you mean `log_dir`?
    config.json:4:37: docker_hub.tokn: unknown key `tokn`: did you mean `token`?
    config.json:5:12: email.smtp: missing: the mail server, such as `{"host": "smtp.example.org"}`
    config.json:5:22: email.from: `homeport` is not a mail address: write `name@example.org` or `Name <name@example.org>`
    config.json:5:40: email.to: at least one recipient is needed, such as `["me@example.org"]`
    config.json:6:16: heartbeat.url: missing: the address to ask, such as `https://hc-ping.com/UUID`
    config.json:6:27: heartbeat.every: `30` has no unit: write `30s` for seconds or `30m` for minutes
    config.json:9:7: projects[0].repositroy: unknown key `repositroy`: did you mean `repository`?
    config.json:10:26: projects[0].image.name: `me/Hello` is not an image name: lower-case `namespace/name`, without a registry and without a tag
    config.json:10:57: projects[0].image.also[1]: expected a string, found a number: put it in double quotes
    config.json:10:60: projects[0].image.also[2]: `12` would be taken for a version of the scheme: a moving tag is a word such as `latest`
    config.json:12:19: projects[0].deploy.ports[0]: expected a string, found a number: put it in double quotes
    config.json:12:25: projects[0].deploy.ports[1]: `70000:5000`: a port is a number from 1 to 65535
    config.json:12:39: projects[0].deploy.ports[2]: `5000` names one port: write the host's too, `5000:5000`
    config.json:13:26: projects[0].deploy.env.PORT: expected a string, found a number: put it in double quotes
    config.json:14:18: projects[0].deploy.prove.min_uptime: 10s must be less than `timeout`, which is 5s
    config.json:14:28: projects[0].deploy.prove.http: a path begins with `/`: write `/health`
    config.json:15:18: projects[0].deploy.order: `parallel` is not the order of a swap: write `stop-first` or `start-first`
    config.json:18:5: projects[1]: expected an object `{…}`, found a string
    "#);
}

#[test]
fn rivals_are_told_apart_by_line() {
    let text = r#"{
  "docker_hub": { "username": "me", "token": { "file": "docker-hub-token" } },
  "email": { "from": "a@b.org", "to": ["c@d.org", "Me c@d.org"], "smtp": { "host": "mail:587" } },
  "webhook": { "secret": { "file": "webhook-secret" } },
  "projects": [
    { "repository": "me/hello", "image": { "name": "me/hello" }, "deploy": { "ports": ["80:80", "127.0.0.1:80:81"] } },
    { "repository": "you/hello", "image": { "name": "me/hello" }, "deploy": { "ports": ["9000:9000"] } },
    { "name": "c", "image": { "name": "me/c" }, "deploy": { "container": "hello.next", "ports": ["81:x", "0.0.0.0:80:80/tcp"] } }
  ]
}"#;
    insta::assert_snapshot!(Desk::new().errors(text), @r#"
    config.json:3:51: email.to[1]: `Me c@d.org` is not a mail address: write `name@example.org` or `Name <name@example.org>`
    config.json:3:84: email.smtp.host: the port has a key of its own: write `"host": "mail", "port": 587`
    config.json:6:97: projects[0].deploy.ports[1]: `127.0.0.1:80:81`: the host's port 80 is taken already by `projects[0].deploy.ports[0]` on line 6
    config.json:7:5: projects[1].name: the project on line 6 is called `hello` too: give one of them another `name`
    config.json:7:53: projects[1].image.name: the project on line 6 pushes to `me/hello` too, and each would deploy the other's versions: give one of them another image
    config.json:7:89: projects[1].deploy.ports[0]: `9000:9000`: the host's port 9000 is taken already by `webhook.listen` on line 4
    config.json:8:74: projects[2].deploy.container: the project on line 6 has a container `hello.next` too: give one of them another `container` (each project uses `NAME`, `NAME.next` and `NAME.previous`)
    config.json:8:98: projects[2].deploy.ports[0]: `81:x`: a port is a number from 1 to 65535
    config.json:8:106: projects[2].deploy.ports[1]: `0.0.0.0:80:80`: the host's port 80 is taken already by `projects[0].deploy.ports[0]` on line 6
    "#);
}

#[test]
fn faults_of_the_json_are_shown_with_an_excerpt_that_hides_values() {
    let desk = Desk::new();
    insta::assert_snapshot!(desk.errors("{\n  \"github\": { \"token\": \"hunter2\" \"api_url\": 1 }\n}"), @r#"
    config.json:2:33: a comma is missing here
      2 |   "github": { "token": "*******" "api_url": * }
        |                                 ^
    "#);
    insta::assert_snapshot!(desk.errors("{ \"projects\": [], }"), @r#"
    config.json:1:17: this comma is followed by nothing: remove it
      1 | { "projects": [], }
        |                 ^
    "#);
    insta::assert_snapshot!(desk.errors("{\n  // the projects\n  \"projects\": []\n}"), @r"
    config.json:2:3: JSON has no comments: remove it
      2 |   ** *** ********
        |   ^
    ");
    insta::assert_snapshot!(desk.errors("{ \"github\": { \"token\": hunter2 } }"), @r#"
    config.json:1:24: this is no JSON value: a text is written in double quotes, and the only words are `true`, `false` and `null`
      1 | { "github": { "token": ******* } }
        |                        ^
    "#);
    insta::assert_snapshot!(desk.errors("{ \"github\": { \"token\": 'hunter2' } }"), @r#"
    config.json:1:24: a text is written in double quotes
      1 | { "github": { "token": ********* } }
        |                        ^
    "#);
    insta::assert_snapshot!(desk.errors("{ \"github\": { \"token\": \"hunter2 } }"), @r#"
    config.json:1:24: this text is never closed by a double quote
      1 | { "github": { "token": "******* } }
        |                        ^
    "#);
    insta::assert_snapshot!(desk.errors("{ \"state_dir\": \"C:\\data\" }"), @r#"
    config.json:1:19: this escape is not known: a backslash is written `\\`
      1 | { "state_dir": "*:*****" }
        |                   ^
    "#);
    insta::assert_snapshot!(desk.errors("{ \"state_dir\": \"two\nlines\" }"), @r#"
    config.json:1:19: this is not JSON: control character (\u0000-\u001F) found while parsing a string
      1 | { "state_dir": "***
        |                   ^
    "#);
    insta::assert_snapshot!(desk.errors("{ \"projects\": [ {}"), @r#"
    config.json:1:15: this `[` is never closed by a `]`
      1 | { "projects": [ {}
        |               ^
    "#);
    insta::assert_snapshot!(desk.errors("{} {}"), @r"
    config.json:1:4: the file goes on behind its end: one object `{…}` is all it may hold
      1 | {} {}
        |    ^
    ");
    insta::assert_snapshot!(desk.errors(" \n"), @r"
    config.json:1:1: the file is empty: write an object `{…}`
      1 |  
        | ^
    ");
    insta::assert_snapshot!(desk.errors("[]"), @"config.json:1:1: expected an object `{…}`, found a list");
    insta::assert_snapshot!(desk.errors("{ \"docker\": {}, \"projects\": [], \"docker\": {} }"), @r#"
    config.json:1:29: projects: at least one project is needed, such as `{"repository": "me/app", …}`
    config.json:1:33: docker: this key stands here twice, first on line 1: keep one of the two
    "#);
}

#[test]
fn a_flood_of_faults_is_cut_off() {
    let projects: Vec<Value> = (0..1000).map(|_| json!({ "image": 5 })).collect();
    let errors = Desk::new().load(&minimal_with(&[("/projects", json!(projects))])).unwrap_err();
    assert_eq!(errors.problems.len(), 101);
    assert_eq!(errors.problems[0].message, "100 keys and types are wrong: what else may be is not told");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_of_its_own() {
    let desk = Desk::new();
    let missing = homeport::config::load::load(
        &desk.path("none.json"),
        &std::iter::empty::<(String, String)>().collect(),
    );
    let message = missing.unwrap_err().to_string();
    assert!(message.ends_with("none.json: the configuration cannot be read: No such file or directory (os error 2); `--config FILE` names another"), "{message}");
    desk.put("latin1.json", b"{\n\"log_dir\": \"caf\xe9\" }", 0o600);
    let latin = homeport::config::load::load(
        &desk.path("latin1.json"),
        &std::iter::empty::<(String, String)>().collect(),
    );
    let message = latin.unwrap_err().to_string();
    assert!(
        message.ends_with("latin1.json: the configuration is not UTF-8 text: line 2 holds something else"),
        "{message}"
    );
}

#[test]
fn secrets_that_cannot_be_had_are_refused_with_the_way_out() {
    let mut desk = Desk::new();
    desk.put("empty", b"\n", 0o600);
    desk.put("binary", b"\xff\xfe", 0o600);
    desk.put("two-lines", b"one\ntwo\n", 0o600);
    desk.put("folder/x", b"", 0o600);
    desk.put("huge", &[b'x'; 17_000], 0o600);
    desk.set("CREDENTIALS_DIRECTORY", "/run/credentials/homeport.service");
    desk.set("EMPTY", "");
    let mut said = Vec::new();
    for source in [
        json!({ "file": "none" }),
        json!({ "file": "/none" }),
        json!({ "file": "" }),
        json!({ "file": "empty" }),
        json!({ "file": "binary" }),
        json!({ "file": "two-lines" }),
        json!({ "file": "folder" }),
        json!({ "file": "huge" }),
        json!({ "env": "UNSET" }),
        json!({ "env": "EMPTY" }),
        json!({ "env": "ghp_hunter2" }),
        json!(""),
        json!({ "fiel": "x" }),
        json!({ "file": "x", "env": "X" }),
        json!({}),
        json!(12345),
        json!(["x"]),
    ] {
        said.push(desk.errors(&minimal_with(&[("/github", json!({ "token": source }))])));
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    config.json:9:14: github.token: there is no file `/run/credentials/homeport.service/none` or `DIR/none` or `DIR/credentials/none`: write the secret into it, readable by homeport's user only
    config.json:9:14: github.token: there is no file `/none`: write the secret into it, readable by homeport's user only
    config.json:9:14: github.token: this names no file: write `{"file": "PATH"}`
    config.json:9:14: github.token: the file `DIR/empty` is empty
    config.json:9:14: github.token: the file `DIR/binary` cannot be read: it is not UTF-8 text; it must be a file with the secret that homeport's user may read
    config.json:9:14: github.token: the file `DIR/two-lines` holds more than one line: it must hold the secret alone
    config.json:9:14: github.token: the file `DIR/folder` cannot be read: it is not a regular file; it must be a file with the secret that homeport's user may read
    config.json:9:14: github.token: the file `DIR/huge` cannot be read: it is longer than 16384 bytes; it must be a file with the secret that homeport's user may read
    config.json:9:14: github.token: the environment variable `UNSET` is not set: set it for the service (`EnvironmentFile=` in its unit), or write `{"file": "PATH"}`
    config.json:9:14: github.token: the environment variable `EMPTY` is empty
    config.json:9:14: github.token: the environment variable named here is not set: set it for the service (`EnvironmentFile=` in its unit), or write `{"file": "PATH"}`
    config.json:9:14: github.token: this secret is empty
    config.json:10:7: github.token.fiel: unknown key `fiel`: did you mean `file`?
    config.json:9:14: github.token: a secret is in a `file` or in the `env`: keep one of the two
    config.json:9:14: github.token: this names no place: write `{"file": "PATH"}` or `{"env": "NAME"}`
    config.json:9:14: github.token: expected a secret's place, `{"file": "PATH"}` or `{"env": "NAME"}`, found a number
    config.json:9:14: github.token: expected a secret's place, `{"file": "PATH"}` or `{"env": "NAME"}`, found a list
    "#);
}

#[test]
fn each_wrong_value_is_answered_with_a_right_one() {
    for (pointer, value, said) in wrong_values() {
        assert_eq!(refusal(&[(pointer, value.clone())]), said, "{pointer} = {value}");
    }
}

#[test]
fn patterns_of_paths_that_mean_nothing_are_refused() {
    for (edits, said) in [
        (
            vec![("/projects/0/paths", json!(["src/**"])), ("/projects/0/paths_ignore", json!(["**.md"]))],
            "projects[0].paths_ignore: `paths` is given too: keep one of the two; a pattern with `!` in front takes files \
             out of `paths`",
        ),
        (
            vec![("/projects/0/paths", json!(["src/**", "/docs"]))],
            "projects[0].paths[1]: patterns begin at the repository's root: write `docs`",
        ),
        (
            vec![("/projects/0/paths", json!([]))],
            "projects[0].paths: an empty list matches no file: remove the key, or write patterns such as `src/**`",
        ),
        (
            vec![("/projects/0/paths_ignore", json!(["!docs/**"]))],
            "projects[0].paths_ignore: `!` takes out of what another pattern matches: write one without it first",
        ),
    ] {
        assert_eq!(refusal(&edits), said);
    }
}

#[test]
fn what_has_no_meaning_beside_tags_is_refused() {
    for (edits, said) in [
        (
            vec![("/projects/0/on", json!({ "tags": "v*" })), ("/projects/0/branch", json!("main"))],
            "projects[0].branch: `on.tags` is given too, and a project follows either a branch or tags: keep one of the \
             two",
        ),
        (
            vec![("/projects/0/on", json!({ "tags": "v*" })), ("/projects/0/paths", json!(["src/**"]))],
            "projects[0].paths: files are not looked at where tags are followed: remove it",
        ),
        (
            vec![("/projects/0/on", json!({}))],
            "projects[0].on.tags: missing: a pattern of tags, such as `v*`",
        ),
        (
            vec![("/projects/0/on", json!({ "tags": "!v*" }))],
            "projects[0].on.tags: `!` takes out of what other patterns match, and there is no other: remove it",
        ),
    ] {
        assert_eq!(refusal(&edits), said);
    }
}

fn wrong_values() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (
            "/projects",
            json!([]),
            r#"projects: at least one project is needed, such as `{"repository": "me/app", …}`"#,
        ),
        ("/projects", json!({}), "projects: expected a list `[…]`, found an object"),
        ("/projects", Value::Null, "projects: missing: the list of projects, with at least one"),
        ("/state_dir", json!(""), "state_dir: this names no folder: leave the key out to have its default"),
        (
            "/github",
            json!({ "api_url": "api.github.com" }),
            "github.api_url: `api.github.com` is not a URL: write `https://api.github.com`",
        ),
        (
            "/github",
            json!({ "clone_url": "https://me:hunter2@github.com" }),
            "github.clone_url: an address must not carry a user or password (`@`): secrets have keys of their own",
        ),
        (
            "/github",
            json!({ "clone_url": "ssh://git.example" }),
            "github.clone_url: `ssh:` is not a scheme for this address: write `https://` or `http://`",
        ),
        (
            "/docker",
            json!({ "host": "/var/run/docker.sock" }),
            "docker.host: `/var/run/docker.sock` has no scheme: write `unix:///var/run/docker.sock`",
        ),
        (
            "/docker_hub/registry",
            json!("https://registry.example"),
            "docker_hub.registry: a registry is named without a scheme: write `registry.example`",
        ),
        (
            "/docker_hub/username",
            Value::Null,
            "docker_hub.username: missing: a `token` needs its `username`, or neither is given",
        ),
        (
            "/docker_hub/token",
            Value::Null,
            "docker_hub.token: missing: a `username` needs its `token`, or neither is given",
        ),
        (
            "/docker_hub",
            json!({}),
            "projects[0].repository: images built from it cannot be pushed to Docker Hub without a login: give `docker_hub.username` and `docker_hub.token`, or another `docker_hub.registry`",
        ),
        ("/docker_hub", json!([]), "docker_hub: expected an object `{…}`, found a list"),
        (
            "/docker_hub",
            json!({ "tokn": "x", "username": "me" }),
            "docker_hub.tokn: unknown key `tokn`: did you mean `token`?",
        ),
        (
            "/webhook",
            json!({ "listen": "9000" }),
            concat!(
                r#"webhook.secret: missing: the secret that GitHub signs deliveries with, such as `{"file": "webhook-secret"}`"#,
                "\n",
                r#"webhook.listen: `9000` has no address: write `127.0.0.1:9000`"#
            ),
        ),
        (
            "/heartbeat",
            json!({ "url": "https://a.example", "every": "0s" }),
            "heartbeat.every: some time must lie between two heartbeats, such as `5m`",
        ),
        (
            "/email",
            json!({}),
            concat!(
                r#"email.from: missing: the sender, such as `homeport@example.org`"#,
                "\n",
                r#"email.to: missing: the recipients, such as `["me@example.org"]`"#,
                "\n",
                r#"email.smtp: missing: the mail server, such as `{"host": "smtp.example.org"}`"#
            ),
        ),
        (
            "/email",
            json!({ "from": "a@b.org", "to": "c@d.org", "smtp": { "host": "smtp://m", "port": 0 } }),
            "email.smtp.host: a mail server is named without a scheme: write `m`\nemail.smtp.port: a port is a number from 1 to 65535\nemail.to: expected a list `[…]`, found a string",
        ),
        (
            "/email",
            json!({ "from": "a@b.org", "to": ["c@d.org"], "smtp": { "host": "m", "port": 70000 } }),
            "email.smtp.port: a port is a number from 1 to 65535",
        ),
        (
            "/email",
            json!({ "from": "a@b.org", "to": ["c@d.org"], "smtp": { "host": "m", "port": "25" } }),
            "email.smtp.port: expected a whole number, found a string: leave the quotes out",
        ),
        (
            "/email",
            json!({ "from": "a@b.org", "to": ["c@d.org"], "smtp": { "host": "m", "security": "startls" } }),
            "email.smtp.security: `startls` is not one of `none`, `starttls` or `tls`: did you mean `starttls`?",
        ),
        (
            "/github",
            json!({ "ssh_url": "git@github.com", "known_hosts": "a\"b" }),
            "github.known_hosts: this names no file that ssh could read\ngithub.ssh_url: this is no address: write `ssh://HOST` or `ssh://HOST:PORT`, for another user than `git` with that in front of the host",
        ),
        (
            "/projects/0/deploy_key",
            json!({ "env": "DOCKER_HUB_TOKEN" }),
            "projects[0].deploy_key: the environment variable `DOCKER_HUB_TOKEN` holds no private key of SSH, which has several lines: make one, `ssh-keygen -t ed25519 -N '' -f deploy-key`",
        ),
        (
            "/email",
            json!({ "from": "a@b.org", "to": ["c@d.org"], "smtp": { "host": "m", "security": "ssl" } }),
            "email.smtp.security: `ssl` is not one of `none`, `starttls` or `tls`",
        ),
        (
            "/email",
            json!({ "from": "a@b.org", "to": ["c@d.org"], "smtp": { "host": "m", "username": "me" } }),
            "email.smtp.password: missing: a `username` needs its `password`, or neither is given",
        ),
        (
            "/projects/0/name",
            json!("Hello World"),
            "projects[0].name: `Hello World` is not a project name: lower-case letters, digits, `-`, `_` and `.`, at most 64, starting with a letter or digit",
        ),
        (
            "/projects/0/repository",
            json!("https://github.com/me/hello.git"),
            "projects[0].repository: `https://github.com/me/hello.git` is not a repository: write it as `owner/name`, without a host and without `.git`",
        ),
        (
            "/projects/0/repository",
            json!("https://ghp_hunter2@github.com/me/hello"),
            "projects[0].repository: `https://…@github.com/me/hello` is not a repository: write it as `owner/name`, without a host and without `.git`",
        ),
        (
            "/projects/0/branch",
            json!("a..b"),
            "projects[0].branch: `a..b` is not a branch name that git accepts",
        ),
        (
            "/projects/0/poll",
            json!({ "github": "30" }),
            "projects[0].poll.github: `30` has no unit: write `30s` for seconds or `30m` for minutes",
        ),
        (
            "/projects/0/poll",
            json!({ "github": "10ms" }),
            "projects[0].poll.github: `10ms` is too often: at least 100ms must lie between two polls",
        ),
        (
            "/projects/0/poll",
            json!({ "github": "0 0 30 2 *" }),
            "projects[0].poll.github: `0 0 30 2 *` never fires: no day of any year matches it",
        ),
        (
            "/projects/0/test",
            json!("no"),
            r#"projects[0].test: `no` is not a way to test: write `"none"` for no tests, or an object such as `{"in": {"image": "python:3.12-slim"}, "commands": ["pytest -q"]}`"#,
        ),
        (
            "/projects/0/test",
            json!(false),
            r#"projects[0].test: expected `"none"` for no tests, or an object such as `{"in": {"image": "python:3.12-slim"}, "commands": ["pytest -q"]}`, found a truth value"#,
        ),
        (
            "/projects/0/test",
            json!({ "in": "docker" }),
            r#"projects[0].test.in: `docker` is not a place for tests: write `{"image": "python:3.12-slim"}`, `{"dockerfile": "Dockerfile"}` or `"host"`"#,
        ),
        (
            "/projects/0/test",
            json!({ "in": {} }),
            r#"projects[0].test.in: this names no place: write `{"image": "python:3.12-slim"}`, `{"dockerfile": "Dockerfile"}` or `"host"`"#,
        ),
        (
            "/projects/0/test",
            json!({ "in": { "img": "alpine" } }),
            "projects[0].test.in.img: unknown key `img`: `image`, `dockerfile` and `target` may stand here",
        ),
        (
            "/projects/0/test",
            json!({ "in": { "image": "alpine", "target": "x" } }),
            "projects[0].test.in: `target` is a stage of a `dockerfile`; a ready `image` has none: remove it",
        ),
        (
            "/projects/0/test",
            json!({ "in": { "image": "Alpine" }, "commands": [""] }),
            "projects[0].test.commands[0]: this is no command: write what a shell would run\nprojects[0].test.in.image: `Alpine` is not an image such as `python:3.12-slim`",
        ),
        (
            "/projects/0/test",
            json!({ "in": "host" }),
            r#"projects[0].test.commands: missing: what to run, such as `["pytest -q"]`"#,
        ),
        (
            "/projects/0/test",
            json!({ "commands": ["make test"], "timeout": "1m" }),
            r#"projects[0].test.in: missing: where the commands run, such as `{"image": "python:3.12-slim"}` or `"host"`"#,
        ),
        (
            "/projects/0/test",
            json!({ "timeout": "0s" }),
            "projects[0].test.timeout: nothing ends in no time: write a duration such as `15m`",
        ),
        (
            "/projects/0/test",
            json!({ "in": { "image": "alpine" }, "commands": ["true"], "network": "host" }),
            "projects[0].test.network: `host` is not a network for tests: write `none`, or leave it out for Docker's bridge",
        ),
        (
            "/projects/0/test",
            json!({ "in": "host", "commands": ["true"], "cache": true }),
            "projects[0].test.cache: only tests in an `image` have a cache: remove this key",
        ),
        (
            "/docker",
            json!({ "build_cgroup": "../builds" }),
            "docker.build_cgroup: `../builds` does not name a cgroup from the top: write it without `.` and `..`",
        ),
        (
            "/docker",
            json!({ "build_cgroup": "my builds" }),
            "docker.build_cgroup: `my builds` is no cgroup: write it without spaces and colons, such as `homeport_build.slice`",
        ),
        (
            "/docker",
            json!({ "build_cgroup": "homeport-build.slice" }),
            "docker.build_cgroup: `homeport-build.slice` lies inside another slice for systemd, but not for BuildKit, because of its dash: use one without, such as `homeport_build.slice`",
        ),
        (
            "/docker",
            json!({ "build_cgroup": "/system.slice/builds.slice" }),
            "docker.build_cgroup: `/system.slice/builds.slice`: a slice is named, not led to: write its name alone, such as `homeport_build.slice`",
        ),
        (
            "/docker",
            json!({ "min_free_disk": "500" }),
            "docker.min_free_disk: `500` has no unit: write `500MB` or `500GB`",
        ),
        (
            "/projects/0/test",
            json!({ "in": "host", "commands": ["true"], "network": "none" }),
            "projects[0].test.network: tests on the host have this machine's network: remove this key, or test in an `image`",
        ),
        (
            "/projects/0/test",
            json!({ "in": { "dockerfile": "../Dockerfile" } }),
            "projects[0].test.in.dockerfile: `../Dockerfile` must not lead out of the repository by `..`",
        ),
        (
            "/projects/0/image/name",
            json!("hello"),
            "projects[0].image.name: `hello` would be pushed to Docker Hub's own `library/hello`, which nobody may: write `ACCOUNT/hello`",
        ),
        (
            "/projects/0/image/name",
            json!("me/hello:latest"),
            "projects[0].image.name: `me/hello:latest` is not an image name: lower-case `namespace/name`, without a registry and without a tag",
        ),
        (
            "/projects/0/image/name",
            json!("ghcr.io/me/hello"),
            "projects[0].image.name: `ghcr.io/me/hello` begins with a registry: write `me/hello` here and `ghcr.io` as `docker_hub.registry`",
        ),
        (
            "/projects/0/image/name",
            Value::Null,
            "projects[0].image.name: missing: the image's name, such as `me/app`",
        ),
        (
            "/projects/0/image",
            Value::Null,
            r#"projects[0].image: missing: the image, such as `{"name": "me/app"}`"#,
        ),
        (
            "/projects/0/image/dockerfile",
            json!("/Dockerfile"),
            "projects[0].image.dockerfile: `/Dockerfile` must be a path within the repository, relative to its root",
        ),
        (
            "/projects/0/image/context",
            json!("app/.."),
            "projects[0].image.context: `app/..` must not lead out of the repository by `..`",
        ),
        (
            "/projects/0/image/platform",
            json!("aarch64"),
            "projects[0].image.platform: `aarch64` is not a platform in Docker's spelling: write `linux/arm64`",
        ),
        (
            "/projects/0/image/tag",
            json!({ "scheme": "calver", "bump": "minor" }),
            "projects[0].image.tag.bump: only versions of the scheme `semver` have parts to raise: remove it, or set that scheme",
        ),
        (
            "/projects/0/image/tag",
            json!({ "scheme": "sember" }),
            "projects[0].image.tag.scheme: `sember` is not one of `counter`, `semver`, `calver` or `commit`: did you mean `semver`?",
        ),
        (
            "/projects/0/image/also",
            json!(["la test"]),
            "projects[0].image.also[0]: `la test` is not an image tag: letters, digits, `_`, `.` and `-`, at most 128, not starting with `.` or `-`",
        ),
        (
            "/projects/0/image/also",
            json!(["7"]),
            "projects[0].image.also[0]: `7` would be taken for a version of the scheme: a moving tag is a word such as `latest`",
        ),
        (
            "/projects/0/image/args",
            json!({ "A B": "c" }),
            r#"projects[0].image.args["A B"]: the name of a variable has letters, digits, `_`, `.` and `-`, and starts with a letter or `_`"#,
        ),
        (
            "/projects/0/image/secrets",
            json!({ "npm token": { "file": "github-token" } }),
            r#"projects[0].image.secrets["npm token"]: the id of a secret has letters, digits, `_`, `.` and `-`, starts with a letter, a digit or `_`, and has at most 128 of them: it is the file `/run/secrets/ID` in the build"#,
        ),
        (
            "/projects/0/image/secrets",
            json!({ "npm": "", "pip": { "env": "UNSET" } }),
            "projects[0].image.secrets.npm: this secret is empty\nprojects[0].image.secrets.pip: the environment variable `UNSET` is not set: set it for the service (`EnvironmentFile=` in its unit), or write `{\"file\": \"PATH\"}`",
        ),
        (
            "/projects/0/image/secrets",
            json!(["npm"]),
            "projects[0].image.secrets: expected an object `{…}`, found a list",
        ),
        (
            "/projects/0/image/timeout",
            json!("forever"),
            "projects[0].image.timeout: `forever` is not a duration: write whole numbers with the units `d`, `h`, `m`, `s` or `ms`, such as `30s` or `1h30m`",
        ),
        (
            "/projects/0/deploy/container",
            json!("a b"),
            "projects[0].deploy.container: `a b` is not a container name: letters, digits, `_`, `.` and `-`, at least two, starting with a letter or digit",
        ),
        (
            "/projects/0/deploy/network",
            json!("host"),
            "projects[0].deploy.ports: Docker publishes no ports on this `network`: remove one of the two",
        ),
        (
            "/projects/0/deploy/volumes",
            json!(["./data:/data", "a1:/x", "b1:/x/"]),
            "projects[0].deploy.volumes[0]: `./data:/data`: the host's path must be absolute, `/…:/data`\nprojects[0].deploy.volumes[2]: `/x` is mounted twice: keep one of the two",
        ),
        (
            "/projects/0/deploy/env",
            json!({ "1A": "b" }),
            "projects[0].deploy.env.1A: the name of a variable has letters, digits, `_`, `.` and `-`, and starts with a letter or `_`",
        ),
        (
            "/projects/0/deploy/order",
            json!("start-first"),
            "projects[0].deploy.order: `start-first` runs two containers side by side, which cannot publish the same ports: remove `ports` and let a reverse proxy in `network` publish them, or write `stop-first`",
        ),
        (
            "/projects/0/deploy/labels",
            json!({ "homeport.run": "1" }),
            "projects[0].deploy.labels[\"homeport.run\"]: labels that begin with `homeport.` are homeport's own: choose another name",
        ),
        (
            "/projects/0/deploy/prove",
            json!({ "port": 0 }),
            "projects[0].deploy.prove.port: a port is a number from 1 to 65535",
        ),
        (
            "/projects/0/deploy/order",
            json!("parallel"),
            "projects[0].deploy.order: `parallel` is not the order of a swap: write `stop-first` or `start-first`",
        ),
        (
            "/projects/0/deploy/keep_images",
            json!(0),
            "projects[0].deploy.keep_images: at least 1 is needed: a rollback goes back to a kept image",
        ),
        (
            "/projects/0/deploy/keep_images",
            json!(2.5),
            "projects[0].deploy.keep_images: expected a whole number, found a fraction",
        ),
        (
            "/projects/0/deploy/keep_images",
            json!(-1),
            "projects[0].deploy.keep_images: expected a whole number from 0 to 4294967295",
        ),
        (
            "/projects/0/deploy/prove",
            json!({ "good_samples": 0, "interval": "0s" }),
            "projects[0].deploy.prove.good_samples: at least 1 good sample is needed as a proof\nprojects[0].deploy.prove.interval: this must be longer than nothing, such as `1s`",
        ),
        (
            "/projects/0/deploy/prove",
            json!({ "min_uptime": "2m" }),
            "projects[0].deploy.prove.min_uptime: 2m must be less than `timeout`, which is 2m",
        ),
        (
            "/projects/0/deploy/prove",
            json!({ "good_samples": 50, "interval": "5s" }),
            "projects[0].deploy.prove.good_samples: 50 samples 5s apart do not fit into `timeout`, which is 2m",
        ),
        (
            "/projects/0/deploy/prove",
            json!({ "http": "http://localhost/health" }),
            "projects[0].deploy.prove.http: this is the path alone, such as `/health`: the address is the container's",
        ),
        (
            "/projects/0/deploy/prove",
            json!({ "http": "/a b" }),
            "projects[0].deploy.prove.http: a path has no blanks, control characters, `#` or letters beyond ASCII: write them as `%…`",
        ),
        (
            "/projects/0/keep_images",
            json!(3),
            "projects[0].keep_images: unknown key `keep_images` here: it belongs to `projects[].deploy.keep_images`",
        ),
        (
            "/projects/0/colour",
            json!("red"),
            "projects[0].colour: unknown key `colour`: `name`, `repository`, `deploy_key`, `branch`, `on`, `submodules`, `lfs`, `paths`, `paths_ignore`, `cancel_running`, `poll`, `test`, `image` and `deploy` may stand here",
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_damage_to_a_configuration_is_too_odd(
        (from, length) in (0..EXAMPLE.len(), 0..40_usize),
        insertion in "[\\[\\]{}:,\"'0-9a-z\\\\\u{e9} \n/*-]{0,6}",
    ) {
        let cut = |at: usize| (at..).find(|at| EXAMPLE.is_char_boundary(*at)).unwrap().min(EXAMPLE.len());
        let (start, end) = (cut(from), cut((from + length).min(EXAMPLE.len())));
        let damaged = [&EXAMPLE[..start], &insertion, &EXAMPLE[end..]].concat();
        if let Err(errors) = Desk::new().load(&damaged) {
            prop_assert!(!errors.problems.is_empty());
        }
    }
}

#[test]
fn a_start_first_swap_needs_a_network_of_names() {
    let edits = [("/projects/0/deploy/ports", json!([])), ("/projects/0/deploy/order", json!("start-first"))];
    for network in [json!(null), json!("bridge")] {
        let edits = [&edits[..], &[("/projects/0/deploy/network", network)]].concat();
        let said = "projects[0].deploy.order: `start-first` hands a name over in a network of your own: make one \
                    (`docker network create web`) and name it as `network`";
        assert!(refusal(&edits).contains(said), "{}", refusal(&edits));
    }
}

#[test]
fn an_http_probe_needs_a_published_tcp_port() {
    let edits = [
        ("/projects/0/deploy/ports", json!(["53:53/udp"])),
        ("/projects/0/deploy/prove", json!({ "http": "/" })),
    ];
    assert_eq!(
        refusal(&edits),
        "projects[0].deploy.prove.http: there is no published TCP port to ask: add one to `deploy.ports`, name the container's own as `port` beside this, or remove this key"
    );
}

#[test]
fn a_project_that_only_deploys_has_no_keys_for_building() {
    let edits = [
        ("/projects/0/repository", Value::Null),
        ("/projects/0/branch", json!("main")),
        ("/projects/0/deploy_key", json!({ "file": "deploy-key" })),
        ("/projects/0/lfs", json!(true)),
        ("/projects/0/poll", json!({ "github": "30s" })),
        ("/projects/0/test", json!("none")),
        (
            "/projects/0/image",
            json!({ "name": "grafana", "dockerfile": "D", "context": ".", "target": "t", "args": {}, "secrets": {},
                    "also": [], "timeout": "1m", "platform": "linux/arm64", "tag": { "scheme": "semver" } }),
        ),
    ];
    insta::assert_snapshot!(refusal(&edits), @r"
    projects[0].branch: nothing is built here without a `repository`: give one, or remove this key
    projects[0].deploy_key: nothing is built here without a `repository`: give one, or remove this key
    projects[0].image.also: nothing is built here without a `repository`: give one, or remove this key
    projects[0].image.args: nothing is built here without a `repository`: give one, or remove this key
    projects[0].image.context: nothing is built here without a `repository`: give one, or remove this key
    projects[0].image.dockerfile: nothing is built here without a `repository`: give one, or remove this key
    projects[0].image.secrets: nothing is built here without a `repository`: give one, or remove this key
    projects[0].image.target: nothing is built here without a `repository`: give one, or remove this key
    projects[0].image.timeout: nothing is built here without a `repository`: give one, or remove this key
    projects[0].lfs: nothing is built here without a `repository`: give one, or remove this key
    projects[0].poll.github: nothing is built here without a `repository`: give one, or remove this key
    projects[0].test: nothing is built here without a `repository`: give one, or remove this key
    ");
}

#[test]
fn a_project_that_only_builds_does_not_poll_docker_hub() {
    let edits = [("/projects/0/deploy", Value::Null), ("/projects/0/poll", json!({ "docker_hub": "60s" }))];
    insta::assert_snapshot!(refusal(&edits), @"projects[0].poll.docker_hub: nothing is deployed here without a `deploy` part: give one, or remove this key");
    let edits = [("/projects/0/deploy", Value::Null), ("/projects/0/repository", Value::Null)];
    insta::assert_snapshot!(refusal(&edits), @"projects[0]: this project does nothing: give it a `repository` to build, a `deploy` part, or both");
}

#[test]
fn pushing_to_a_registry_of_ones_own_needs_no_login() {
    let edits =
        [("/docker_hub", json!({ "registry": "pi:5000" })), ("/projects/0/image/name", json!("hello"))];
    assert!(Desk::new().load(&minimal_with(&edits)).is_ok());
}
