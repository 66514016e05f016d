//! Volumes that are made when a task starts (`configuredAtLaunch`): the service says what like, and so must RunTask.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/configure-ebs-volume.html>

use super::TaskDefinition;
use serde_json::Value;

/// The names of the volumes that RunTask has to be told about.
pub fn names(definition: &TaskDefinition) -> Vec<&str> {
    let volumes = definition.body.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let at_launch = volumes.filter(|v| v.get("configuredAtLaunch") == Some(&Value::Bool(true)));
    at_launch.filter_map(|v| v.get("name")?.as_str()).collect()
}

/// Those of them that the service has no configuration of: a task of its own cannot have them.
pub fn missing<'a>(definition: &'a TaskDefinition, of_service: &[Value]) -> Vec<&'a str> {
    names(definition).into_iter().filter(|name| configuration(of_service, name).is_none()).collect()
}

/// `volumeConfigurations` of RunTask, from those of the service. The two differ in what only a service can do: hand its
/// own tags on.
pub fn of_task(definition: &TaskDefinition, of_service: &[Value]) -> Vec<Value> {
    let found = names(definition).into_iter().filter_map(|name| configuration(of_service, name));
    let mut found: Vec<Value> = found.cloned().collect();
    for configuration in &mut found {
        let tags = configuration.pointer_mut("/managedEBSVolume/tagSpecifications").and_then(Value::as_array_mut);
        for specification in tags.into_iter().flatten().filter_map(Value::as_object_mut) {
            if specification.get("propagateTags").and_then(Value::as_str) == Some("SERVICE") {
                specification.insert("propagateTags".to_owned(), Value::from("TASK_DEFINITION"));
            }
        }
    }
    found
}

fn configuration<'a>(of_service: &'a [Value], name: &str) -> Option<&'a Value> {
    of_service.iter().find(|c| c.get("name").and_then(Value::as_str) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_gets_the_volumes_of_its_service_that_its_definition_has() {
        let text = json!({"volumes": [{"name": "data", "configuredAtLaunch": true}, {"name": "tmp"}, null,
            {"name": "more", "configuredAtLaunch": true}, {"name": "no", "configuredAtLaunch": null}]});
        let definition = TaskDefinition::from_json(&text.to_string()).unwrap();
        let ebs = |tags: &str| json!({"roleArn": "r", "sizeInGiB": 20, "newer": 1, "tagSpecifications": [{"resourceType": "volume", "propagateTags": tags}]});
        let of_service = [
            json!({"name": "data", "managedEBSVolume": ebs("SERVICE")}),
            json!({"name": "other", "managedEBSVolume": ebs("NONE")}),
        ];
        assert_eq!(
            of_task(&definition, &of_service),
            [json!({"name": "data", "managedEBSVolume": ebs("TASK_DEFINITION")})]
        );
        assert_eq!(missing(&definition, &of_service), ["more"]);
        assert_eq!(names(&TaskDefinition::from_json("{}").unwrap()), [""; 0]);
    }
}
