//! Members that Fargate does not take, and the ranges of those that it takes.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>

use super::{Findings, filled, has_items, is_present, is_true, items, text};
use crate::task_definition::TaskDefinition;
use crate::task_definition::read::plain;
use crate::task_definition::shape::integer;
use serde_json::{Map, Value};

const LOG_DRIVERS: [&str; 3] = ["awslogs", "splunk", "awsfirelens"];
const OTHER_LOG_DRIVERS: [&str; 8] = ["fluentd", "gelf", "journald", "json-file", "syslog", "none", "local", "etwlogs"];

pub(super) fn check(definition: &TaskDefinition, found: &mut Findings) {
    let body = &definition.body;
    architecture(body, found);
    if let Some(mode) = filled(body, "pidMode").filter(|mode| *mode != "task") {
        found.problem(format!("`pidMode` is `{mode}`: Fargate has `task` alone"));
    }
    if filled(body, "ipcMode").is_some() {
        found.problem("`ipcMode`: Fargate does not have it".to_owned());
    }
    for list in ["placementConstraints", "inferenceAccelerators"] {
        if has_items(body, list) {
            found.problem(format!("`{list}`: Fargate does not have them"));
        }
    }
    if let Some(storage) = body.get("ephemeralStorage").and_then(|s| s.get("sizeInGiB")).and_then(integer) {
        if storage == 20 {
            found.warning(
                "`ephemeralStorage.sizeInGiB` is 20, which is the default: AWS documents 21 to 200".to_owned(),
            );
        } else if !(21..=200).contains(&storage) {
            found.problem(format!("`ephemeralStorage.sizeInGiB` is {storage}: Fargate has 21 to 200"));
        }
    }
    for (path, volume) in items(body, "volumes", "") {
        self::volume(&path, volume, found);
    }
    for (path, container) in items(body, "containerDefinitions", "") {
        unsupported(&path, container, found);
        linux(&path, container, found);
        times(&path, container, found);
    }
}

fn architecture(body: &Map<String, Value>, found: &mut Findings) {
    let Some(platform) = body.get("runtimePlatform").and_then(Value::as_object) else { return };
    let Some(architecture) = filled(platform, "cpuArchitecture") else { return };
    if architecture == "X86_64" || architecture == "ARM64" {
        return;
    }
    let said = format!("`runtimePlatform.cpuArchitecture` is \"{architecture}\": `X86_64` or `ARM64` are possible");
    // Other names of the two are mistakes; a third one may be newer than this program.
    match plain(architecture).as_str() {
        "x8664" | "arm64" => {}
        "arm" | "amd64" | "x86" | "x64" | "i386" | "aarch64" | "armv7" | "armv8" | "intel" | "graviton"
        | "linux/amd64" | "linux/arm64" => found.problem(said),
        _ => found.warning(said),
    }
}

fn volume(path: &str, volume: &Map<String, Value>, found: &mut Findings) {
    let kinds: Vec<_> = [
        "dockerVolumeConfiguration",
        "efsVolumeConfiguration",
        "fsxWindowsFileServerVolumeConfiguration",
        "s3filesVolumeConfiguration",
    ]
    .into_iter()
    .filter(|kind| volume.get(*kind).and_then(Value::as_object).is_some_and(|c| !c.is_empty()))
    .collect();
    if kinds.len() > 1 || (!kinds.is_empty() && is_true(volume, "configuredAtLaunch")) {
        found.problem(format!("`{path}` is of several kinds: AWS takes one"));
    }
    let host = volume.get("host").and_then(Value::as_object);
    if host.and_then(|host| filled(host, "sourcePath")).is_some() {
        found.problem(format!("`{path}.host.sourcePath`: a Fargate task has no host to take files from"));
    }
    for kind in ["dockerVolumeConfiguration", "fsxWindowsFileServerVolumeConfiguration"] {
        if kinds.contains(&kind) {
            found.problem(format!("`{path}.{kind}`: Fargate does not have it"));
        }
    }
    let Some(efs) = volume.get("efsVolumeConfiguration").and_then(Value::as_object) else { return };
    let access = efs.get("authorizationConfig").and_then(Value::as_object);
    let point = access.and_then(|access| filled(access, "accessPointId"));
    if point.is_some() && filled(efs, "rootDirectory").is_some_and(|root| root != "/") {
        found.problem(format!(
            "`{path}.efsVolumeConfiguration.rootDirectory`: with an access point it is left out or `/`"
        ));
    }
    let with_iam = access.and_then(|access| text(access, "iam")) == Some("ENABLED");
    if (point.is_some() || with_iam) && text(efs, "transitEncryption") != Some("ENABLED") {
        found.problem(format!(
            "`{path}.efsVolumeConfiguration.transitEncryption`: an access point or IAM needs it `ENABLED`"
        ));
    }
    if filled(efs, "fileSystemId").is_some_and(|id| !id.starts_with("fs-") && !id.starts_with("arn:")) {
        found.warning(format!("`{path}.efsVolumeConfiguration.fileSystemId` does not begin with `fs-`"));
    }
}

fn unsupported(path: &str, container: &Map<String, Value>, found: &mut Findings) {
    for flag in ["privileged", "disableNetworking"] {
        if is_true(container, flag) {
            found.problem(format!("`{path}.{flag}`: Fargate does not have it"));
        }
    }
    for list in ["links", "dnsServers", "dnsSearchDomains", "extraHosts", "dockerSecurityOptions"] {
        if has_items(container, list) {
            found.problem(format!("`{path}.{list}`: Fargate does not have it"));
        }
    }
    if filled(container, "hostname").is_some() {
        found.problem(format!("`{path}.hostname`: not with `networkMode` `awsvpc`, which Fargate needs"));
    }
    for (path, resource) in items(container, "resourceRequirements", path) {
        match text(resource, "type") {
            Some(kind @ ("GPU" | "InferenceAccelerator")) => {
                found.problem(format!("`{path}.type` is `{kind}`: Fargate does not have it"));
            }
            Some(kind @ "NeuronDevice") => found.warning(format!("`{path}.type` is `{kind}`: Fargate may not have it")),
            _ => {}
        }
    }
    let log = container.get("logConfiguration").and_then(Value::as_object);
    // Another spelling of a known name is told by its type.
    let is_known = |driver: &&str| LOG_DRIVERS.iter().any(|known| plain(known) == plain(driver));
    if let Some(driver) = log.and_then(|log| filled(log, "logDriver")).filter(|driver| !is_known(driver)) {
        let name = text(container, "name").unwrap_or_default();
        let said = format!("container `{name}`: log driver `{driver}`: Fargate has awslogs, splunk and awsfirelens");
        if OTHER_LOG_DRIVERS.contains(&driver) { found.problem(said) } else { found.warning(said) }
    }
    let firelens = container.get("firelensConfiguration").and_then(|f| f.get("options")).and_then(Value::as_object);
    if firelens.and_then(|options| text(options, "config-file-type")) == Some("s3") {
        found.problem(format!(
            "`{path}.firelensConfiguration.options.config-file-type` is `s3`: Fargate has `file` alone"
        ));
    }
}

fn linux(path: &str, container: &Map<String, Value>, found: &mut Findings) {
    if let Some(linux) = container.get("linuxParameters").and_then(Value::as_object) {
        for member in ["devices", "sharedMemorySize", "maxSwap", "swappiness"] {
            if has_items(linux, member) || linux.get(member).is_some_and(Value::is_number) {
                found.problem(format!("`{path}.linuxParameters.{member}`: Fargate does not have it"));
            }
        }
        if has_items(linux, "tmpfs") {
            found.warning(format!("`{path}.linuxParameters.tmpfs`: not every platform version of Fargate has it"));
        }
        let added = linux.get("capabilities").and_then(|c| c.get("add")).and_then(Value::as_array);
        for capability in added.into_iter().flatten().filter_map(Value::as_str) {
            if !matches!(capability, "SYS_PTRACE" | "CAP_SYS_PTRACE") {
                found.warning(format!(
                    "`{path}.linuxParameters.capabilities.add` has `{capability}`: Fargate documents `SYS_PTRACE` alone"
                ));
            }
        }
    }
    for (path, limit) in items(container, "ulimits", path) {
        if filled(limit, "name").is_some_and(|name| name != "nofile") {
            found.warning(format!("`{path}.name`: Fargate documents `nofile` alone"));
        }
        let bound = |member: &str| limit.get(member).and_then(integer);
        if let (Some(soft), Some(hard)) = (bound("softLimit"), bound("hardLimit"))
            && soft > hard
            && hard >= 0
        {
            found.problem(format!("`{path}.softLimit` is {soft}, more than its `hardLimit` of {hard}"));
        }
    }
    for (path, control) in items(container, "systemControls", path) {
        if filled(control, "namespace").is_some_and(|name| !name.starts_with("net.")) {
            found.warning(format!("`{path}.namespace`: Fargate documents `net.` alone"));
        }
    }
}

fn times(path: &str, container: &Map<String, Value>, found: &mut Findings) {
    let mut within = |members: &Map<String, Value>, at: &str, member: &str, least: i64, most: i64| {
        if let Some(number) = members.get(member).and_then(integer)
            && i32::try_from(number).is_ok()
            && !(least..=most).contains(&number)
        {
            found.problem(format!("`{at}.{member}` is {number}: AWS takes {least} to {most}"));
        }
    };
    for member in ["startTimeout", "stopTimeout"] {
        within(container, path, member, 2, 120);
    }
    if let Some(check) = container.get("healthCheck").and_then(Value::as_object) {
        let at = format!("{path}.healthCheck");
        within(check, &at, "interval", 5, 300);
        within(check, &at, "timeout", 2, 120);
        within(check, &at, "retries", 1, 10);
        within(check, &at, "startPeriod", 0, 300);
    }
    if let Some(policy) = container.get("restartPolicy").and_then(Value::as_object) {
        within(policy, &format!("{path}.restartPolicy"), "restartAttemptPeriod", 60, 1800);
        let codes = policy.get("ignoredExitCodes").and_then(Value::as_array);
        if codes.is_some_and(|codes| codes.len() > 50) {
            found.problem(format!("`{path}.restartPolicy.ignoredExitCodes` has more than 50 entries"));
        }
        if codes.is_some_and(|codes| codes.iter().any(|code| !is_present(Some(code)))) {
            found.warning(format!("`{path}.restartPolicy.ignoredExitCodes` has a null"));
        }
    }
}
