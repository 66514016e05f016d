//! Images that are somebody's data, or a tool of a developer's machine: what stands for them on AWS.

/// What an image of a compose file is, where it is no part of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Kept by AWS: what to create there.
    Managed { product: &'static str },
    /// Used while developing.
    Tool,
}

const MANAGED: [(&[&str], &str); 12] = [
    (&["postgres", "postgresql", "postgis", "pgvector", "timescaledb", "timescaledb-ha"], "RDS for PostgreSQL"),
    (&["mysql", "mysql-server", "percona"], "RDS for MySQL"),
    (&["mariadb"], "RDS for MariaDB"),
    (
        &["redis", "redis-stack", "redis-stack-server", "valkey", "keydb", "dragonfly"],
        "ElastiCache (Valkey or Redis OSS)",
    ),
    (&["memcached"], "ElastiCache for Memcached"),
    (&["mongo", "mongodb", "mongodb-community-server"], "Amazon DocumentDB, or MongoDB's own service"),
    (&["rabbitmq", "activemq"], "Amazon MQ"),
    (&["kafka", "cp-kafka", "redpanda", "zookeeper", "cp-zookeeper"], "Amazon MSK"),
    (&["elasticsearch", "opensearch"], "Amazon OpenSearch Service"),
    (&["minio"], "Amazon S3"),
    (&["clickhouse-server", "clickhouse"], "ClickHouse's own service, or a machine of yours"),
    (
        &["cassandra", "scylla", "couchdb", "neo4j", "influxdb", "mssql", "server:mssql", "oracle"],
        "a managed database of this kind",
    ),
];

const TOOLS: [&str; 19] = [
    "adminer",
    "pgadmin4",
    "pgadmin",
    "phpmyadmin",
    "mongo-express",
    "mailhog",
    "mailpit",
    "maildev",
    "mailcatcher",
    "redis-commander",
    "redisinsight",
    "localstack",
    "watchtower",
    "portainer",
    "portainer-ce",
    "dozzle",
    "ngrok",
    "kafka-ui",
    "opensearch-dashboards",
];

/// What an image's name says that it is.
pub(crate) fn of_image(image: &str) -> Option<Kind> {
    let name = image.split('@').next().unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let last = name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    if TOOLS.contains(&last.as_str()) {
        return Some(Kind::Tool);
    }
    if name.contains("mssql") {
        return Some(Kind::Managed { product: "RDS for SQL Server" });
    }
    MANAGED.iter().find(|(names, _)| names.contains(&last.as_str())).map(|(_, product)| Kind::Managed { product })
}

/// The variable and the product of a Heroku add-on or its like, `heroku-postgresql:mini`.
pub(crate) fn of_addon(plan: &str) -> Option<(&'static str, &'static str)> {
    const ADDONS: [(&str, &str, &str); 6] = [
        ("postgres", "DATABASE_URL", "RDS for PostgreSQL"),
        ("mysql", "DATABASE_URL", "RDS for MySQL"),
        ("redis", "REDIS_URL", "ElastiCache (Valkey or Redis OSS)"),
        ("memcach", "MEMCACHED_URL", "ElastiCache for Memcached"),
        ("mongo", "MONGODB_URI", "Amazon DocumentDB, or MongoDB's own service"),
        ("amqp", "CLOUDAMQP_URL", "Amazon MQ"),
    ];
    ADDONS.iter().find(|(part, ..)| plan.contains(part)).map(|(_, variable, product)| (*variable, *product))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_name() {
        let product = |image| match of_image(image) {
            Some(Kind::Managed { product }) => product,
            Some(Kind::Tool) => "tool",
            None => "",
        };
        assert_eq!(product("postgres:15-alpine"), "RDS for PostgreSQL");
        assert_eq!(product("docker.io/bitnami/postgresql@sha256:ab"), "RDS for PostgreSQL");
        assert_eq!(product("localhost:5000/redis"), "ElastiCache (Valkey or Redis OSS)");
        assert_eq!(product("adminer"), "tool");
        assert_eq!(product("ghcr.io/org/postgres-exporter:1"), "");
        assert_eq!(product("mcr.microsoft.com/mssql/server:2022"), "RDS for SQL Server");
    }
}
