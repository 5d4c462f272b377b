//! Makes one POSIX shell script of a project's test commands, for a container as for the host. Pure.

/// The script that runs `commands` in order in one shell, shows each before it runs, and stops at the first
/// that fails, with that command's exit code. To be run by `sh -c`; dash, bash and BusyBox agree on it.
///
/// Each command goes through `eval`, so that one with an open quote fails by itself instead of swallowing
/// the next. The check behind it stops where `set -e` would not, as for a failed `cd app && pytest`.
pub fn script(commands: &[String]) -> String {
    let mut script = "set -e\n".to_owned();
    for command in commands {
        let shown = format!("+ {}", command.trim_end().replace('\n', "\n> "));
        script.push_str(&format!("printf '%s\\n' {}\n", quoted(&shown)));
        script.push_str(&format!("eval {}\n", quoted(command)));
        script.push_str("case $? in 0) ;; *) exit $? ;; esac\n");
    }
    script
}

/// `text` as one word of a shell: nothing in single quotes is special but the quote itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::script;

    #[test]
    fn each_command_is_shown_run_and_checked() {
        let commands = ["pip install -r requirements.txt".to_owned(), "echo 'it''s'".to_owned()];
        insta::assert_snapshot!(script(&commands), @r"
        set -e
        printf '%s\n' '+ pip install -r requirements.txt'
        eval 'pip install -r requirements.txt'
        case $? in 0) ;; *) exit $? ;; esac
        printf '%s\n' '+ echo '\''it'\'''\''s'\'''
        eval 'echo '\''it'\'''\''s'\'''
        case $? in 0) ;; *) exit $? ;; esac
        ");
    }
}
