//! `policy`: what the role of this config must be allowed, no more and no less, and who may assume it.

use crate::adapters::aws::AwsClient;
use crate::cli::{PolicyFlags, PolicyFormat, PolicyPurpose};
use crate::commands::bad_config;
use crate::commands::configure::configure;
use crate::commands::deploy::open_session;
use crate::commands::policy_bootstrap::foundations;
use crate::commands::policy_check;
use crate::config::{self, Answers, Config, ImageSource, Needs, Request};
use crate::context::RunContext;
use crate::definition_file::read_definition;
use crate::error::call_failed;
use crate::events::Sink;
use crate::render::foundations::{as_cloudformation, as_terraform};
use crate::render::policy::{Role, cloudformation, terraform};
use clap::ValueEnum;
use fargate_deploy_core::iam_policy::{Granted, Statement, of_purposes, of_task_role};
use fargate_deploy_core::iam_role::{Job, LARGEST, Purpose, WHY, documents, trust};
use fargate_deploy_core::image::ImageRef;
use fargate_deploy_core::names;
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task_definition::TaskDefinition;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

type SharedSink = Arc<dyn Sink + Send + Sync>;

/// What goes to standard output, what is said beside it, and how the command ends.
pub struct Printed {
    pub text: String,
    pub notes: Vec<String>,
    /// A role that was checked lacks something.
    pub failure: Option<Failure>,
}

/// The text of the policy, in the form that was asked for, and what is said beside it.
///
/// # Errors
/// `config`: the account or the region is not known. `identity`, `permission`, `unavailable`: the config leaves values or task
/// definitions to AWS, and it could not be asked.
pub async fn policy(
    flags: &PolicyFlags,
    request: &Request,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: &SharedSink,
    is_json: bool,
    interrupt: impl Future<Output = ()>,
) -> Result<Printed, Failure> {
    let draft = config::draft(request, env, directory).map_err(|e| bad_config(&e))?;
    let needs = draft.needs();
    let config = match &needs {
        None => draft.finish(&Answers::default()).map_err(|e| bad_config(&e))?,
        Some(_) => configure(request, env, directory, Arc::clone(sink), interrupt).await?,
    };
    let region = config.region.clone().ok_or_else(|| {
        Failure::new(Reason::Config, "the region is not known").with_next("name it in the config, or with `--region`")
    })?;
    let account = flags.account.clone().or_else(|| account_of(&config)).ok_or_else(|| {
        Failure::new(Reason::Config, "the account is not known")
            .with_next("give it with `--account`, or `role` in the config")
    })?;
    let purposes = purposes(flags)?;
    let reads_config = purposes != [Purpose::Task];
    let mut needed = match reads_config {
        false => of_task_role(),
        true => needed(&config, &account, &region, &purposes, env, sink).await?,
    };
    needed.extend(
        needs.iter().filter(|_| reads_config).flat_map(|needs| elsewhere(needs, partition(&config), &account, &region)),
    );
    if let Some(role) = &flags.check {
        let found = policy_check::check(role, &needed, &config, env, sink).await?;
        let text = match is_json {
            true => format!("{}\n", serde_json::to_string(&found).unwrap_or_default()),
            false => policy_check::text(&found),
        };
        return Ok(Printed { text, notes: vec![], failure: policy_check::failure(role, &found) });
    }
    let job = job(flags, &config, env)?;
    let name = role_name(&config, flags);
    let documents = documents(&needed);
    let role = Role { name: &name, trust: trust(&job, &purposes, partition(&config), &account), documents: &documents };
    let text = match (flags.explain, flags.trust, flags.format) {
        (true, ..) => explained(&needed),
        (_, true, _) => pretty(&role.trust),
        (_, _, PolicyFormat::Json) if flags.bootstrap => {
            let failure = Failure::new(Reason::Config, "--bootstrap: a role and a repository are no JSON policy");
            return Err(failure.with_next("add `--format terraform` or `--format cloudformation`"));
        }
        (_, _, PolicyFormat::Terraform) if flags.bootstrap => as_terraform(&role, &foundations(&config).await),
        (_, _, PolicyFormat::Cloudformation) if flags.bootstrap => {
            as_cloudformation(&role, &foundations(&config).await)
        }
        (_, _, PolicyFormat::Json) => match documents.as_slice() {
            [only] => pretty(only),
            several => pretty(&several.into()),
        },
        (_, _, PolicyFormat::Terraform) => terraform(&role),
        (_, _, PolicyFormat::Cloudformation) => cloudformation(&role),
    };
    let mut notes = vec![];
    if documents.len() > 1 && !flags.trust && !flags.explain {
        notes.push(format!("IAM takes {LARGEST} characters in a policy: these are {} policies", documents.len()));
    }
    if !flags.explain
        && (job.repository == "OWNER/REPO" || job.owner_id == "OWNER_ID")
        && (flags.trust || flags.format != PolicyFormat::Json)
    {
        notes
            .push("replace OWNER_ID and REPO_ID: gh api repos/OWNER/REPO --jq '.owner.id, .id' prints them".to_owned());
    }
    Ok(Printed { text, notes, failure: None })
}

fn pretty(document: &serde_json::Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(document).unwrap_or_default())
}

async fn needed(
    config: &Config,
    account: &str,
    region: &str,
    purposes: &[Purpose],
    env: &BTreeMap<String, String>,
    sink: &SharedSink,
) -> Result<Vec<Statement>, Failure> {
    let mut of_services = vec![];
    for service in &config.services {
        let definition = match &service.task_definition {
            Some(file) => read_definition(file).await?,
            None => running(config, service, env, sink).await?,
        };
        of_services.push((service, definition));
    }
    let mut own = vec![];
    for command in &config.release {
        if let Some(file) = &command.task_definition {
            own.push((command, read_definition(file).await?));
        }
    }
    let services: Vec<_> = of_services.iter().map(|(service, definition)| (*service, definition)).collect();
    let commands: Vec<_> = own.iter().map(|(command, definition)| (*command, definition)).collect();
    let granted = Granted { config, account, region, services: &services, commands: &commands };
    Ok(of_purposes(&granted, purposes))
}

/// The revision that a service runs, as whoever runs this may see it.
async fn running(
    config: &Config,
    service: &config::ServiceConfig,
    env: &BTreeMap<String, String>,
    sink: &SharedSink,
) -> Result<TaskDefinition, Failure> {
    let context = RunContext::read(env, &config.root);
    // Not as the role that the policy is for: it may not be there yet.
    let session = open_session(config.region.clone(), vec![], &context, env, Arc::clone(sink)).await?;
    let client = AwsClient::new(session);
    let aws = client.ports();
    let wanted = service.reference();
    let found = aws.services.services(&[wanted]).await.map_err(|e| call_failed("describing the service", &e))?;
    let found = found.into_iter().next().flatten().ok_or_else(|| {
        let what = format!("service `{}`: its task definition is on AWS, and there is no such service", service.key);
        Failure::new(Reason::Config, what).with_next("name a file as `task-definition`, or check `name` and `cluster`")
    })?;
    let running = aws.task_definitions.task_definition(found.task_definition.as_str()).await;
    running.map_err(|e| call_failed("reading the task definition that it runs", &e))
}

fn partition(config: &Config) -> &str {
    config.roles.first().and_then(|role| role.as_str().split(':').nth(1)).unwrap_or("aws")
}

/// What the config takes values from.
fn elsewhere(needs: &Needs, partition: &str, account: &str, region: &str) -> Vec<Statement> {
    let own = |service: &str, resource: String| format!("arn:{partition}:{service}:{region}:{account}:{resource}");
    let statement =
        |sid, action, resources: BTreeSet<String>| Statement { sid, actions: vec![action], resources, condition: None };
    let or_arn =
        |name: &str, of: &dyn Fn(&str) -> String| if name.starts_with("arn:") { name.to_owned() } else { of(name) };
    let stacks = needs.stacks.keys().map(|name| or_arn(name, &|name| own("cloudformation", format!("stack/{name}/*"))));
    let parameters = needs.parameters.keys().map(|name| {
        // A version or a label is no part of its name.
        let plain = if name.starts_with("arn:") { name } else { name.split(':').next().unwrap_or(name) };
        or_arn(plain, &|name| own("ssm", format!("parameter/{}", name.trim_start_matches('/'))))
    });
    let objects = needs.terraform.iter().map(|(bucket, key, _)| format!("arn:{partition}:s3:::{bucket}/{key}"));
    let buckets = needs.terraform.iter().map(|(bucket, ..)| format!("arn:{partition}:s3:::{bucket}"));
    let all = [
        statement("ReadStacks", "cloudformation:DescribeStacks", stacks.collect()),
        statement("ReadParameters", "ssm:GetParameter", parameters.collect()),
        statement("ReadState", "s3:GetObject", objects.collect()),
        statement("FindState", "s3:ListBucket", buckets.collect()),
    ];
    all.into_iter().filter(|statement| !statement.resources.is_empty()).collect()
}

fn account_of(config: &Config) -> Option<String> {
    let of_role = config.roles.last().and_then(|role| names::account_of(role.as_str()).map(str::to_owned));
    let of_image = config.images.iter().find_map(|image| match &image.source {
        ImageSource::Build(build) => ImageRef::parse(&build.repository).ok()?.ecr().map(|host| host.account),
        ImageSource::Existing(_) => None,
    });
    of_role.or(of_image)
}

/// The one of the config for whatever deploys; the others are called after their commands.
fn role_name(config: &Config, flags: &PolicyFlags) -> String {
    let named = config.roles.last().and_then(|role| role.as_str().rsplit('/').next());
    let deploys = |purpose: &PolicyPurpose| matches!(purpose, PolicyPurpose::Deploy | PolicyPurpose::All);
    if flags.purposes.is_empty() || flags.purposes.iter().any(deploys) {
        return named.unwrap_or("fargate-deploy").to_owned();
    }
    let base = named.map_or("fargate-deploy", |name| name.trim_end_matches("-deploy"));
    let words = flags.purposes.iter().filter_map(ValueEnum::to_possible_value);
    words.fold(base.to_owned(), |name, word| format!("{name}-{}", word.get_name()))
}

/// The repository that deploys: the one of this job, or the one that was named.
fn job(flags: &PolicyFlags, config: &Config, env: &BTreeMap<String, String>) -> Result<Job, Failure> {
    let given = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    let repository =
        flags.github.clone().or_else(|| given("GITHUB_REPOSITORY")).unwrap_or_else(|| "OWNER/REPO".to_owned());
    if repository.split('/').filter(|part| !part.is_empty()).count() != 2 {
        return Err(Failure::new(Reason::Config, format!("--github `{repository}`: expected OWNER/REPO")));
    }
    let is_this = flags.github.as_deref().is_none_or(|named| given("GITHUB_REPOSITORY").as_deref() == Some(named));
    let id = |name: &str, unknown: &str| given(name).filter(|_| is_this).unwrap_or_else(|| unknown.to_owned());
    Ok(Job {
        repository,
        owner_id: id("GITHUB_REPOSITORY_OWNER_ID", "OWNER_ID"),
        repository_id: id("GITHUB_REPOSITORY_ID", "REPO_ID"),
        environment: config.environment.clone().or_else(|| Some("production".to_owned())),
    })
}

/// Action, the step that calls it, and what is not possible without.
fn explained(statements: &[Statement]) -> String {
    let mut lines = vec![];
    for statement in statements {
        for action in &statement.actions {
            let why = WHY.iter().find(|why| why.action == *action);
            let (step, without) = why.map_or(("", ""), |why| (why.step, why.without));
            lines.push(format!("{action}\n    for: {step}\n    without: {without}\n"));
        }
        lines.push(format!(
            "    on: {}\n\n",
            statement.resources.iter().cloned().collect::<Vec<_>>().join("\n        ")
        ));
    }
    lines.concat()
}

/// What the role is for, by the words of the command line.
fn purposes(flags: &PolicyFlags) -> Result<Vec<Purpose>, Failure> {
    if flags.purposes.len() > 1 && flags.purposes.contains(&PolicyPurpose::Task) {
        let what = "`task` is the role of the tasks, and the others are of whoever works with them";
        return Err(Failure::new(Reason::Config, what).with_next("ask for `policy task` by itself"));
    }
    let mut all: Vec<Purpose> = vec![];
    for word in &flags.purposes {
        let of: &[Purpose] = match word {
            PolicyPurpose::Deploy => &[Purpose::Deploy],
            PolicyPurpose::Plan => &[Purpose::Plan],
            PolicyPurpose::Run => &[Purpose::Run],
            PolicyPurpose::Exec => &[Purpose::Exec],
            PolicyPurpose::Rollback => &[Purpose::Rollback],
            PolicyPurpose::Releases => &[Purpose::Releases],
            PolicyPurpose::Status => &[Purpose::Status],
            PolicyPurpose::Logs => &[Purpose::Logs],
            PolicyPurpose::Continue => &[Purpose::Continue],
            PolicyPurpose::Abort => &[Purpose::Abort],
            PolicyPurpose::Lock => &[Purpose::Lock],
            PolicyPurpose::All => &Purpose::COMMANDS,
            PolicyPurpose::Task => &[Purpose::Task],
        };
        all.extend(of.iter().filter(|purpose| !all.contains(purpose)).copied().collect::<Vec<_>>());
    }
    Ok(if all.is_empty() { vec![Purpose::Deploy] } else { all })
}
