//! The manual's pages, made of the same definition as the help: one of the program and one of each command.

use crate::cli::Arguments;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

/// The name of each page, one a line.
pub fn names() -> String {
    pages().iter().map(|page| format!("{}\n", name(page))).collect()
}

/// A page as `man` reads it; nothing where there is none of that name.
pub fn page(of: &str) -> String {
    let mut text = vec![];
    if let Some(page) = pages().into_iter().find(|page| name(page) == of) {
        // Into memory: it does not fail.
        let _ = Man::new(page).render(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// `fargate-deploy-plan` of the command `plan`.
fn name(page: &Command) -> &str {
    page.get_display_name().unwrap_or_else(|| page.get_name())
}

fn pages() -> Vec<Command> {
    let mut program = Arguments::command();
    program.build();
    let commands: Vec<_> = program.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    std::iter::once(program).chain(commands).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_flags() {
        assert!(names().lines().any(|name| name == "fargate-deploy-deploy"), "{}", names());
        let deploy = page("fargate-deploy-deploy");
        assert!(
            deploy.contains(".TH fargate-deploy-deploy 1") && deploy.contains("skip\\-release\\-commands"),
            "{deploy}"
        );
        assert_eq!(page("fargate-deploy-none"), "");
    }
}
