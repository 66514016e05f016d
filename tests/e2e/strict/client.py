"""A second client, as strict as AWS's own: it shares nothing with the stage but AWS's service models, as botocore has them.

    python client.py OPERATIONS.json

Asks the endpoint in AWS_ENDPOINT_URL in two ways. Each operation is called as it should be, and every byte of its answer is
held against the model's shape: members that AWS does not have, values of another type, members that are missing. And each
constraint of each operation's input is broken, one at a time: what is then accepted, or refused for another reason than a
client's own fault, is a finding. Prints one JSON object; ends with 1 where there are findings.
"""

import base64
import copy
import hashlib
import json
import os
import re
import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

# How deep inputs are looked into: containers of a definition, and what is in those.
DEPTH = 6
# What a service says of an input that its model does not allow.
REFUSALS = {
    "ClientException", "InvalidParameterException", "ValidationException", "SerializationException", "InvalidInput",
    "MalformedInput", "ValidationError", "InvalidParameterValue", "InvalidParameterCombination", "MissingParameter",
    "MissingAction", "InvalidTagParameterException", "InvalidRequestException", "MissingParameterException",
}

findings = []
answered = set()


class Shapes:
    """Holds an answer against the shape that the model gives it."""

    def __init__(self, operation):
        self.of = f"{operation.service_model.signing_name}:{operation.name}"

    def wrong(self, path, why):
        findings.append({"answer": self.of, "at": path, "why": why})

    def json(self, shape, value, path=""):
        kind = shape.type_name
        if kind == "structure":
            if not isinstance(value, dict):
                return self.wrong(path, f"no structure: {value!r}")
            for name in getattr(shape, "required_members", []):
                if name not in value:
                    self.wrong(f"{path}.{name}", "required, and missing")
            for name, inner in value.items():
                member = shape.members.get(name)
                if member is None:
                    self.wrong(f"{path}.{name}", "AWS has no such member")
                elif inner is None:
                    self.wrong(f"{path}.{name}", "null: AWS leaves it out")
                else:
                    self.json(member, inner, f"{path}.{name}")
        elif kind == "list":
            if not isinstance(value, list):
                return self.wrong(path, f"no list: {value!r}")
            for index, inner in enumerate(value):
                self.json(shape.member, inner, f"{path}[{index}]")
        elif kind == "map":
            if not isinstance(value, dict):
                return self.wrong(path, f"no map: {value!r}")
            for name, inner in value.items():
                self.json(shape.value, inner, f"{path}.{name}")
        else:
            self.scalar(shape, value, path)

    def scalar(self, shape, value, path):
        kind = shape.type_name
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = {
            "string": isinstance(value, str), "boolean": isinstance(value, bool),
            "integer": is_number and value == int(value), "long": is_number and value == int(value),
            "float": is_number, "double": is_number, "timestamp": is_number, "blob": isinstance(value, str),
        }[kind]
        if not fits:
            return self.wrong(path, f"no {kind}: {value!r}")
        self.enum(shape, value, path)

    def enum(self, shape, value, path):
        choices = shape.metadata.get("enum")
        if choices and value not in choices:
            self.wrong(path, f"not in the enumeration: {value!r}")

    def xml(self, shape, element, path=""):
        kind = shape.type_name
        if kind == "structure":
            members = {inner.serialization.get("name", name): (name, inner) for name, inner in shape.members.items()}
            seen = set()
            for child in element:
                name = child.tag.rsplit("}", 1)[-1]
                if name not in members:
                    self.wrong(f"{path}.{name}", "AWS has no such member")
                    continue
                seen.add(members[name][0])
                self.xml(members[name][1], child, f"{path}.{name}")
            for name in set(getattr(shape, "required_members", [])) - seen:
                self.wrong(f"{path}.{name}", "required, and missing")
        elif kind == "list":
            wanted = shape.member.serialization.get("name", "member")
            for child in element:
                if child.tag.rsplit("}", 1)[-1] != wanted:
                    self.wrong(path, f"items are `{wanted}`, not `{child.tag}`")
                self.xml(shape.member, child, f"{path}[]")
        elif kind == "map":
            for entry in element:
                if [child.tag.rsplit("}", 1)[-1] for child in entry] != ["key", "value"]:
                    self.wrong(path, "entries are a key and a value")
        else:
            text = element.text or ""
            pattern = {
                "integer": r"-?\d+", "long": r"-?\d+", "boolean": "true|false",
                "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z",
            }.get(kind, "(?s:.*)")
            if not re.fullmatch(pattern, text):
                self.wrong(path, f"no {kind}: {text!r}")
            self.enum(shape, text, path)


def hold(response_dict, operation_model, **_):
    """Every good answer of the session, before botocore reads it."""
    name = f"{operation_model.service_model.signing_name}:{operation_model.name}"
    if response_dict["status_code"] >= 300:
        return
    answered.add(name)
    shapes, body = Shapes(operation_model), response_dict["body"]
    output = operation_model.output_shape
    if operation_model.service_model.metadata["protocol"] == "json":
        value = json.loads(body or b"{}")
        if output is not None:
            shapes.json(output, value)
        elif value:
            shapes.wrong("", f"AWS answers nothing: {value!r}")
        return
    root = ElementTree.fromstring(body)
    result = next((child for child in root if child.tag.rsplit("}", 1)[-1].endswith("Result")), None)
    if output is not None and result is None:
        shapes.wrong("", "no result")
    elif output is not None:
        shapes.xml(output, result)


# ---- Inputs that a model allows, and each way to leave it.

# Texts for patterns that are not made up by rule.
TEXTS = [
    "a", "aa", "/a", "app", "v1", "1", "sha256:" + "0" * 64, "arn:aws:iam::123456789012:role/aa", "AROAAAAAAAAAAAAAAAAA",
    "arn:aws:ecs:eu-central-1:123456789012:cluster/aa", "123456789012", "Name", "https://a.test", "a" * 32, "a" * 40, "{}", "/a/",
]


def sample(shape, depth=0):
    """The least that a shape allows."""
    kind, metadata = shape.type_name, shape.metadata
    if kind == "structure":
        return {name: sample(shape.members[name], depth + 1) for name in shape.required_members}
    if kind == "list":
        return [sample(shape.member, depth + 1) for _ in range(metadata.get("min", 0) or (1 if depth < 2 else 0))]
    if kind == "map":
        return {}
    if kind == "string":
        if metadata.get("enum"):
            return metadata["enum"][0]
        least, most = metadata.get("min", 1), metadata.get("max", 10**6)
        for text in TEXTS + ["a" * least, "A" * least]:
            if least <= len(text) <= most and fits(metadata.get("pattern"), text):
                return text
        raise SystemExit(f"no sample for {shape.name}: {metadata}")
    return {
        "integer": metadata.get("min", 1), "long": metadata.get("min", 1), "boolean": True, "double": 1.0, "float": 1.0,
        "timestamp": 0, "blob": b"a",
    }[kind]


def fits(pattern, text):
    if not pattern:
        return True
    pattern = pattern.replace(r"\p{L}", "a-zA-Z").replace(r"\p{Z}", " ").replace(r"\p{N}", "0-9")
    try:
        return re.fullmatch(pattern, text) is not None
    except re.error:
        return True


def broken(shape, is_json, depth=0):
    """Values that break one constraint of a shape: the path of the member, the constraint, and the value in its place."""
    kind, metadata = shape.type_name, shape.metadata
    if depth > DEPTH:
        return
    if kind == "structure":
        base = sample(shape, depth)
        for name in shape.required_members:
            yield f".{name}", "required", {key: value for key, value in base.items() if key != name}
        for name, member in shape.members.items():
            for path, why, value in broken(member, is_json, depth + 1):
                yield f".{name}{path}", why, {**copy.deepcopy(base), name: value}
        if is_json and depth:
            yield "", "type", "no structure"
        return
    if kind == "list":
        least, most = metadata.get("min"), metadata.get("max")
        if least:
            yield "", f"at least {least}", [sample(shape.member, depth + 1) for _ in range(least - 1)]
        if most and most < 300:
            yield "", f"at most {most}", [sample(shape.member, depth + 1) for _ in range(most + 1)]
        if is_json:
            yield "", "type", "no list"
        for path, why, value in broken(shape.member, is_json, depth + 1):
            yield f"[]{path}", why, [value]
        return
    if kind == "map":
        if is_json:
            yield "", "type", "no map"
        for path, why, value in broken(shape.value, is_json, depth + 1):
            yield f"{{}}{path}", why, {sample(shape.key, depth + 1): value}
        return
    if kind == "string":
        if metadata.get("enum"):
            yield "", "enum", "NOT_A_CHOICE_OF_AWS"
        else:
            padding = "a" * max(0, metadata.get("min", 0) - 3)
            odd = [text + padding for text in ("* ;", "\u2028;*", "\x01;\x01")]
            odd = [text for text in odd if not fits(metadata.get("pattern"), text)]
            if odd:
                yield "", "pattern", odd[0]
        if metadata.get("min"):
            yield "", f"at least {metadata['min']}", "a" * (metadata["min"] - 1)
        if metadata.get("max") and metadata["max"] < 100_000:
            yield "", f"at most {metadata['max']}", "a" * (metadata["max"] + 1)
        if is_json:
            yield "", "type", {"no": "text"}
    if kind in ("integer", "long"):
        if "min" in metadata:
            yield "", f"at least {metadata['min']}", metadata["min"] - 1
        if "max" in metadata and metadata["max"] < 2**31 - 1:
            yield "", f"at most {metadata['max']}", metadata["max"] + 1
    if kind in ("integer", "long", "boolean", "double") and is_json:
        yield "", "type", "no number" if kind != "boolean" else "no boolean"


def holds_nothing(value):
    """Whether a part of it is empty, and so not in a form."""
    if isinstance(value, dict):
        return not value or any(holds_nothing(inner) for inner in value.values())
    return isinstance(value, list) and (not value or any(holds_nothing(inner) for inner in value))


def encodable(value):
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: encodable(inner) for name, inner in value.items()}
    return [encodable(inner) for inner in value] if isinstance(value, list) else value


class Raw:
    """Sends an input as it is: botocore signs it, and looks at nothing."""

    def __init__(self, session, service, endpoint):
        self.model = session.get_service_model(service)
        self.client = session.create_client(service, endpoint_url=endpoint, config=Config(
            parameter_validation=False, retries={"max_attempts": 0}))
        self.is_json = self.model.metadata["protocol"] == "json"
        self.body = None
        self.client.meta.events.register("before-call", self.replace)

    def replace(self, params, **_):
        if self.body is not None:
            params["body"] = self.body

    def ask(self, operation, value):
        """The code of the refusal, its status and its message; `None` where it is accepted."""
        self.body = json.dumps(encodable(value)).encode() if self.is_json else None
        try:
            self.client._make_api_call(operation, {} if self.is_json else value)
        except ResponseParserError as error:
            return "no answer that can be read", 500, str(error)
        except ClientError as error:
            answer = error.response
            return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"].get("Message", "")
        return None


def break_everything(session, endpoint, offered):
    counts = {}
    for folder, operations in offered.items():
        raw = Raw(session, folder, endpoint)
        for name in operations:
            operation = raw.model.operation_model(name)
            if operation.input_shape is None:
                continue
            of = f"{raw.model.signing_name}:{name}"
            for path, why, value in broken(operation.input_shape, raw.is_json):
                # A form has no words for what is empty.
                if not raw.is_json and holds_nothing(value):
                    continue
                counts[of] = counts.get(of, 0) + 1
                refusal = raw.ask(name, value)
                if refusal is None:
                    findings.append({"input": of, "at": path, "breaks": why, "why": "it is accepted"})
                elif refusal[0] not in REFUSALS or refusal[1] >= 500:
                    findings.append({"input": of, "at": path, "breaks": why, "why": f"{refusal[0]}: {refusal[2]}"[:300]})
    return counts


# ---- Each operation, as it should be called.

def web_identity_token():
    url, token = os.environ["ACTIONS_ID_TOKEN_REQUEST_URL"], os.environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    request = urllib.request.Request(f"{url}&audience=sts.amazonaws.com", headers={"Authorization": f"Bearer {token}"})
    return json.load(urllib.request.urlopen(request))["value"]


def call_everything(session, endpoint):
    def client(service):
        made = session.create_client(service, endpoint_url=endpoint, config=Config(retries={"max_attempts": 0}))
        made.meta.events.register("before-parse", hold)
        return made

    iam, sts, ssm, secrets = client("iam"), client("sts"), client("ssm"), client("secretsmanager")
    logs, ecr, ecs, elb = client("logs"), client("ecr"), client("ecs"), client("elbv2")
    identity(iam, sts)
    parameters(ssm, secrets)
    streams(logs)
    repositories(ecr)
    cluster(ecs, elb)
    shell(ecs, ssm)
    client("cloudformation").describe_stacks(StackName="Base")
    rds = client("rds")
    rds.create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="fargate-deploy-1")
    rds.describe_db_snapshots(DBSnapshotIdentifier="fargate-deploy-1")


def identity(iam, sts):
    host = "token.actions.githubusercontent.com"
    iam.create_open_id_connect_provider(Url=f"https://{host}", ClientIDList=["sts.amazonaws.com"])
    arn = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"][0]["Arn"]
    iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="other")
    account = arn.split(":")[4]

    def trust(principal, action, condition=None):
        statement = {"Effect": "Allow", "Principal": principal, "Action": action}
        if condition:
            statement["Condition"] = condition
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    audience = {"StringEquals": {f"{host}:aud": "sts.amazonaws.com"}}
    by_github = trust({"Federated": arn}, "sts:AssumeRoleWithWebIdentity", audience)
    iam.create_role(RoleName="first", AssumeRolePolicyDocument=by_github, Description="a", MaxSessionDuration=7200,
                    Tags=[{"Key": "a", "Value": "b"}])
    first = f"arn:aws:iam::{account}:role/first"
    iam.create_role(RoleName="second", AssumeRolePolicyDocument=trust({"AWS": first}, "sts:AssumeRole"))
    allowed = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]})
    iam.put_role_policy(RoleName="first", PolicyName="chain", PolicyDocument=allowed)
    iam.get_role_policy(RoleName="first", PolicyName="chain")
    iam.list_role_policies(RoleName="first")
    managed = iam.create_policy(PolicyName="limit", PolicyDocument=allowed, Path="/teams/")["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="first", PolicyArn=managed)
    iam.list_attached_role_policies(RoleName="first")
    iam.detach_role_policy(RoleName="first", PolicyArn=managed)
    iam.put_role_permissions_boundary(RoleName="first", PermissionsBoundary=managed)
    iam.simulate_principal_policy(PolicySourceArn=first, ActionNames=["sts:AssumeRole", "ecs:RunTask"])
    iam.get_role(RoleName="first")
    iam.list_roles()
    iam.update_role(RoleName="first", Description="b")
    iam.delete_role_permissions_boundary(RoleName="first")
    iam.update_assume_role_policy(RoleName="first", PolicyDocument=by_github)
    sts.get_caller_identity()
    session = sts.assume_role_with_web_identity(
        RoleArn=first, RoleSessionName="job", WebIdentityToken=web_identity_token())["Credentials"]
    as_first = botocore.session.get_session()
    as_first.set_credentials(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
    chained = as_first.create_client("sts", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    chained.meta.events.register("before-parse", hold)
    chained.assume_role(RoleArn=f"arn:aws:iam::{account}:role/second", RoleSessionName="job")
    iam.delete_role_policy(RoleName="first", PolicyName="chain")
    for role in ("first", "second"):
        iam.delete_role(RoleName=role)
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def parameters(ssm, secrets):
    ssm.put_parameter(Name="/shop/a", Value="1", Type="String", Tags=[{"Key": "a", "Value": "b"}])
    ssm.put_parameter(Name="/shop/a", Value="2", Type="String", Overwrite=True)
    ssm.put_parameter(Name="/shop/b", Value="3", Type="SecureString")
    ssm.label_parameter_version(Name="/shop/a", ParameterVersion=1, Labels=["good"])
    ssm.get_parameter(Name="/shop/a:good")
    ssm.get_parameters(Names=["/shop/a", "/shop/b", "/shop/none"], WithDecryption=True)
    ssm.get_parameter_history(Name="/shop/a")
    ssm.get_parameters_by_path(Path="/shop", Recursive=True)
    of = {"ResourceType": "Parameter", "ResourceId": "/shop/a"}
    ssm.add_tags_to_resource(Tags=[{"Key": "c", "Value": "d"}], **of)
    ssm.list_tags_for_resource(**of)
    ssm.remove_tags_from_resource(TagKeys=["c"], **of)
    ssm.delete_parameter(Name="/shop/a")
    ssm.delete_parameters(Names=["/shop/b", "/shop/none"])
    secret = secrets.create_secret(Name="shop/db", SecretString="{}")["ARN"]
    secrets.put_secret_value(SecretId=secret, SecretString='{"a":"b"}')
    secrets.get_secret_value(SecretId=secret)
    secrets.describe_secret(SecretId="shop/db")
    secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)


def streams(logs):
    logs.create_log_group(logGroupName="/ecs/web")
    arn = logs.describe_log_groups(logGroupNamePrefix="/ecs")["logGroups"][0]["arn"].removesuffix(":*")
    logs.tag_resource(resourceArn=arn, tags={"a": "b"})
    logs.tag_log_group(logGroupName="/ecs/web", tags={"c": "d"})
    logs.put_retention_policy(logGroupName="/ecs/web", retentionInDays=14)
    of = {"logGroupName": "/ecs/web", "logStreamName": "web/app/1"}
    logs.create_log_stream(**of)
    logs.put_log_events(logEvents=[{"timestamp": 1_700_000_000_000 + n, "message": f"line {n}"} for n in range(3)], **of)
    logs.describe_log_streams(logGroupName="/ecs/web")
    logs.get_log_events(startFromHead=True, **of)
    logs.filter_log_events(logGroupName="/ecs/web", filterPattern="line", limit=2)
    logs.create_log_group(logGroupName="/ecs/other")
    logs.delete_log_group(logGroupName="/ecs/other")


def repositories(ecr):
    ecr.get_authorization_token()
    arn = ecr.create_repository(repositoryName="shop/web", imageScanningConfiguration={"scanOnPush": True},
                                tags=[{"Key": "a", "Value": "b"}])["repository"]["repositoryArn"]
    ecr.describe_repositories()
    ecr.list_tags_for_resource(resourceArn=arn)
    ecr.put_image_tag_mutability(repositoryName="shop/web", imageTagMutability="MUTABLE")
    policy = json.dumps({"rules": [{"rulePriority": 1, "selection": {
        "tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 5}, "action": {"type": "expire"}}]})
    ecr.put_lifecycle_policy(repositoryName="shop/web", lifecyclePolicyText=policy)
    ecr.get_lifecycle_policy(repositoryName="shop/web")
    ecr.batch_check_layer_availability(repositoryName="shop/web", layerDigests=["sha256:" + "0" * 64])
    index = "application/vnd.oci.image.index.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": index, "manifests": []})
    ecr.put_image(repositoryName="shop/web", imageManifest=manifest, imageManifestMediaType=index, imageTag="v1")
    ecr.list_images(repositoryName="shop/web")
    ecr.describe_images(repositoryName="shop/web")
    ecr.batch_get_image(repositoryName="shop/web", imageIds=[{"imageTag": "v1"}, {"imageTag": "none"}])
    ecr.get_download_url_for_layer(repositoryName="shop/web", layerDigest=pushed_layer(ecr, "shop/web"))
    ecr.batch_delete_image(repositoryName="shop/web", imageIds=[{"imageTag": "v1"}, {"imageTag": "none"}])
    ecr.delete_repository(repositoryName="shop/web", force=True)


def pushed_layer(ecr, repository):
    """A layer that came over the registry's own protocol."""
    login = ecr.get_authorization_token()["authorizationData"][0]
    layer = b"a layer"
    digest = "sha256:" + hashlib.sha256(layer).hexdigest()

    def send(method, url, body=None):
        request = urllib.request.Request(url, data=body, method=method, headers={
            "Authorization": "Basic " + login["authorizationToken"], "Content-Type": "application/octet-stream"})
        return urllib.request.urlopen(request)

    begun = send("POST", f"{login['proxyEndpoint']}/v2/{repository}/blobs/uploads/", b"").headers["Location"]
    place = urllib.parse.urljoin(login["proxyEndpoint"], begun)
    send("PUT", place + ("&" if "?" in place else "?") + "digest=" + digest, layer)
    return digest


def shell(ecs, ssm):
    """A session in a running container, which is gone on with and ended."""
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "ENABLED"}}
    arn = ecs.register_task_definition(
        family="shell", cpu="256", memory="512", networkMode="awsvpc", requiresCompatibilities=["FARGATE"],
        taskRoleArn=os.environ["STRICT_TASK_ROLE"], containerDefinitions=[
            {"name": "app", "image": os.environ["STRICT_IMAGE"], "command": ["/bin/sh", "-c", "sleep 600"]}],
    )["taskDefinition"]["taskDefinitionArn"]
    task = ecs.run_task(cluster="shop", taskDefinition=arn, launchType="FARGATE", networkConfiguration=network,
                        enableExecuteCommand=True)["tasks"][0]["taskArn"]

    def is_ready():
        containers = ecs.describe_tasks(cluster="shop", tasks=[task])["tasks"][0]["containers"]
        return any(agent["lastStatus"] == "RUNNING" for c in containers for agent in c.get("managedAgents", []))

    wait(is_ready)
    session = ecs.execute_command(
        cluster="shop", task=task, container="app", interactive=True, command="/bin/sh")["session"]["sessionId"]
    ssm.resume_session(SessionId=session)
    ssm.terminate_session(SessionId=session)
    ecs.stop_task(cluster="shop", task=task)


def cluster(ecs, elb):
    ecs.create_cluster(clusterName="shop")
    ecs.describe_clusters(clusters=["shop", "none"])
    ecs.list_clusters()
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "ENABLED"}}
    group = elb.create_target_group(
        Name="web", Protocol="HTTP", Port=3000, TargetType="ip", VpcId="vpc-1")["TargetGroups"][0]["TargetGroupArn"]
    elb.describe_target_groups(TargetGroupArns=[group])
    elb.modify_target_group(TargetGroupArn=group, HealthCheckPath="/health")
    elb.describe_target_health(TargetGroupArn=group)
    elb.describe_target_group_attributes(TargetGroupArn=group)
    elb.modify_target_group_attributes(
        TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "5"}])
    container = {"name": "app", "image": os.environ["STRICT_IMAGE"], "command": ["/bin/sh", "-c", "sleep 600"],
                 "portMappings": [{"containerPort": 3000}], "environment": [{"name": "A", "value": "b"}],
                 "linuxParameters": {"initProcessEnabled": True}}
    definition = {"family": "web", "cpu": "256", "memory": "512", "networkMode": "awsvpc",
                  "requiresCompatibilities": ["FARGATE"], "containerDefinitions": [container]}
    arn = ecs.register_task_definition(**definition, tags=[{"key": "a", "value": "b"}])["taskDefinition"]["taskDefinitionArn"]
    ecs.describe_task_definition(taskDefinition="web", include=["TAGS"])
    ecs.list_task_definitions(familyPrefix="web")
    ecs.list_task_definition_families()
    ecs.list_tags_for_resource(resourceArn=arn)
    ecs.tag_resource(resourceArn=arn, tags=[{"key": "c", "value": "d"}])
    ecs.untag_resource(resourceArn=arn, tagKeys=["c"])
    task = ecs.run_task(cluster="shop", taskDefinition=arn, launchType="FARGATE", networkConfiguration=network,
                        startedBy="me", tags=[{"key": "a", "value": "b"}])["tasks"][0]["taskArn"]
    ecs.list_tasks(cluster="shop")
    ecs.describe_tasks(cluster="shop", tasks=[task], include=["TAGS"])
    ecs.stop_task(cluster="shop", task=task, reason="enough")
    ecs.create_service(cluster="shop", serviceName="web", taskDefinition=arn, desiredCount=0, launchType="FARGATE",
                       networkConfiguration=network, deploymentConfiguration={
                           "deploymentCircuitBreaker": {"enable": True, "rollback": True},
                           "minimumHealthyPercent": 100, "maximumPercent": 200})
    ecs.update_service(cluster="shop", service="web", forceNewDeployment=True)
    ecs.describe_services(cluster="shop", services=["web", "none"])
    ecs.list_services(cluster="shop")
    deployments = ecs.list_service_deployments(cluster="shop", service="web")["serviceDeployments"]
    shown = ecs.describe_service_deployments(serviceDeploymentArns=[deployments[0]["serviceDeploymentArn"]])
    revision = shown["serviceDeployments"][0]["targetServiceRevision"]["arn"]
    ecs.describe_service_revisions(serviceRevisionArns=[revision])
    stop_and_continue(ecs, arn, network)
    ecs.delete_service(cluster="shop", service="web", force=True)
    ecs.deregister_task_definition(taskDefinition=arn)
    elb.delete_target_group(TargetGroupArn=group)
    ecs.create_cluster(clusterName="empty")
    ecs.delete_cluster(cluster="empty")


def stop_and_continue(ecs, arn, network):
    """A deployment that is told to go back while it goes on, and one that a person lets go on."""
    ecs.create_service(cluster="shop", serviceName="slow", taskDefinition=arn, desiredCount=1, launchType="FARGATE",
                       networkConfiguration=network)
    latest = ecs.list_service_deployments(cluster="shop", service="slow")["serviceDeployments"][0]
    ecs.stop_service_deployment(serviceDeploymentArn=latest["serviceDeploymentArn"], stopType="ROLLBACK")
    hooked = {"strategy": "BLUE_GREEN", "lifecycleHooks": [
        {"targetType": "PAUSE", "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"]}]}
    ecs.create_service(cluster="shop", serviceName="hooked", taskDefinition=arn, desiredCount=1, launchType="FARGATE",
                       networkConfiguration=network, deploymentConfiguration=hooked)
    wait(lambda: ecs.list_service_deployments(
        cluster="shop", service="hooked")["serviceDeployments"][0]["status"] == "SUCCESSFUL")
    ecs.update_service(cluster="shop", service="hooked", forceNewDeployment=True)

    def paused():
        latest = ecs.list_service_deployments(cluster="shop", service="hooked")["serviceDeployments"][0]
        arns = [latest["serviceDeploymentArn"]]
        shown = ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"][0]
        hooks = [hook for hook in shown.get("lifecycleHookDetails", []) if hook.get("hookId")]
        return (arns[0], hooks[0]["hookId"]) if hooks else None

    deployment, hook = wait(paused)
    ecs.continue_service_deployment(serviceDeploymentArn=deployment, hookId=hook, action="CONTINUE")


def wait(condition):
    import time
    for _ in range(600):
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit("never came")


def main():
    table = json.load(open(sys.argv[1]))["services"]
    folders = {"elasticloadbalancing": "elbv2"}
    offered = {folders.get(name, name): list(service["operations"]) for name, service in table.items()}
    session = botocore.session.get_session()
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    call_everything(session, endpoint)
    names = {f"{session.get_service_model(folder).signing_name}:{operation}"
             for folder, operations in offered.items() for operation in operations}
    for name in sorted(names - answered):
        findings.append({"answer": name, "why": "it was never answered well"})
    counts = break_everything(session, endpoint, offered)
    print(json.dumps({"operations": len(names), "answered": len(answered & names), "broken": sum(counts.values()),
                      "findings": findings}))
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
