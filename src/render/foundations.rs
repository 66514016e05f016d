//! What a first deploy needs beside the service and its network, as Terraform and as CloudFormation.

use crate::render::policy::{Role, cloudformation, terraform};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What does not exist before a first deploy, perhaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foundations {
    pub repositories: Vec<Repository>,
    pub log_groups: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    pub name: String,
    /// Each image keeps a tag of its own, so that those without one are nobody's.
    pub has_fixed_tags: bool,
}

const ISSUER: &str = "https://token.actions.githubusercontent.com";

const HEAD: &str = "\
# What a first deploy needs beside the service, its task roles and its network, which stay in your own code.
# Read it, leave out what you have already, and apply it with your own credentials.
";
const OF_PROVIDER: &str =
    "GitHub's tokens become known to the account. There is one provider for an account: leave it out where it is.";
const OF_ROLE: &str = "The role that the jobs assume, and no more than this config needs.";
const OF_REPOSITORIES: &str =
    "Images. Releases and rollbacks name them by digest, so what production runs must not expire.";
const OF_LOGS: &str = "What the containers say. A task does not start without its log group.";

/// 50 images are kept; those without a tag for two weeks, where every image of a release keeps one.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_examples.html>
fn lifecycle(repository: &Repository) -> Value {
    let expire = json!({"type": "expire"});
    let untagged = json!({
        "rulePriority": 1, "description": "no release has them", "action": expire,
        "selection": {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14},
    });
    let all = json!({
        "rulePriority": 2, "description": "the newest 50", "action": expire,
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 50},
    });
    let rules: Vec<Value> = repository.has_fixed_tags.then_some(untagged).into_iter().chain([all]).collect();
    json!({ "rules": rules })
}

fn label(name: &str) -> String {
    let label: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let label = label.trim_matches('_').to_owned();
    // A name in Terraform begins with a letter.
    if label.starts_with(|c: char| c.is_ascii_digit()) { format!("r{label}") } else { label }
}

pub fn as_terraform(role: &Role<'_>, foundations: &Foundations) -> String {
    let mut text = format!(
        "{HEAD}\n# {OF_PROVIDER}\nresource \"aws_iam_openid_connect_provider\" \"github\" {{\n  url            = \"{ISSUER}\"\n  \
         client_id_list = [\"sts.amazonaws.com\"]\n}}\n\n# {OF_ROLE}\n{}",
        terraform(role)
    );
    for (at, repository) in foundations.repositories.iter().enumerate() {
        let (name, label) = (&repository.name, label(&repository.name));
        let rules = serde_json::to_string_pretty(&lifecycle(repository)).unwrap_or_default().replace('\n', "\n  ");
        let comment = if at == 0 { format!("# {OF_REPOSITORIES}\n") } else { String::new() };
        text += &format!(
            "\n{comment}resource \"aws_ecr_repository\" \"{label}\" {{\n  name = \"{name}\"\n\n  \
             image_scanning_configuration {{\n    scan_on_push = true\n  }}\n}}\n\n\
             resource \"aws_ecr_lifecycle_policy\" \"{label}\" {{\n  repository = aws_ecr_repository.{label}.name\n  \
             policy     = jsonencode({rules})\n}}\n"
        );
    }
    for (at, group) in foundations.log_groups.iter().enumerate() {
        let comment = if at == 0 { format!("# {OF_LOGS}\n") } else { String::new() };
        text += &format!(
            "\n{comment}resource \"aws_cloudwatch_log_group\" \"{}\" {{\n  name              = \"{group}\"\n  \
             retention_in_days = 30\n}}\n",
            label(group)
        );
    }
    text
}

pub fn as_cloudformation(role: &Role<'_>, foundations: &Foundations) -> String {
    let own = cloudformation(role);
    let resources = own.split_once("Resources:\n").map_or(own.as_str(), |(_, resources)| resources);
    let mut text = format!(
        "{HEAD}AWSTemplateFormatVersion: \"2010-09-09\"\nResources:\n  # {OF_PROVIDER}\n  GitHub:\n    Type: AWS::IAM::OIDCProvider\n    \
         Properties:\n      Url: {ISSUER}\n      ClientIdList: [sts.amazonaws.com]\n\n  # {OF_ROLE}\n{resources}"
    );
    for (at, repository) in foundations.repositories.iter().enumerate() {
        let comment = if at == 0 { format!("  # {OF_REPOSITORIES}\n") } else { String::new() };
        text += &format!(
            "\n{comment}  Repository{}:\n    Type: AWS::ECR::Repository\n    DeletionPolicy: Retain\n    Properties:\n      RepositoryName: {}\n      \
             ImageScanningConfiguration: {{ ScanOnPush: true }}\n      LifecyclePolicy:\n        LifecyclePolicyText: '{}'\n",
            at + 1,
            repository.name,
            lifecycle(repository)
        );
    }
    for (at, group) in foundations.log_groups.iter().enumerate() {
        let comment = if at == 0 { format!("  # {OF_LOGS}\n") } else { String::new() };
        text += &format!(
            "\n{comment}  LogGroup{}:\n    Type: AWS::Logs::LogGroup\n    Properties:\n      LogGroupName: {group}\n      RetentionInDays: 30\n",
            at + 1
        );
    }
    text
}
