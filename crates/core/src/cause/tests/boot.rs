//! What programs say at their end.

use super::{Case, command, ended};

pub(super) fn cases() -> Vec<Case> {
    let traceback = &[
        "WARN could not connect to statsd 127.0.0.1:8125: Connection refused, continuing without metrics",
        "Traceback (most recent call last):",
        "  File \"/app/settings.py\", line 3, in <module>",
        "    KEY = os.environ[\"STRIPE_KEY\"]",
        "KeyError: 'STRIPE_KEY'",
        "During handling of the above exception, another exception occurred:",
        "Traceback (most recent call last):",
        "  File \"/app/wsgi.py\", line 9, in <module>",
        "RuntimeError: could not load settings: [Errno 2] No such file or directory: '/app/.env'",
    ];
    vec![
        ("missing-variable", "the first traceback of two", ended(1, traceback)),
        ("application-error", "a missing key of a dictionary is no variable", ended(1, &["KeyError: 'price'"])),
        ("missing-variable", "Prisma", ended(1, &["error: Environment variable not found: DATABASE_URL."])),
        (
            "missing-variable",
            "Rails",
            ended(
                1,
                &[
                    "ArgumentError: Missing `secret_key_base` for 'production' environment, set this string with `bin/rails credentials:edit`",
                ],
            ),
        ),
        (
            "missing-variable",
            "Django",
            ended(1, &["django.core.exceptions.ImproperlyConfigured: Set the SECRET_KEY environment variable"]),
        ),
        ("missing-variable", "Go", ended(1, &["panic: JWT_SECRET must be set"])),
        (
            "invalid-variable",
            "it is set, to something else",
            ended(2, &["panic: environment variable PORT must be a number, got \"tcp://10.0.0.1:80\""]),
        ),
        (
            "invalid-variable",
            "pydantic",
            ended(
                1,
                &[
                    "pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings",
                    "port",
                    "  Input should be a valid integer, unable to parse string as an integer [type=int_parsing, input_value='a', input_type=str]",
                ],
            ),
        ),
        ("application-error", "capitals alone are no variable", ended(1, &["FATAL: SSL is required by the server"])),
        (
            "database-without-tls",
            "the other way round than a database that takes nothing else",
            ended(2, &["panic: pq: SSL is not enabled on the server"]),
        ),
        (
            "missing-module",
            "Node.js",
            ended(
                1,
                &[
                    "node:internal/modules/cjs/loader:1080",
                    "  throw err;",
                    "Error: Cannot find module '/app/dist/main.js'",
                ],
            ),
        ),
        ("missing-module", "Python", ended(1, &["ModuleNotFoundError: No module named 'psycopg2'"])),
        (
            "missing-file",
            "a file",
            ended(1, &["FileNotFoundError: [Errno 2] No such file or directory: '/app/config.yml'"]),
        ),
        ("missing-file", "Node.js", ended(1, &["Error: ENOENT: no such file or directory, open '/app/config.json'"])),
        ("connection-refused", "another host", ended(1, &["Error: connect ECONNREFUSED 10.0.3.17:5432"])),
        ("connects-to-itself", "its own host", ended(1, &["Error: connect ECONNREFUSED 127.0.0.1:5432"])),
        (
            "connection-refused",
            "psycopg",
            ended(
                1,
                &[
                    "psycopg2.OperationalError: connection to server at \"db.internal\" (10.0.3.17), port 5432 failed: Connection refused",
                ],
            ),
        ),
        (
            "connection-timeout",
            "no answer",
            ended(
                1,
                &[
                    "psycopg2.OperationalError: connection to server at \"db.internal\" (10.0.3.17), port 5432 failed: Connection timed out",
                ],
            ),
        ),
        (
            "connection-timeout",
            "Go",
            ended(1, &["2026/11/30 10:00:00 failed to ping: dial tcp 10.0.3.17:5432: i/o timeout"]),
        ),
        (
            "host-unknown",
            "a name of compose",
            ended(
                1,
                &[
                    "psycopg2.OperationalError: could not translate host name \"db\" to address: Name or service not known",
                ],
            ),
        ),
        ("host-unknown", "Node.js", ended(1, &["Error: getaddrinfo ENOTFOUND redis"])),
        (
            "database-unreachable",
            "Prisma, for each of three",
            ended(1, &["Error: P1001: Can't reach database server at `db.internal:5432`"]),
        ),
        (
            "connects-to-itself",
            "Prisma, at its own host",
            ended(1, &["Error: P1001: Can't reach database server at `localhost:5432`"]),
        ),
        (
            "database-login-failed",
            "the password",
            ended(1, &["FATAL: password authentication failed for user \"shop\""]),
        ),
        (
            "database-wants-tls",
            "unencrypted",
            ended(
                1,
                &["FATAL: no pg_hba.conf entry for host \"10.0.1.5\", user \"shop\", database \"shop\", no encryption"],
            ),
        ),
        (
            "database-refuses-host",
            "encrypted, and not admitted",
            ended(1, &["FATAL: no pg_hba.conf entry for host \"10.0.1.5\", user \"shop\", database \"shop\", SSL on"]),
        ),
        (
            "database-connections-used-up",
            "slots",
            ended(1, &["FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute"]),
        ),
        ("database-missing", "no such database", ended(1, &["FATAL: database \"shop_prod\" does not exist"])),
        ("table-missing", "a migration has not run", ended(1, &["error: relation \"orders\" does not exist"])),
        ("column-missing", "schema and code differ", ended(1, &["error: column \"paid_at\" does not exist"])),
        (
            "migrations-pending",
            "Rails",
            ended(
                1,
                &[
                    "ActiveRecord::PendingMigrationError: Migrations are pending. To resolve this issue, run: bin/rails db:migrate",
                ],
            ),
        ),
        ("already-migrated", "half of a migration", command(1, &["ERROR: relation \"orders\" already exists"])),
        ("database-permission", "the database's own", ended(1, &["ERROR: permission denied for schema public"])),
        (
            "port-privileged",
            "below 1024",
            ended(1, &["nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)"]),
        ),
        ("port-in-use", "two containers", ended(1, &["Error: listen EADDRINUSE: address already in use :::8080"])),
        ("read-only-file-system", "read-only", ended(1, &["Error: EROFS: read-only file system, mkdir '/app/tmp'"])),
        (
            "file-access-denied",
            "the user, not IAM",
            ended(1, &["PermissionError: [Errno 13] Permission denied: '/data/cache'"]),
        ),
        (
            "permission-missing",
            "IAM, in the program's log",
            ended(
                1,
                &[
                    "botocore.exceptions.ClientError: An error occurred (AccessDenied) when calling the GetObject operation: User: arn:aws:sts::111122223333:assumed-role/shop-app/9c1e is not authorized to perform: s3:GetObject on resource: \"arn:aws:s3:::shop/x\" because no identity-based policy allows the s3:GetObject action",
                ],
            ),
        ),
        (
            "no-credentials",
            "no role at all",
            ended(1, &["botocore.exceptions.NoCredentialsError: Unable to locate credentials"]),
        ),
        ("storage-full", "the disk", ended(1, &["Error: ENOSPC: no space left on device, write"])),
        (
            "certificate-not-trusted",
            "RDS without its bundle",
            ended(1, &["Error: self-signed certificate in certificate chain"]),
        ),
        ("script-missing", "npm", ended(1, &["npm error Missing script: \"start:prod\""])),
        ("command-unknown-to-program", "a release command", command(1, &["npm error Missing script: \"migrate\""])),
        ("lock-timeout", "another session", command(1, &["ERROR: canceling statement due to lock timeout"])),
        ("statement-timeout", "too slow", command(1, &["ERROR: canceling statement due to statement timeout"])),
        (
            "migration-already-running",
            "Rails",
            command(
                1,
                &[
                    "ActiveRecord::ConcurrentMigrationError: Cannot run migrations because another migration process is currently running.",
                ],
            ),
        ),
        ("migration-already-running", "Knex", command(1, &["MigrationLocked: Migration table is already locked"])),
        ("migration-failed-before", "Go", command(1, &["error: Dirty database version 12. Fix and force version."])),
        ("connection-timeout", "of a migration", command(1, &["could not connect to server: Connection timed out"])),
        (
            "application-error",
            "what was tried again and worked is no cause",
            ended(
                1,
                &[
                    "Error: connect ECONNREFUSED 10.0.3.17:6379, retrying in 1 s",
                    "connected to redis",
                    "TypeError: x is not a function",
                ],
            ),
        ),
        (
            "application-error",
            "what is only informed of is no cause",
            ended(1, &["INFO permission denied for /metrics, 404 at 127.0.0.1:8080", "RuntimeError: boom"]),
        ),
    ]
}
