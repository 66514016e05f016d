//! Task definitions are raw JSON end to end, so that a member newer than our SDK survives byte for byte.

pub mod change;
pub mod compare;
pub mod launch_volumes;
pub mod one_off;
pub mod placeholders;
pub mod read;
pub mod shape;
pub mod tags;
pub mod validate;

use super::names::{ContainerName, TaskDefinitionArn};
use serde_json::{Map, Value};

/// Members of `DescribeTaskDefinition` that `RegisterTaskDefinition` does not take: the set difference of the two
/// shapes in AWS's API model.
pub const READ_ONLY: [&str; 9] = [
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
    "deleteRequestedAt",
];

/// Our own tags on a revision start with this; they tell the release and are no change of the definition.
pub const TAG_PREFIX: &str = "fargate-deploy:";
pub const RELEASE_TAG: &str = "fargate-deploy:release";

/// A task definition: described, read from a file, or about to be registered.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskDefinition {
    /// The members as AWS or the file wrote them, in their order, without `tags`.
    pub body: Map<String, Value>,
    /// They live beside the definition, and are lost on the next revision unless they are asked for and sent.
    pub tags: Vec<(String, String)>,
}

impl TaskDefinition {
    /// Its ARN, where it has been registered.
    pub fn arn(&self) -> Option<TaskDefinitionArn> {
        self.body.get("taskDefinitionArn").and_then(Value::as_str).map(TaskDefinitionArn::new)
    }

    /// The same under another family's name.
    #[must_use]
    pub fn of_family(mut self, family: &str) -> Self {
        self.body.insert("family".to_owned(), Value::from(family));
        self
    }

    pub fn family(&self) -> &str {
        self.text("family")
    }

    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub fn set_tag(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        match self.tags.iter_mut().find(|(k, _)| k == key) {
            Some(tag) => tag.1 = value,
            None => self.tags.push((key.to_owned(), value)),
        }
    }

    /// The URL of the run that registered it.
    pub fn run(&self) -> Option<&str> {
        self.tag("fargate-deploy:run")
    }

    /// The release that this revision was registered for.
    pub fn release(&self) -> Option<u64> {
        self.tag(RELEASE_TAG)?.trim_start_matches('r').parse().ok()
    }

    pub fn containers(&self) -> impl Iterator<Item = &Map<String, Value>> {
        self.body
            .get("containerDefinitions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
    }

    /// Whether ECS checks by itself that its tasks work: the health of a task is that of its essential containers.
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/healthcheck.html>
    pub fn has_health_check(&self) -> bool {
        self.containers().any(|container| is_essential(container) && checks_its_health(container))
    }

    pub fn containers_mut(&mut self) -> impl Iterator<Item = &mut Map<String, Value>> {
        self.body
            .get_mut("containerDefinitions")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
    }

    pub fn container(&self, name: &ContainerName) -> Option<&Map<String, Value>> {
        self.containers().find(|c| container_name(c) == name.as_str())
    }

    /// The image of a container, as the definition names it.
    pub fn image(&self, container: &ContainerName) -> Option<&str> {
        self.container(container)?.get("image")?.as_str()
    }

    pub fn container_names(&self) -> Vec<&str> {
        self.containers().map(container_name).collect()
    }

    /// The container that is meant when the config names none: the only one, or the only essential one.
    pub fn sole_container(&self) -> Option<ContainerName> {
        let all: Vec<_> = self.containers().collect();
        let essential: Vec<_> = all.iter().filter(|c| is_essential(c)).collect();
        match (all.as_slice(), essential.as_slice()) {
            ([only], _) => Some(ContainerName::new(container_name(only))),
            (_, [only]) => Some(ContainerName::new(container_name(only))),
            _ => None,
        }
    }

    /// `linux/amd64` or `linux/arm64`, from `runtimePlatform`; AWS's default is X86_64 Linux.
    pub fn platform(&self) -> &'static str {
        match self.body.get("runtimePlatform").and_then(|p| p.get("cpuArchitecture")).and_then(Value::as_str) {
            Some("ARM64") => "linux/arm64",
            _ => "linux/amd64",
        }
    }

    /// Puts an image into a container. False when there is no such container.
    pub fn set_image(&mut self, container: &ContainerName, image: &str) -> bool {
        match self.containers_mut().find(|c| container_name(c) == container.as_str()) {
            Some(found) => {
                found.insert("image".to_owned(), Value::String(image.to_owned()));
                true
            }
            None => false,
        }
    }

    /// What RegisterTaskDefinition takes: every member but the read-only ones, unknown members included, and the tags
    /// that are not AWS's own.
    #[must_use]
    pub fn registrable(&self) -> Self {
        let mut body = self.body.clone();
        for member in READ_ONLY {
            body.shift_remove(member);
        }
        let tags = self.tags.iter().filter(|(key, _)| !tags::is_of_aws(key)).cloned().collect();
        Self { body, tags }
    }

    /// The role of its tasks, and the one that starts them.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let role = |member| self.body.get(member).and_then(Value::as_str).filter(|role| !role.is_empty());
        ["taskRoleArn", "executionRoleArn"].into_iter().filter_map(role)
    }

    /// What ECS reads before it starts the containers, as they name it: secrets and parameters of the containers and of their
    /// log drivers.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        fn listed(list: Option<&Value>) -> Vec<&str> {
            let all = list.and_then(Value::as_array).into_iter().flatten();
            all.filter_map(|one| one.get("valueFrom")?.as_str()).collect()
        }
        self.containers().flat_map(|container| {
            let of_log = container.get("logConfiguration").and_then(|log| log.get("secretOptions"));
            [listed(container.get("secrets")), listed(of_log)].concat()
        })
    }

    /// The secrets, by ARN or name, with which ECS pulls from registries that want a login.
    pub fn registry_logins(&self) -> impl Iterator<Item = &str> {
        self.containers()
            .filter_map(|container| container.get("repositoryCredentials")?.get("credentialsParameter")?.as_str())
    }

    /// Where awslogs writes a container's lines: group, stream prefix, and region where given.
    /// Streams are called `PREFIX/CONTAINER/TASK-ID`.
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html>
    pub fn log_destination(&self, container: &ContainerName) -> Option<(String, String, Option<String>)> {
        let log = self.container(container)?.get("logConfiguration")?;
        if log.get("logDriver")?.as_str()? != "awslogs" {
            return None;
        }
        let option = |name: &str| log.get("options")?.get(name)?.as_str().map(str::to_owned);
        Some((option("awslogs-group")?, option("awslogs-stream-prefix")?, option("awslogs-region")))
    }

    /// The log driver of a container whose lines are not in CloudWatch, and where it says that they go, as far as that is no
    /// secret.
    pub fn log_elsewhere(&self, container: &ContainerName) -> (String, Option<String>) {
        const PLACES: [&str; 8] = [
            "splunk-url",
            "Name",
            "Host",
            "delivery_stream",
            "log_group_name",
            "fluentd-address",
            "gelf-address",
            "syslog-address",
        ];
        let log = self.container(container).and_then(|c| c.get("logConfiguration"));
        let driver = log.and_then(|log| log.get("logDriver")?.as_str()).unwrap_or("none");
        let option = |name: &&str| Some(format!("{name} {}", log?.get("options")?.get(*name)?.as_str()?));
        let places: Vec<_> = PLACES.iter().filter_map(option).collect();
        (driver.to_owned(), Some(places.join(", ")).filter(|places| !places.is_empty()))
    }

    fn text(&self, member: &str) -> &str {
        self.body.get(member).and_then(Value::as_str).unwrap_or_default()
    }
}

pub fn container_name(container: &Map<String, Value>) -> &str {
    container.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// `essential` is true unless it says otherwise.
pub fn is_essential(container: &Map<String, Value>) -> bool {
    container.get("essential").and_then(Value::as_bool).unwrap_or(true)
}

/// It has a health check that is run: `["NONE"]` turns the image's own off, and ECS does not look at that one.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html>
fn checks_its_health(container: &Map<String, Value>) -> bool {
    let command = container.get("healthCheck").and_then(|check| check.get("command")).and_then(Value::as_array);
    let first = command.and_then(|command| command.iter().find_map(Value::as_str));
    first.is_some_and(|first| first != "NONE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn described() -> TaskDefinition {
        TaskDefinition::from_json(
            &json!({
                "taskDefinition": {
                    "taskDefinitionArn": "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:41",
                    "containerDefinitions": [
                        {"name": "app", "image": "old", "essential": true, "futureMember": {"deep": [1, 2.50, null]},
                         "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/web", "awslogs-stream-prefix": "web"}}},
                        {"name": "proxy", "image": "caddy", "essential": false}
                    ],
                    "family": "web", "revision": 41, "status": "ACTIVE", "requiresAttributes": [], "compatibilities": ["EC2"],
                    "registeredAt": 1.5, "registeredBy": "me", "deregisteredAt": 1, "deleteRequestedAt": 2,
                    "unheardOf": "kept"
                },
                "tags": [{"key": "team", "value": "shop"}, {"key": "fargate-deploy:release", "value": "r41"}]
            })
            .to_string(),
        )
        .unwrap()
    }

    #[test]
    fn exactly_the_nine_read_only_members_are_stripped_and_unknown_ones_survive() {
        let request = described().registrable();
        let members: Vec<_> = request.body.keys().map(String::as_str).collect();
        assert_eq!(members, ["containerDefinitions", "family", "unheardOf"]);
        assert_eq!(request.body["containerDefinitions"][0]["futureMember"], json!({"deep": [1, 2.50, null]}));
        assert_eq!(request.tags, described().tags);
    }

    #[test]
    fn an_image_is_set_in_the_named_container_only() {
        let mut definition = described();
        assert!(definition.set_image(&"app".into(), "new@sha256:1"));
        assert!(!definition.set_image(&"nobody".into(), "x"));
        let images: Vec<_> = definition.containers().map(|c| c["image"].as_str().unwrap()).collect();
        assert_eq!(images, ["new@sha256:1", "caddy"]);
    }

    #[test]
    fn the_only_essential_container_is_meant_when_none_is_named() {
        assert_eq!(described().sole_container(), Some("app".into()));
        let mut two = described();
        two.containers_mut().for_each(|c| {
            c.insert("essential".to_owned(), json!(true));
        });
        assert_eq!(two.sole_container(), None);
    }

    #[test]
    fn a_health_check_counts_where_ecs_runs_it_and_where_the_task_depends_on_it() {
        let check = |command: Value| json!({"command": command});
        for (essential, health_check, expected) in [
            (json!(true), check(json!(["CMD", "true"])), true),
            (json!(null), check(json!(["CMD-SHELL", "true"])), true),
            (json!(true), json!(null), false),
            (json!(true), json!({}), false),
            (json!(true), check(json!(null)), false),
            (json!(true), check(json!([])), false),
            (json!(true), check(json!(["NONE"])), false),
            (json!(false), check(json!(["CMD", "true"])), false),
        ] {
            let body = json!({"containerDefinitions": [{"name": "app", "essential": essential, "healthCheck": health_check},
                {"name": "other", "image": "i"}]});
            let definition = TaskDefinition::from_json(&body.to_string()).unwrap();
            assert_eq!(definition.has_health_check(), expected, "{body}");
        }
    }

    #[test]
    fn the_release_is_read_from_the_tag() {
        assert_eq!(described().release(), Some(41));
    }

    #[test]
    fn the_log_stream_prefix_is_required_for_a_stream_to_be_known() {
        assert_eq!(described().log_destination(&"app".into()), Some(("/ecs/web".to_owned(), "web".to_owned(), None)));
        assert_eq!(described().log_destination(&"proxy".into()), None);
    }
}
