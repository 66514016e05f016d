//! Logs as people report them of programs that many run.

use super::{exits, migrates};
use crate::cause::tests::decoys::Decoy;

pub(super) fn of_reports() -> Vec<Decoy> {
    vec![
        (
            "connection-refused",
            exits(
                1,
                r#"
Traceback (most recent call last):
  File "/usr/local/lib/python3.10/site-packages/kombu/connection.py", line 446, in _reraise_as_library_errors
    yield
  File "/usr/local/lib/python3.10/site-packages/amqp/transport.py", line 137, in _connect
    self.sock.connect(sa)
ConnectionRefusedError: [Errno 111] Connection refused
The above exception was the direct cause of the following exception:
Traceback (most recent call last):
  File "/usr/local/bin/celery", line 8, in <module>
    sys.exit(main())
kombu.exceptions.OperationalError: [Errno 111] Connection refused
"#,
            ),
            &[],
            &["database at", "mysql", "postgres"],
        ),
        (
            "host-unknown",
            exits(
                1,
                r#"
[Nest] 1  - 06/30/2026, 1:40:00 AM     LOG [NestFactory] Starting Nest application...
[Nest] 1  - 06/30/2026, 1:40:01 AM   ERROR [TypeOrmModule] Unable to connect to the database. Retrying (8)...
Error: getaddrinfo ENOTFOUND nest-mysql
    at GetAddrInfoReqWrap.onlookup [as oncomplete] (node:dns:107:26)
[Nest] 1  - 06/30/2026, 1:40:04 AM   ERROR [TypeOrmModule] Unable to connect to the database. Retrying (9)...
Error: getaddrinfo ENOTFOUND nest-mysql
    at GetAddrInfoReqWrap.onlookup [as oncomplete] (node:dns:107:26)
[Nest] 1  - 06/30/2026, 1:40:04 AM   ERROR [ExceptionHandler] getaddrinfo ENOTFOUND nest-mysql
"#,
            ),
            &["nest-mysql"],
            &["cannot be reached", "security group"],
        ),
        (
            "database-wants-tls",
            exits(
                1,
                r#"
[Nest] 1  - 07/24/2026, 12:06:14 AM   ERROR [TypeOrmModule] Unable to connect to the database. Retrying (4)...
error: no pg_hba.conf entry for host "172.18.0.3", user "postgres", database "TesloDB", no encryption
    at Parser.parseErrorMessage (/app/node_modules/pg-protocol/dist/parser.js:287:98)
    at Parser.handlePacket (/app/node_modules/pg-protocol/dist/parser.js:126:29)
"#,
            ),
            &[],
            &["cannot be reached"],
        ),
        (
            "connects-to-itself",
            exits(
                1,
                r#"
[Nest] 31  - 01/18/2026, 3:42:14 PM   ERROR [TypeOrmModule] Unable to connect to the database. Retrying (3)...
MongoServerSelectionError: connect ECONNREFUSED 127.0.0.1:27017
    at Timeout._onTimeout (/app/node_modules/mongodb/lib/sdam/topology.js:292:38)
"#,
            ),
            &["127.0.0.1"],
            &["does not answer"],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
INFO: HHH10005004: Stopping BeanContainer : %s
ERROR: Failed to start server in (production) mode
ERROR: One or more configuration errors have prevented the application from starting. The errors are:
  - No value present
  - No value present
ERROR: For more details run the same command passing the '--verbose' option. Also you can use '--help' to see the details about the usage of the particular command.
"#,
            ),
            &[],
            &["variable `", "database"],
        ),
        (
            "missing-variable",
            exits(
                255,
                r#"
PHP Fatal error:  Uncaught Symfony\Component\DependencyInjection\Exception\EnvNotFoundException: Environment variable not found: "DATABASE_URL". in /var/www/vendor/symfony/dependency-injection/EnvVarProcessor.php:76
Stack trace:
#0 /var/www/vendor/symfony/dependency-injection/Container.php(387): Symfony\Component\DependencyInjection\EnvVarProcessor->getEnv('string', 'DATABASE_URL', Object(Closure))
  thrown in /var/www/vendor/symfony/dependency-injection/EnvVarProcessor.php on line 76
"#,
            ),
            &["DATABASE_URL"],
            &[],
        ),
        (
            "missing-variable",
            exits(
                1,
                r#"
Executing script cache:clear [KO]
Script cache:clear returned with error code 1
!!  
!!    [Symfony\Component\DependencyInjection\Exception\EnvNotFoundException]  
!!  
!!    Environment variable not found: "DATABASE_HOST".                        
!!  
"#,
            ),
            &["DATABASE_HOST"],
            &[],
        ),
        (
            "application-error",
            migrates(
                1,
                r#"
In AbstractMySQLDriver.php line 106:
  An exception occurred in driver: could not find driver  
In PDOConnection.php line 27:
  could not find driver
"#,
            ),
            &["could not find driver"],
            &["not in the database"],
        ),
        (
            "connects-to-itself",
            migrates(
                1,
                r#"
In AbstractMySQLDriver.php line 113:
  An exception occurred in driver: SQLSTATE[HY000] [2002] No such file or directory
"#,
            ),
            &[],
            &["copy it into the image"],
        ),
        (
            "application-error",
            exits(
                101,
                r#"
thread 'main' panicked at src/main.rs:16:10:
failed to connect to Postgres URL postgres://postgres:password@localhost:5432/newsletter: Io(Os { code: 99, kind: AddrNotAvailable, message: "Cannot assign requested address" })
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
"#,
            ),
            &["localhost"],
            &["`RUST_BACKTRACE`"],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
Error: pool timed out while waiting for an open connection
"#,
            ),
            &["pool timed out"],
            &["no free connection", "max_connections"],
        ),
        (
            "file-access-denied",
            exits(
                1,
                r#"
GF_PATHS_DATA='/var/lib/grafana' is not writable.
You may have issues with file permissions, more information here: http://docs.grafana.org/installation/docker/#migrate-to-v51-or-later
mkdir: can't create directory '/var/lib/grafana/plugins': Permission denied
"#,
            ),
            &["/var/lib/grafana"],
            &["the variable `"],
        ),
        (
            "file-access-denied",
            exits(
                2,
                r#"
level=info ts=2026-02-11T20:48:25.178Z caller=main.go:333 msg="Starting Prometheus" version="(version=2.17.1)"
level=error ts=2026-02-11T20:48:25.179Z caller=query_logger.go:87 component=activeQueryTracker msg="Error opening query log file" file=/prometheus/queries.active err="open /prometheus/queries.active: permission denied"
panic: Unable to create mmap-ed active query log
goroutine 1 [running]:
github.com/prometheus/prometheus/promql.NewActiveQueryTracker(0x7ffd, 0xb, 0x14, 0x30, 0xc0)
"#,
            ),
            &["/prometheus/queries.active"],
            &[],
        ),
        (
            "ended-without-words",
            exits(
                1,
                r#"
2026-03-10 08:37:42,788 INFO success: sidekiq entered RUNNING state, process has stayed up for > than 1 seconds (startsecs)
2026-03-10 08:38:07,049 INFO exited: sidekiq (exit status 1; not expected)
2026-03-10 08:38:08,052 INFO spawned: 'sidekiq' with pid 581
2026-03-10 08:38:32,064 INFO exited: sidekiq (exit status 1; not expected)
2026-03-10 08:38:33,067 INFO gave up: sidekiq entered FATAL state, too many start retries too quickly
"#,
            ),
            &[],
            &["not found"],
        ),
        (
            "command-not-found",
            exits(
                127,
                r#"
bundler: command not found: sidekiq
Install missing gem executables with `bundle install`
"#,
            ),
            &["`sidekiq`"],
            &[],
        ),
        (
            "missing-module",
            exits(
                1,
                r#"
shop_db (172.20.0.2:5432) open
ERROR:  Loading command: update (LoadError)
	cannot load such file -- /usr/local/lib/ruby/site_ruby/3.2.0/rubygems/vendored_optparse
	/usr/local/lib/ruby/site_ruby/3.2.0/rubygems/command.rb:9:in `require_relative'
"#,
            ),
            &["vendored_optparse"],
            &[],
        ),
        (
            "connection-refused",
            exits(
                1,
                r#"
2026-07-17 18:06:06,023 INFO  [org.keycloak.quarkus.runtime.hostname.DefaultHostnameProvider] (main) Hostname settings: Base URL: <unset>, Hostname: <request>
2026-07-17 18:06:07,010 WARN  [io.agroal.pool] (agroal-11) Datasource '<default>': Connection to db.internal:5432 refused. Check that the hostname and port are correct and that the postmaster is accepting TCP/IP connections.
2026-07-17 18:06:07,131 ERROR [org.keycloak.quarkus.runtime.cli.ExecutionExceptionHandler] (main) ERROR: Failed to start server in (production) mode
2026-07-17 18:06:07,132 ERROR [org.keycloak.quarkus.runtime.cli.ExecutionExceptionHandler] (main) ERROR: Failed to obtain JDBC connection
2026-07-17 18:06:07,133 ERROR [org.keycloak.quarkus.runtime.cli.ExecutionExceptionHandler] (main) ERROR: Connection to db.internal:5432 refused. Check that the hostname and port are correct and that the postmaster is accepting TCP/IP connections.
2026-07-17 18:06:07,133 ERROR [org.keycloak.quarkus.runtime.cli.ExecutionExceptionHandler] (main) ERROR: Connection refused
"#,
            ),
            &["db.internal"],
            &[],
        ),
        (
            "application-error",
            exits(
                255,
                r#"
**** 6/13 - Migrate the database ****
PHP Fatal error:  Uncaught Symfony\Component\Dotenv\Exception\FormatException: A value containing spaces must be surrounded by quotes in "/var/www/koillection/.env.local" at line 3.
...pgsql (or pdo_mysql)\nDB_NAME=koillection...
                      ^ line 3 offset 59 in /var/www/koillection/vendor/symfony/dotenv/Dotenv.php:550
"#,
            ),
            &["surrounded by quotes"],
            &["variable `"],
        ),
        (
            "connection-refused",
            exits(
                1,
                r#"
[ioredis] Unhandled error event: Error: connect ECONNREFUSED 172.18.0.3:6379
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1146:16)
🔴 Redis error encountered! Trying to reconnect...
[ioredis] Unhandled error event: Error: connect ECONNREFUSED 172.18.0.3:6379
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1146:16)
🔴 Redis error encountered! Trying to reconnect...
MaxRetriesPerRequestError: Reached the max retries per request limit (which is 20). Refer to "maxRetriesPerRequest" option for details.
    at Socket.<anonymous> (/app/node_modules/ioredis/built/redis/event_handler.js:182:37)
"#,
            ),
            &["172.18.0.3"],
            &[],
        ),
        (
            "connects-to-itself",
            exits(
                1,
                r#"
[Nest] 10843   - 09/06/2026 09:17:26   [ExceptionHandler] Failed to connect to localhost:1433 - Could not connect (sequence) +3ms
ConnectionError: Failed to connect to localhost:1433 - Could not connect (sequence)
    at Connection.<anonymous> (/app/node_modules/mssql/lib/tedious/connection-pool.js:68:17)
"#,
            ),
            &["localhost:1433"],
            &[],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
[2026-11-13 10:00:00,000: CRITICAL/MainProcess] Unrecoverable error: OperationalError(2006, 'MySQL server has gone away')
Traceback (most recent call last):
  File "/usr/lib/python3.10/site-packages/celery/worker/worker.py", line 202, in start
    self.blueprint.start(self)
django.db.utils.OperationalError: (2006, 'MySQL server has gone away')
"#,
            ),
            &["gone away"],
            &["refuses"],
        ),
        (
            "connection-timeout",
            exits(
                1,
                r#"
    sock.connect(socket_address)
TimeoutError: [Errno 110] Connection timed out
"#,
            ),
            &[],
            &[],
        ),
        (
            "application-error",
            migrates(
                1,
                r#"
bin/rails aborted!
ActiveRecord::ConnectionNotEstablished: Lost connection to MySQL server at 'handshake: reading initial communication packet', system error: 110
/app/lib/run_migrations_with_concurrent_guard.rb:6:in `<main>'
"#,
            ),
            &["handshake"],
            &["login", "password"],
        ),
    ]
}
