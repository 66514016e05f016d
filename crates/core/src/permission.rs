//! What a job may do on GitHub, and the lines of a workflow that allow it.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#permissions>

/// A permission of `GITHUB_TOKEN` that this program can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// The checkout.
    ReadContents,
    /// The identity that assumes a role.
    IdToken,
    /// The comment, and which pull request a commit came from.
    WritePullRequests,
    /// GitHub's Deployment with its statuses.
    WriteDeployments,
}

impl Permission {
    fn line(self) -> &'static str {
        match self {
            Self::ReadContents => "contents: read",
            Self::IdToken => "id-token: write",
            Self::WritePullRequests => "pull-requests: write",
            Self::WriteDeployments => "deployments: write",
        }
    }
}

/// The block to paste into the job: `wanted`, and what every job of ours needs, because naming one permission drops all
/// that are not named.
pub fn block(wanted: &[Permission]) -> String {
    let mut all = vec![Permission::ReadContents, Permission::IdToken];
    all.extend(wanted);
    all.sort();
    all.dedup();
    let lines: Vec<_> = all.into_iter().map(|permission| format!("  {}", permission.line())).collect();
    format!("permissions:\n{}", lines.join("\n"))
}

/// The next step of a job whose token lacks `wanted`.
pub fn advice(wanted: &[Permission]) -> String {
    format!(
        "give the job's token what it lacks (naming one permission drops all that are not named):\n\n{}",
        block(wanted)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_names_what_the_job_needs_beside_what_it_lacks() {
        assert_eq!(
            block(&[Permission::WriteDeployments, Permission::WritePullRequests, Permission::IdToken]),
            "permissions:\n  contents: read\n  id-token: write\n  pull-requests: write\n  deployments: write"
        );
        assert_eq!(block(&[]), "permissions:\n  contents: read\n  id-token: write");
    }
}
