//! The workflow that deploys, and plans on pull requests.

/// Of another name than the `deploy.yml` that is often there already.
pub(crate) const PATH: &str = ".github/workflows/fargate-deploy.yml";

const WORKFLOW: &str = r#"# Written by `fargate-deploy init`. A push to the main branch deploys; a pull request gets a comment with the plan.
name: fargate-deploy
on:
  push: { branches: [main] }
  pull_request:
  workflow_dispatch:

permissions: {}

# One deploy of this repository at a time. Never cancel one that runs: its migration would go on without us.
# Other repositories and laptops are kept out by the lease that the deploy takes.
concurrency:
  group: fargate-deploy-${{ github.event_name == 'pull_request' && github.ref || 'production' }}
  cancel-in-progress: false

jobs:
  deploy:
    name: deploy
    if: github.event_name != 'pull_request'
    runs-on: RUNNER
    timeout-minutes: 60
    environment:
      name: production # required reviewers, and the `sub` that the role's trust policy names
      url: ${{ steps.deploy.outputs.url }}
    permissions:
      id-token: write # the identity that assumes the role
      contents: read
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with: { persist-credentials: false }
      - id: deploy
        uses: org/fargate-deploy@v1
        with:
          command: deploy

  # From the files alone. With a role for pull requests (docs/iam.md) take `offline` out: then it says what would change on AWS.
  plan:
    name: plan
    if: github.event_name == 'pull_request'
    runs-on: RUNNER
    timeout-minutes: 15
    permissions:
      contents: read
      pull-requests: write # the comment
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with: { persist-credentials: false }
      - uses: org/fargate-deploy@v1
        with:
          command: plan
          offline: true
          comment: true
"#;

pub(crate) fn text(is_arm: bool) -> String {
    // An image is built natively where the runner has its architecture.
    WORKFLOW.replace("RUNNER", if is_arm { "ubuntu-24.04-arm" } else { "ubuntu-24.04" })
}
