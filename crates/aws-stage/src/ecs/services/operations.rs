//! The service operations of the ECS API.

use serde_json::{Value, json};

use super::history::{DeploymentStatus, ServiceDeployment};
use super::model::{Service, ServiceStatus};
use super::request::{Chosen, Origin, create, invalid};
use super::{Book, Key, Services};
use crate::api::{Caller, partition};
use crate::behavior::CurrentServiceDeployment;
use crate::error::{AwsError, Reply};
use crate::request::{epoch_seconds, flag, list, lock, number, page, required, text, texts};

impl Services {
    /// One call; `None` where the operation is not about services.
    pub(crate) fn call(&self, caller: &Caller, operation: &str, body: &Value) -> Option<Reply> {
        let reply = match operation {
            "CreateService" => self.create_service(caller, body),
            "UpdateService" => self.update_service(body),
            "DeleteService" => self.delete_service(body),
            "DescribeServices" => self.describe_services(body),
            "ListServices" => self.list_services(body),
            "ListServiceDeployments" => self.list_service_deployments(body),
            "DescribeServiceDeployments" => self.describe_service_deployments(body),
            "DescribeServiceRevisions" => self.describe_service_revisions(body),
            "StopServiceDeployment" => self.stop_service_deployment(body),
            "ContinueServiceDeployment" => self.continue_service_deployment(body),
            "TagResource" | "UntagResource" | "ListTagsForResource" => self.tags(operation, body)?,
            _ => return None,
        };
        self.wake.notify_one();
        Some(reply)
    }

    fn create_service(&self, caller: &Caller, body: &Value) -> Reply {
        let cluster = self.clusters.find(text(body, "cluster"))?;
        let chosen = match text(body, "taskDefinition") {
            Some(name) => self.chosen(name)?,
            None => return Err(invalid("TaskDefinition can not be blank.")),
        };
        let arn_prefix = format!("arn:{}:ecs:{}:{}", partition(&caller.region), caller.region, caller.account);
        let epoch = epoch_seconds();
        let origin = Origin { arn_prefix: &arn_prefix, cluster_arn: &cluster.arn, caller_arn: &caller.arn, epoch };
        let service = create(&origin, body, chosen, &|group| self.deps.elb.exists(group), &self.deps.behavior)?;
        let key = (cluster.arn, service.name.clone());
        let mut book = lock(&self.book);
        match book.get(&key).map(|existing| existing.status) {
            Some(ServiceStatus::Active) => return Err(invalid("Creation of service was not idempotent.")),
            Some(ServiceStatus::Draining) => {
                return Err(invalid("Unable to Start a service that is still Draining."));
            }
            Some(ServiceStatus::Inactive) | None => {}
        }
        let described = service.describe(true);
        book.insert(key, service);
        Ok(json!({ "service": described }))
    }

    fn update_service(&self, body: &Value) -> Reply {
        let mut book = lock(&self.book);
        let key = self.key(body)?;
        let service = book.get_mut(&key).ok_or_else(not_found)?;
        let chosen = text(body, "taskDefinition").map(|name| self.chosen(name)).transpose()?;
        let behavior = &self.deps.behavior;
        let before = service.describe(true);
        service.update(body, chosen, &|group| self.deps.elb.exists(group), behavior, epoch_seconds())?;
        let mut described = service.describe(true);
        if behavior.current_service_deployment_in_update == CurrentServiceDeployment::Stale {
            described["currentServiceDeployment"] = before["currentServiceDeployment"].clone();
        }
        Ok(json!({ "service": described }))
    }

    fn delete_service(&self, body: &Value) -> Reply {
        let mut book = lock(&self.book);
        let key = self.key(body)?;
        let service = book.get_mut(&key).ok_or_else(not_found)?;
        service.delete(flag(body, "force"), epoch_seconds())?;
        Ok(json!({ "service": service.describe(true) }))
    }

    fn describe_services(&self, body: &Value) -> Reply {
        let cluster = self.clusters.find(text(body, "cluster"))?;
        let lag = self.deps.behavior.read_lags.services;
        let names = texts(body, "services");
        match names.len() {
            0 => return Err(invalid("Services cannot be empty.")),
            1..=10 => {}
            _ => return Err(invalid("Services cannot have more than 10 elements.")),
        }
        let with_tags = texts(body, "include").contains(&"TAGS");
        let book = lock(&self.book);
        let (mut services, mut failures) = (Vec::new(), Vec::new());
        for name in names {
            let service = book.get(&(cluster.arn.clone(), last_segment(name).to_owned()));
            match service.filter(|service| !name.starts_with("arn:") || service.arn == name) {
                Some(service) => services.push(self.as_of(service, lag).describe(with_tags)),
                None => {
                    let arn = match name.starts_with("arn:") {
                        true => name.to_owned(),
                        false => format!("{}/{name}", cluster.arn.replacen(":cluster/", ":service/", 1)),
                    };
                    failures.push(missing(&arn));
                }
            }
        }
        Ok(json!({ "services": services, "failures": failures }))
    }

    fn list_services(&self, body: &Value) -> Reply {
        let cluster = self.clusters.find(text(body, "cluster"))?;
        let book = lock(&self.book);
        let fits = |service: &&Service| {
            let launch_type = service.current_revision().and_then(|revision| revision.members.get("launchType"));
            service.cluster_arn == cluster.arn
                && service.status != ServiceStatus::Inactive
                && text(body, "schedulingStrategy").is_none_or(|strategy| strategy == "REPLICA")
                && text(body, "launchType").is_none_or(|wanted| launch_type.is_some_and(|is| is == wanted))
        };
        let arns: Vec<&str> = book.values().filter(fits).map(|service| service.arn.as_str()).collect();
        paged(body, "serviceArns", &arns, 10)
    }

    fn list_service_deployments(&self, body: &Value) -> Reply {
        let book = lock(&self.book);
        let service = match required(body, "service")? {
            arn if arn.starts_with("arn:") => book.values().find(|service| service.arn == arn),
            _ => book.get(&self.key(body)?),
        };
        let service = service.ok_or_else(not_found)?;
        let seen = self.as_of(service, self.deps.behavior.read_lags.service_deployment_list);
        let statuses = texts(body, "status");
        let created = &body["createdAt"];
        let bound = |name: &str| created.get(name).and_then(Value::as_f64);
        let fits = |record: &&ServiceDeployment| {
            (statuses.is_empty() || statuses.contains(&record.status.word()))
                && bound("after").is_none_or(|after| record.created_at > after)
                && bound("before").is_none_or(|before| record.created_at < before)
        };
        let briefs: Vec<Value> = seen
            .history
            .iter()
            .rev()
            .filter(fits)
            .map(|record| record.brief(&service.arn, &service.cluster_arn))
            .collect();
        paged(body, "serviceDeployments", &briefs, 20)
    }

    fn describe_service_deployments(&self, body: &Value) -> Reply {
        let arns = up_to_20(body, "serviceDeploymentArns")?;
        let book = lock(&self.book);
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for arn in arns {
            let known = book.values().find(|service| record(service, arn).is_some());
            let seen = known.map(|service| self.as_of(service, self.deps.behavior.read_lags.service_deployments));
            match seen.as_deref().and_then(|service| Some((service, record(service, arn)?))) {
                Some((service, record)) => {
                    found.push(record.describe(&service.arn, &service.cluster_arn, &service.revision_counts()));
                }
                None => failures.push(missing(arn)),
            }
        }
        Ok(json!({ "serviceDeployments": found, "failures": failures }))
    }

    fn describe_service_revisions(&self, body: &Value) -> Reply {
        let arns = up_to_20(body, "serviceRevisionArns")?;
        let book = lock(&self.book);
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for arn in arns {
            let known = book.values().find(|service| service.revision(arn).is_some());
            let seen = known.map(|service| self.as_of(service, self.deps.behavior.read_lags.service_revisions));
            match seen.as_deref().and_then(|service| Some((service, service.revision(arn)?))) {
                Some((service, revision)) => found.push(service.describe_revision(revision)),
                None => failures.push(missing(arn)),
            }
        }
        Ok(json!({ "serviceRevisions": found, "failures": failures }))
    }

    fn stop_service_deployment(&self, body: &Value) -> Reply {
        let arn = required(body, "serviceDeploymentArn")?;
        if text(body, "stopType").is_some_and(|kind| kind != "ROLLBACK") {
            return Err(invalid("The stopType must be ROLLBACK."));
        }
        let mut book = lock(&self.book);
        let service = service_of(&mut book, arn).ok_or_else(|| {
            AwsError::client("ServiceDeploymentNotFoundException", "The service deployment was not found.")
        })?;
        let Some(record) = service.history.last_mut().filter(|last| last.arn == arn && last.status.is_ongoing()) else {
            return Err(AwsError::client(
                "ConflictException",
                "The service deployment cannot be stopped because it is no longer in progress.",
            ));
        };
        if matches!(record.status, DeploymentStatus::Pending | DeploymentStatus::InProgress) {
            let reason = "Service deployment rollback was requested by StopServiceDeployment.".to_owned();
            record.enter(DeploymentStatus::RollbackRequested, Some(reason), epoch_seconds());
        }
        Ok(json!({ "serviceDeploymentArn": arn }))
    }

    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContinueServiceDeployment.html>
    fn continue_service_deployment(&self, body: &Value) -> Reply {
        let (arn, hook) = (required(body, "serviceDeploymentArn")?, required(body, "hookId")?);
        let continues = text(body, "action") != Some("ROLLBACK");
        let mut book = lock(&self.book);
        let service = service_of(&mut book, arn).ok_or_else(|| {
            AwsError::client("ServiceDeploymentNotFoundException", "The service deployment was not found.")
        })?;
        let ongoing = service.history.last_mut().filter(|last| last.arn == arn && last.status.is_ongoing());
        let lifecycle = ongoing.and_then(|record| record.lifecycle.as_mut());
        if lifecycle.is_some_and(|lifecycle| lifecycle.act_on(hook, continues)) {
            return Ok(json!({ "serviceDeploymentArn": arn }));
        }
        Err(AwsError::client(
            "ConflictException",
            "The service deployment is not waiting for an action at that lifecycle hook.",
        ))
    }

    /// `None` where the resource is not a service.
    fn tags(&self, operation: &str, body: &Value) -> Option<Reply> {
        let arn = text(body, "resourceArn").filter(|arn| arn.contains(":service/"))?;
        let mut book = lock(&self.book);
        let Some(service) = book.values_mut().find(|service| service.arn == arn) else {
            return Some(Err(not_found()));
        };
        let mut tags = service.settings.get("tags").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_key = |tag: &Value, key: Option<&str>| key.is_some() && text(tag, "key") == key;
        match operation {
            "ListTagsForResource" => return Some(Ok(json!({ "tags": tags }))),
            "TagResource" => {
                for tag in list(body, "tags") {
                    tags.retain(|known| !is_key(known, text(tag, "key")));
                    tags.push(tag.clone());
                }
            }
            _ => tags.retain(|known| !texts(body, "tagKeys").into_iter().any(|key| is_key(known, Some(key)))),
        }
        service.settings.insert("tags".to_owned(), json!(tags));
        Some(Ok(json!({})))
    }

    /// The service that a request names by name or ARN.
    fn key(&self, body: &Value) -> Result<Key, AwsError> {
        let cluster = self.clusters.find(text(body, "cluster"))?;
        let name = text(body, "service").ok_or_else(|| invalid("Service cannot be empty."))?;
        Ok((cluster.arn, last_segment(name).to_owned()))
    }

    fn chosen(&self, name: &str) -> Result<Chosen, AwsError> {
        let definition = self.definitions.active(name)?;
        let tags = self.definitions.tags(&definition.arn);
        Ok(Chosen { definition, tags })
    }
}

fn service_of<'a>(book: &'a mut Book, deployment: &str) -> Option<&'a mut Service> {
    book.values_mut().find(|service| record(service, deployment).is_some())
}

fn record<'a>(service: &'a Service, arn: &str) -> Option<&'a ServiceDeployment> {
    service.history.iter().find(|record| record.arn == arn)
}

fn not_found() -> AwsError {
    AwsError::client("ServiceNotFoundException", "Service not found.")
}

fn missing(arn: &str) -> Value {
    json!({ "arn": arn, "reason": "MISSING" })
}

fn last_segment(name_or_arn: &str) -> &str {
    name_or_arn.rsplit('/').next().unwrap_or(name_or_arn)
}

fn up_to_20<'a>(body: &'a Value, name: &str) -> Result<Vec<&'a str>, AwsError> {
    match list(body, name).len() {
        1..=20 => Ok(texts(body, name)),
        0 => Err(invalid(format!("{name} cannot be empty."))),
        _ => Err(invalid(format!("{name} cannot have more than 20 elements."))),
    }
}

fn paged<T: Clone + Into<Value>>(body: &Value, name: &str, items: &[T], default: usize) -> Reply {
    let size = number(body, "maxResults").and_then(|size| usize::try_from(size).ok()).unwrap_or(default);
    if !(1..=100).contains(&size) {
        return Err(invalid("maxResults must be between 1 and 100."));
    }
    let (items, token) = page(items, text(body, "nextToken"), size)?;
    let items: Vec<Value> = items.into_iter().map(Into::into).collect();
    let mut reply = json!({ name: items });
    if let Some(token) = token {
        reply["nextToken"] = json!(token);
    }
    Ok(reply)
}
