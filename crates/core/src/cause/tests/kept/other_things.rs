//! Words of a cause in a line that is about something else.

use super::{exits, migrates};
use crate::cause::tests::decoys::Decoy;

pub(super) fn of_other_things() -> Vec<Decoy> {
    vec![
        (
            "connection-refused",
            exits(
                1,
                r#"
Traceback (most recent call last):
  File "/app/shop/cache.py", line 20, in get
    return self._local[key]
KeyError: 'ORDERS'
During handling of the above exception, another exception occurred:
Traceback (most recent call last):
  File "/app/main.py", line 8, in <module>
    cache.get("ORDERS")
redis.exceptions.ConnectionError: Error 111 connecting to cache.internal:6379. Connection refused.
"#,
            ),
            &["cache.internal"],
            &["`ORDERS`"],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
Traceback (most recent call last):
  File "/app/rates.py", line 12, in load
    return RATES[code]
KeyError: 'EUR'
"#,
            ),
            &["EUR"],
            &["the variable `"],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
/app/dist/i18n.js:14
module.exports = { locale: DEFAULT_LOCALE };
                           ^
ReferenceError: DEFAULT_LOCALE is not defined
    at Object.<anonymous> (/app/dist/i18n.js:14:28)
Node.js v20.11.0
"#,
            ),
            &["DEFAULT_LOCALE"],
            &["variable `", "environment"],
        ),
        (
            "invalid-variable",
            exits(
                2,
                r#"
panic: environment variable PORT must be a number, got "tcp://10.0.0.1:80"
goroutine 1 [running]:
"#,
            ),
            &[],
            &["is not set"],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
FATAL: SSL is required by the server
"#,
            ),
            &[],
            &["`SSL`"],
        ),
        (
            "missing-variable",
            exits(
                1,
                r#"
ERROR session timeout expired for user admin
FATAL: JWT_SECRET must be set
"#,
            ),
            &["JWT_SECRET"],
            &["does not answer"],
        ),
        (
            "application-error",
            migrates(
                1,
                r#"
ERROR: invalid value for parameter "lock_timeout": "abc"
"#,
            ),
            &[],
            &["another session"],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
Error: can't acquire file lock on /data/LOCK: resource temporarily unavailable
"#,
            ),
            &[],
            &["another migration"],
        ),
        (
            "connection-refused",
            exits(
                1,
                r#"
There are no pending migrations
Error: connect ECONNREFUSED 10.1.1.1:9092
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1606:16)
"#,
            ),
            &["10.1.1.1"],
            &["migrations are pending"],
        ),
        (
            "database-unreachable",
            exits(
                1,
                r#"
MongoServerSelectionError: connection <monitor> to 3.1.2.3:27017 closed
    at Topology.selectServer (/app/node_modules/mongodb/lib/sdam/topology.js:326:38)
"#,
            ),
            &[],
            &["does not answer in time"],
        ),
        (
            "database-without-tls",
            exits(
                2,
                r#"
panic: pq: SSL is not enabled on the server
"#,
            ),
            &[],
            &["takes encrypted connections only"],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
/app/config/boot.rb:9:in `fetch': key not found: :payments (KeyError)
"#,
            ),
            &["payments"],
            &["variable `"],
        ),
        (
            "missing-variable",
            exits(
                1,
                r#"
INFO jvm options: -XX:+ExitOnOutOfMemoryError
java.lang.IllegalStateException: Required environment variable PAYMENT_URL is not set
"#,
            ),
            &["PAYMENT_URL"],
            &["memory"],
        ),
        (
            "application-error",
            migrates(
                255,
                r#"
INFO  [alembic.runtime.migration] Context impl PostgresqlImpl.
INFO  [alembic.runtime.migration] Will assume transactional DDL.
ERROR [alembic.util.messaging] Can't locate revision identified by '4f2b11aa90cd'
  FAILED: Can't locate revision identified by '4f2b11aa90cd'
"#,
            ),
            &["4f2b11aa90cd"],
            &["is not in the image", "exec format", "file `"],
        ),
        (
            "already-migrated",
            migrates(
                1,
                r#"
Error: P3018
A migration failed to apply. New migrations cannot be applied before the error is recovered from.
Migration name: 20240101_init
Database error code: 42P07
Database error:
ERROR: relation "users" already exists
"#,
            ),
            &["users"],
            &[],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
botocore.exceptions.ClientError: An error occurred (AccessDenied) when calling the GetObject operation: Access Denied
"#,
            ),
            &["GetObject"],
            &["execution role"],
        ),
    ]
}
