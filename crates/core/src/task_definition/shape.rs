//! What AWS's API model says about every member of a task definition: its JSON type, whether it must be there, the value
//! that AWS assumes without it, and what tells the items of a list apart.
//!
//! Validation and comparison both walk this one table. A member that is not in it is newer than this program: it is
//! compared as it is written, and never refused.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html>

use serde_json::{Number, Value};

/// A member of an object of the API.
#[derive(Debug)]
pub struct Member {
    pub name: &'static str,
    pub kind: Kind,
    pub is_required: bool,
    /// What AWS takes where it is missing, and may write out in its answers.
    pub default: Option<Default>,
}

#[derive(Debug)]
pub enum Kind {
    Text,
    /// 32 bits, as everywhere in this API.
    Integer,
    Flag,
    /// Names and texts that are the user's own.
    TextMap,
    /// One of the texts that the API model lists; AWS adds to such lists.
    OneOf(&'static [&'static str]),
    List(&'static Kind, Items),
    Object(&'static [Member]),
}

#[derive(Clone, Copy, Debug)]
pub enum Default {
    Flag(bool),
    Integer(i64),
    Text(&'static str),
}

/// What tells the items of a list apart.
#[derive(Clone, Copy, Debug)]
pub enum Items {
    /// Their places: the order is part of the meaning.
    Ordered,
    /// Their values: a set.
    Set,
    /// These members of theirs: AWS may answer in another order.
    By(&'static [&'static str]),
}

impl Default {
    pub fn is(self, value: &Value) -> bool {
        match self {
            Default::Flag(flag) => value.as_bool() == Some(flag),
            Default::Integer(number) => integer(value) == Some(number),
            Default::Text(text) => value.as_str() == Some(text),
        }
    }
}

impl Member {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_required: false, default: None }
    }

    const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    const fn or(mut self, default: Default) -> Self {
        self.default = Some(default);
        self
    }
}

/// A whole number that AWS reads as one: `30`, also written `30.0` or `3e1`.
pub fn integer(value: &Value) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    number.as_i64().or_else(|| whole(number))
}

fn whole(number: &Number) -> Option<i64> {
    let float = number.as_f64()?;
    (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64)
}

const fn text(name: &'static str) -> Member {
    Member::new(name, Kind::Text)
}

const fn number(name: &'static str) -> Member {
    Member::new(name, Kind::Integer)
}

const fn flag(name: &'static str) -> Member {
    Member::new(name, Kind::Flag).or(Default::Flag(false))
}

const fn map(name: &'static str) -> Member {
    Member::new(name, Kind::TextMap)
}

const fn one_of(name: &'static str, texts: &'static [&'static str]) -> Member {
    Member::new(name, Kind::OneOf(texts))
}

const fn list(name: &'static str, of: &'static Kind, items: Items) -> Member {
    Member::new(name, Kind::List(of, items))
}

const fn object(name: &'static str, members: &'static [Member]) -> Member {
    Member::new(name, Kind::Object(members))
}

pub static TASK: &[Member] = &[
    text("family"),
    text("taskRoleArn"),
    text("executionRoleArn"),
    one_of("networkMode", &["awsvpc", "bridge", "host", "none"]),
    list("containerDefinitions", &Kind::Object(CONTAINER), Items::By(&["name"])),
    list("volumes", &Kind::Object(VOLUME), Items::By(&["name"])),
    list("placementConstraints", &Kind::Object(PLACEMENT), Items::Set),
    list("requiresCompatibilities", &Kind::OneOf(&["EC2", "EXTERNAL", "FARGATE", "MANAGED_INSTANCES"]), Items::Set),
    text("cpu"),
    text("memory"),
    one_of("pidMode", &["host", "task"]),
    one_of("ipcMode", &["host", "none", "task"]),
    object("proxyConfiguration", PROXY),
    list("inferenceAccelerators", &Kind::Object(ACCELERATOR), Items::By(&["deviceName"])),
    object("ephemeralStorage", &[number("sizeInGiB").required().or(Default::Integer(20))]),
    object("runtimePlatform", PLATFORM),
    flag("enableFaultInjection"),
];

static PLACEMENT: &[Member] = &[one_of("type", &["memberOf"]), text("expression")];

static PROXY: &[Member] = &[
    one_of("type", &["APPMESH"]).or(Default::Text("APPMESH")),
    text("containerName").required(),
    list("properties", &Kind::Object(PAIR), Items::By(&["name"])),
];

static ACCELERATOR: &[Member] = &[text("deviceName").required(), text("deviceType").required()];

/// Operating systems are added every year: whichever is not listed is left to AWS.
static PLATFORM: &[Member] = &[
    one_of("cpuArchitecture", &["ARM64", "X86_64"]).or(Default::Text("X86_64")),
    one_of(
        "operatingSystemFamily",
        &[
            "LINUX",
            "WINDOWS_SERVER_2004_CORE",
            "WINDOWS_SERVER_2016_FULL",
            "WINDOWS_SERVER_2019_CORE",
            "WINDOWS_SERVER_2019_FULL",
            "WINDOWS_SERVER_2022_CORE",
            "WINDOWS_SERVER_2022_FULL",
            "WINDOWS_SERVER_2025_CORE",
            "WINDOWS_SERVER_2025_FULL",
            "WINDOWS_SERVER_20H2_CORE",
        ],
    )
    .or(Default::Text("LINUX")),
];

static PAIR: &[Member] = &[text("name"), text("value")];
static SECRET: &[Member] = &[text("name").required(), text("valueFrom").required()];

static VOLUME: &[Member] = &[
    text("name").required(),
    object("host", &[text("sourcePath")]),
    flag("configuredAtLaunch"),
    object("dockerVolumeConfiguration", DOCKER_VOLUME),
    object("efsVolumeConfiguration", EFS),
    object("fsxWindowsFileServerVolumeConfiguration", FSX),
    object("s3filesVolumeConfiguration", S3_FILES),
];

static DOCKER_VOLUME: &[Member] = &[
    one_of("scope", &["shared", "task"]).or(Default::Text("task")),
    flag("autoprovision"),
    text("driver"),
    map("driverOpts"),
    map("labels"),
];

static EFS: &[Member] = &[
    text("fileSystemId").required(),
    text("rootDirectory").or(Default::Text("/")),
    one_of("transitEncryption", &["ENABLED", "DISABLED"]).or(Default::Text("DISABLED")),
    number("transitEncryptionPort"),
    object(
        "authorizationConfig",
        &[text("accessPointId"), one_of("iam", &["ENABLED", "DISABLED"]).or(Default::Text("DISABLED"))],
    ),
];

static FSX: &[Member] = &[
    text("fileSystemId").required(),
    text("rootDirectory").required(),
    object("authorizationConfig", &[text("credentialsParameter").required(), text("domain").required()]),
];

static S3_FILES: &[Member] = &[
    text("fileSystemArn").required(),
    text("rootDirectory").or(Default::Text("/")),
    number("transitEncryptionPort"),
    text("accessPointArn"),
];

static CONTAINER: &[Member] = &[
    text("name"),
    text("image"),
    object("repositoryCredentials", &[text("credentialsParameter").required()]),
    number("cpu").or(Default::Integer(0)),
    number("memory"),
    number("memoryReservation"),
    list("links", &Kind::Text, Items::Set),
    list("portMappings", &Kind::Object(PORT), Items::By(&["containerPort", "containerPortRange", "protocol"])),
    Member::new("essential", Kind::Flag).or(Default::Flag(true)),
    object("restartPolicy", RESTART),
    list("entryPoint", &Kind::Text, Items::Ordered),
    list("command", &Kind::Text, Items::Ordered),
    list("environment", &Kind::Object(PAIR), Items::By(&["name"])),
    list("environmentFiles", &Kind::Object(FILE), Items::Ordered),
    list("mountPoints", &Kind::Object(MOUNT), Items::By(&["containerPath"])),
    list("volumesFrom", &Kind::Object(VOLUME_FROM), Items::By(&["sourceContainer"])),
    object("linuxParameters", LINUX),
    list("secrets", &Kind::Object(SECRET), Items::By(&["name"])),
    list("dependsOn", &Kind::Object(DEPENDENCY), Items::By(&["containerName"])),
    number("startTimeout"),
    number("stopTimeout"),
    one_of("versionConsistency", &["enabled", "disabled"]).or(Default::Text("enabled")),
    text("hostname"),
    text("user"),
    text("workingDirectory"),
    flag("disableNetworking"),
    flag("privileged"),
    flag("readonlyRootFilesystem"),
    list("dnsServers", &Kind::Text, Items::Ordered),
    list("dnsSearchDomains", &Kind::Text, Items::Ordered),
    list("extraHosts", &Kind::Object(HOST), Items::By(&["hostname"])),
    list("dockerSecurityOptions", &Kind::Text, Items::Set),
    flag("interactive"),
    flag("pseudoTerminal"),
    map("dockerLabels"),
    list("ulimits", &Kind::Object(ULIMIT), Items::By(&["name"])),
    object("logConfiguration", LOG),
    object("healthCheck", HEALTH),
    list("systemControls", &Kind::Object(&[text("namespace"), text("value")]), Items::By(&["namespace"])),
    list("resourceRequirements", &Kind::Object(RESOURCE), Items::By(&["type"])),
    object("firelensConfiguration", FIRELENS),
    list("credentialSpecs", &Kind::Text, Items::Ordered),
];

static PORT: &[Member] = &[
    number("containerPort"),
    number("hostPort"),
    one_of("protocol", &["tcp", "udp"]).or(Default::Text("tcp")),
    text("name"),
    one_of("appProtocol", &["grpc", "http", "http2"]),
    text("containerPortRange"),
];

static RESTART: &[Member] = &[
    Member::new("enabled", Kind::Flag).required(),
    list("ignoredExitCodes", &Kind::Integer, Items::Set),
    number("restartAttemptPeriod").or(Default::Integer(300)),
];

static FILE: &[Member] = &[text("value").required(), one_of("type", &["s3"]).required()];

static MOUNT: &[Member] = &[text("sourceVolume"), text("containerPath"), flag("readOnly")];

static VOLUME_FROM: &[Member] = &[text("sourceContainer"), flag("readOnly")];

static LINUX: &[Member] = &[
    object("capabilities", &[list("add", &Kind::Text, Items::Set), list("drop", &Kind::Text, Items::Set)]),
    list("devices", &Kind::Object(DEVICE), Items::By(&["hostPath"])),
    flag("initProcessEnabled"),
    number("sharedMemorySize"),
    list("tmpfs", &Kind::Object(TMPFS), Items::By(&["containerPath"])),
    number("maxSwap"),
    number("swappiness"),
];

static DEVICE: &[Member] = &[
    text("hostPath").required(),
    text("containerPath"),
    list("permissions", &Kind::OneOf(&["read", "write", "mknod"]), Items::Set),
];

static TMPFS: &[Member] =
    &[text("containerPath").required(), number("size").required(), list("mountOptions", &Kind::Text, Items::Set)];

pub static CONDITIONS: &[&str] = &["START", "COMPLETE", "SUCCESS", "HEALTHY"];

static DEPENDENCY: &[Member] = &[text("containerName").required(), one_of("condition", CONDITIONS).required()];

static HOST: &[Member] = &[text("hostname").required(), text("ipAddress").required()];

static ULIMIT: &[Member] = &[
    one_of(
        "name",
        &[
            "core",
            "cpu",
            "data",
            "fsize",
            "locks",
            "memlock",
            "msgqueue",
            "nice",
            "nofile",
            "nproc",
            "rss",
            "rtprio",
            "rttime",
            "sigpending",
            "stack",
        ],
    )
    .required(),
    number("softLimit").required(),
    number("hardLimit").required(),
];

static LOG: &[Member] = &[
    one_of("logDriver", &["awsfirelens", "awslogs", "fluentd", "gelf", "journald", "json-file", "splunk", "syslog"])
        .required(),
    map("options"),
    list("secretOptions", &Kind::Object(SECRET), Items::By(&["name"])),
];

static HEALTH: &[Member] = &[
    list("command", &Kind::Text, Items::Ordered).required(),
    number("interval").or(Default::Integer(30)),
    number("timeout").or(Default::Integer(5)),
    number("retries").or(Default::Integer(3)),
    number("startPeriod").or(Default::Integer(0)),
];

static RESOURCE: &[Member] =
    &[text("value").required(), one_of("type", &["GPU", "InferenceAccelerator", "NeuronDevice"]).required()];

static FIRELENS: &[Member] = &[one_of("type", &["fluentbit", "fluentd"]).required(), map("options")];
