//! Programs and migrations that end by themselves, in their own words.

use super::says;
use crate::cause::tests::decoys::{Decoy, crashed, noisy};
use crate::cause::tests::{command, ended, with};
use crate::cause::{Seen, SeenLine};

fn migrates(lines: &[&str]) -> Seen {
    with(command(1, &[]), |s| s.container_mut("app").log = noisy(lines))
}

/// Its own words at its end.
pub(super) fn of_programs() -> Vec<Decoy> {
    vec![
        (
            "missing-variable",
            says(101, &["thread 'main' panicked at src/main.rs:12:45:", "DATABASE_URL must be set: NotPresent"]),
            &["DATABASE_URL"],
            &["panicked", "permission"],
        ),
        (
            "missing-variable",
            crashed(&[
                "{\"level\":60,\"time\":1764500000,\"msg\":\"environment variable \\\"STRIPE_KEY\\\" is not set\"}",
            ]),
            &["`STRIPE_KEY`"],
            &["FEATURE_FLAGS"],
        ),
        (
            "missing-variable",
            crashed(&[
                "pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings",
                "database_url",
                "  Field required [type=missing, input_value={}, input_type=dict]",
                "    For further information visit https://errors.pydantic.dev/2.9/v/missing",
            ]),
            &["`DATABASE_URL`"],
            &["FEATURE_FLAGS"],
        ),
        (
            "missing-variable",
            crashed(&[
                "================================",
                " Missing environment variables:",
                "    STRIPE_KEY: undefined (eg. \"sk_live\")",
                "================================",
                " Exiting with error code 1",
            ]),
            &["`STRIPE_KEY`"],
            &["FEATURE_FLAGS"],
        ),
        (
            "missing-variable",
            crashed(&[
                "Traceback (most recent call last):",
                "  File \"/app/manage.py\", line 22, in <module>",
                "decouple.UndefinedValueError: SECRET_KEY not found. Declare it as envvar or define a default value.",
            ]),
            &["`SECRET_KEY`"],
            &["/app/manage.py"],
        ),
        (
            "missing-variable",
            says(2, &["/entrypoint.sh: line 4: DATABASE_URL: parameter null or not set"]),
            &["`DATABASE_URL`"],
            &["/entrypoint.sh` is"],
        ),
        (
            "missing-variable",
            crashed(&[
                "❌ Invalid environment variables: [",
                "  {",
                "    code: 'invalid_type',",
                "    expected: 'string',",
                "    received: 'undefined',",
                "    path: [ 'STRIPE_KEY' ],",
                "    message: 'Required'",
                "  }",
                "]",
                "Error: Invalid environment variables",
            ]),
            &["`STRIPE_KEY`"],
            &["FEATURE_FLAGS"],
        ),
        (
            "missing-variable",
            crashed(&[
                "** (RuntimeError) environment variable SECRET_KEY_BASE is missing.",
                "You can generate one by calling: mix phx.gen.secret",
                "    /app/releases/0.1.0/runtime.exs:42: (file)",
            ]),
            &["`SECRET_KEY_BASE`"],
            &["/app/releases"],
        ),
        (
            "missing-variable",
            crashed(&[
                "***************************",
                "APPLICATION FAILED TO START",
                "Caused by: java.lang.IllegalArgumentException: Could not resolve placeholder 'DB_PASSWORD' in value \"${DB_PASSWORD}\"",
            ]),
            &["`DB_PASSWORD`"],
            &["login", "refuses"],
        ),
        (
            "connection-refused",
            crashed(&[
                "com.zaxxer.hikari.pool.HikariPool$PoolInitializationException: Failed to initialize pool: Connection to db.prod.internal:5432 refused. Check that the hostname and port are correct and that the postmaster is accepting TCP/IP connections.",
                "Caused by: java.net.ConnectException: Connection refused",
            ]),
            &["db.prod.internal:5432", "PostgreSQL"],
            &["security group", "permission"],
        ),
        (
            "host-unknown",
            crashed(&[
                "Caused by: java.net.UnknownHostException: rabbitmq: Name or service not known",
                "org.springframework.amqp.AmqpIOException: java.net.UnknownHostException: rabbitmq",
            ]),
            &["`rabbitmq`"],
            &["refuses", "security group"],
        ),
        (
            "connection-timeout",
            crashed(&[
                "MongooseServerSelectionError: connection timed out",
                "    at _handleConnectionErrors (/app/node_modules/mongoose/lib/connection.js:897:11)",
                "  reason: TopologyDescription { type: 'ReplicaSetNoPrimary' }",
            ]),
            &["MongoDB", "security group"],
            &["refuses"],
        ),
        (
            "connects-to-itself",
            crashed(&[
                "failed to connect to `host=localhost user=app database=app`: dial error (dial tcp 127.0.0.1:5432: connect: connection refused)",
            ]),
            &["127.0.0.1:5432", "own task"],
            &["security group"],
        ),
        (
            "database-login-failed",
            crashed(&[
                "Error: P1000: Authentication failed against database server, the provided database credentials for `app` are not valid.",
            ]),
            &["login"],
            &["security group", "does not answer"],
        ),
        (
            "database-wants-tls",
            crashed(&[
                "error: no pg_hba.conf entry for host \"10.0.1.5\", user \"app\", database \"shop\", no encryption",
            ]),
            &["encrypted"],
            &["password", "security group"],
        ),
        (
            "missing-file",
            crashed(&["panic: open /etc/app/config.yaml: no such file or directory", "goroutine 1 [running]:"]),
            &["/etc/app/config.yaml"],
            &["goroutine", "CRLF"],
        ),
        (
            "missing-module",
            crashed(&[
                "/app/bin/server: error while loading shared libraries: libpq.so.5: cannot open shared object file: No such file or directory",
            ]),
            &["libpq.so.5"],
            &["architecture"],
        ),
        (
            "port-privileged",
            crashed(&["Error: listen EACCES: permission denied 0.0.0.0:80"]),
            &["1024"],
            &["IAM", "in use"],
        ),
        (
            "crlf-in-entrypoint",
            says(127, &["env: can't execute 'bash\\r': No such file or directory"]),
            &["CRLF"],
            &["install it"],
        ),
        (
            "interpreter-missing",
            crashed(&["exec /app/entrypoint.sh: no such file or directory"]),
            &["CRLF", "interpreter"],
            &["copy it into the image"],
        ),
        (
            "node-heap-used-up",
            says(
                134,
                &[
                    "<--- Last few GCs --->",
                    "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
                ],
            ),
            &["heap"],
            &["SIGKILL", "OutOfMemoryError"],
        ),
        (
            "application-error",
            crashed(&["Error: JWT signature key must be at least 256 bits", "    at sign (/app/auth.js:3:9)"]),
            &["256 bits"],
            &["permission", "memory", "refused", "is not set"],
        ),
        (
            "essential-sidecar-ended",
            with(ended(143, &["Server listening on 0.0.0.0:8080"]), |s| {
                s.load_balanced = Some(("app".to_owned(), 8080));
                let agent = s.container_mut("datadog-agent");
                agent.exit_code = Some(1);
                agent.log = vec![SeenLine::from("ERROR | You must set an API key")];
            }),
            &["datadog-agent", "API key"],
            &["SIGTERM", "127.0.0.1"],
        ),
    ]
}

pub(super) fn of_migrations() -> Vec<Decoy> {
    vec![
        (
            "migration-already-running",
            migrates(&[
                "knex: Error: Migration table is already locked",
                "If you are sure that no migrations are running you can release the lock manually",
            ]),
            &["lock"],
            &["refuse", "memory"],
        ),
        (
            "migration-already-running",
            migrates(&["error: pq: timeout: can't acquire database lock"]),
            &["lock"],
            &["security group"],
        ),
        (
            "lock-timeout",
            migrates(&[
                "INFO  [alembic.runtime.migration] Running upgrade 1a -> 2b, add plan",
                "sqlalchemy.exc.OperationalError: (psycopg2.errors.LockNotAvailable) canceling statement due to lock timeout",
            ]),
            &["lock"],
            &["security group", "cannot be reached"],
        ),
        (
            "connection-timeout",
            migrates(&[
                "psycopg2.OperationalError: connection to server at \"db.prod\" (10.0.3.4), port 5432 failed: Connection timed out",
                "\tIs the server running on that host and accepting TCP/IP connections?",
            ]),
            &["PostgreSQL", "security group", "5432"],
            &["nothing listens"],
        ),
        (
            "already-migrated",
            migrates(&["django.db.utils.ProgrammingError: column \"plan\" of relation \"users\" already exists"]),
            &["`plan`"],
            &["does not exist"],
        ),
        (
            "command-unknown-to-program",
            migrates(&["npm error Missing script: \"migrate\"", "npm error To see a list of scripts, run: npm run"]),
            &["`migrate`"],
            &["permission"],
        ),
        (
            "application-error",
            migrates(&["ERROR:  column \"email\" of relation \"users\" contains null values"]),
            &["null values"],
            &["is not in the database", "migration that adds"],
        ),
    ]
}
