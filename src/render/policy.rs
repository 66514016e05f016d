//! A role for people's own infrastructure code.

use serde_json::Value;

/// A role as it is written.
pub struct Role<'a> {
    pub name: &'a str,
    pub trust: Value,
    /// More than one where IAM's limit asks for it.
    pub documents: &'a [Value],
}

/// JSON is an expression in Terraform too.
pub fn terraform(role: &Role<'_>) -> String {
    let label: String = role.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let mut text = format!(
        "resource \"aws_iam_role\" \"{label}\" {{\n  name               = \"{}\"\n  assume_role_policy = jsonencode({})\n}}\n",
        role.name,
        indented(&role.trust)
    );
    for (at, document) in role.documents.iter().enumerate() {
        let suffix = if at == 0 { String::new() } else { format!("-{}", at + 1) };
        let own = format!("{label}{}", suffix.replace('-', "_"));
        text += &format!(
            "\nresource \"aws_iam_policy\" \"{own}\" {{\n  name   = \"{}{suffix}\"\n  policy = jsonencode({})\n}}\n\n\
             resource \"aws_iam_role_policy_attachment\" \"{own}\" {{\n  role       = aws_iam_role.{label}.name\n  \
             policy_arn = aws_iam_policy.{own}.arn\n}}\n",
            role.name,
            indented(document)
        );
    }
    text
}

/// JSON is YAML too.
pub fn cloudformation(role: &Role<'_>) -> String {
    let mut text = format!(
        "AWSTemplateFormatVersion: \"2010-09-09\"\nResources:\n  Role:\n    Type: AWS::IAM::Role\n    Properties:\n      \
         RoleName: {}\n      AssumeRolePolicyDocument: {}\n",
        role.name, role.trust
    );
    for (at, document) in role.documents.iter().enumerate() {
        let number = if at == 0 { String::new() } else { (at + 1).to_string() };
        text += &format!(
            "  Policy{number}:\n    Type: AWS::IAM::ManagedPolicy\n    Properties:\n      Roles: [{{ Ref: Role }}]\n      PolicyDocument: {document}\n"
        );
    }
    text
}

fn indented(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default().replace('\n', "\n  ")
}
