//! What is printed as data, and where the log goes beside it.

use crate::commands;
use crate::events::Sink as _;
use crate::render::log::{Log, clean, no_command_in_json};
use crate::render::screen::{ScreenLine, printed};
use crate::render::stream::{self, Stream};
use fargate_deploy_core::outcome::Reason;
use std::io::{IsTerminal as _, Write};

/// Data for standard output. The exit code: of a command that is asked for nothing else, a reader's end is its end too.
pub(crate) fn print(text: &str) -> u8 {
    let mut out = standard_output();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// A reader that has seen enough is no failure; a full disk is one.
pub(crate) fn written(result: std::io::Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: standard output: {error}");
            Reason::Internal.exit_code()
        }
    }
}

/// Where the log goes: where data does not.
pub(crate) fn beside_data(is_data: bool) -> Box<dyn Write + Send> {
    Box::new(if is_data { Stream::of(std::io::stderr()) } else { Stream::of(std::io::stdout()) })
}

/// For results. What was said before is written before.
pub(crate) fn standard_output() -> std::io::Stdout {
    stream::drain();
    std::io::stdout()
}

/// What a command was asked for: for people, or one object a line.
pub(crate) fn printed_as<W: Write>(
    lines: &[ScreenLine],
    objects: &[serde_json::Value],
    is_json: bool,
    log: &Log<W>,
) -> String {
    match is_json {
        true => objects.iter().map(|object| format!("{}\n", json_line(&object.to_string(), log))).collect(),
        false => log.redacted(&printed(lines, std::io::stdout().is_terminal())),
    }
}

/// Names and reasons are other people's text: one line a service, whatever they hold.
pub(crate) fn locks_as_printed<W: Write>(lines: &[commands::lock::Line], is_json: bool, log: &Log<W>) -> String {
    match is_json {
        true => format!("{}\n", json_line(&serde_json::to_string(lines).unwrap_or_default(), log)),
        false => lines.iter().map(|line| format!("{}\n", clean(&log.redacted(&line.text())))).collect(),
    }
}

/// JSON for standard output: without secrets, and no command to a runner.
pub(crate) fn json_line<W: Write>(text: &str, log: &Log<W>) -> String {
    let mut value = serde_json::from_str(text).unwrap_or_default();
    log.redact_json(&mut value);
    no_command_in_json(&value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::log::{Detail, Style};
    use commands::lock::Line;

    #[test]
    fn the_reason_of_a_lock_is_one_line_that_commands_no_runner_and_no_terminal() {
        let hostile = "demo\n::error::owned\r\n##[add-mask]x\u{1b}[31m\u{1b}]0;title\u{7}\u{202e} \u{9b}2J\u{85}::set-env name=A::b";
        let line = |done| Line {
            cluster: "shop".to_owned(),
            service: "web".to_owned(),
            locked: Some(format!("ada since noon: {hostile}")),
            deploying: Some(format!("https://run {hostile}")),
            done,
        };
        let log = Log::new(Vec::new(), Style { detail: Detail::Normal, fence: Some("fence".to_owned()) });
        let plain = locks_as_printed(&[line(None), line(Some("released"))], false, &log);
        assert_eq!(plain.lines().count(), 2, "{plain:?}");
        assert!(plain.lines().all(|line| line.starts_with("shop/web: ")), "{plain:?}");
        let json = locks_as_printed(&[line(None)], true, &log);
        assert!(!plain.contains(|c: char| c.is_control() && c != '\n') && !plain.contains('\u{202e}'), "{plain:?}");
        assert_eq!(json.lines().count(), 1, "{json:?}");
        assert!(json.starts_with("[{\"") && !json.contains('\u{1b}'), "{json:?}");
        for printed in [plain, json] {
            assert!(!printed.contains("##[") && printed.contains("demo"), "{printed:?}");
        }
    }
}
