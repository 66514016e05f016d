//! Logs of frameworks, each with what comes before and after the line that tells.

use super::exits;
use crate::cause::tests::decoys::Decoy;

/// What the runtime or the framework says, among lines that say less.
pub(super) fn of_frameworks() -> Vec<Decoy> {
    vec![
        (
            "database-login-failed",
            exits(
                3,
                r#"
WARNING newrelic agent disabled
Traceback (most recent call last):
  File "/app/shop/telemetry.py", line 4, in <module>
    import newrelic.agent
ModuleNotFoundError: No module named 'newrelic'
INFO telemetry: continuing without newrelic
[2026-11-30 10:00:01 +0000] [1] [INFO] Starting gunicorn 21.2.0
[2026-11-30 10:00:02 +0000] [7] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "/usr/local/lib/python3.12/site-packages/psycopg2/__init__.py", line 122, in connect
    conn = _connect(dsn, connection_factory=connection_factory, **kwasync)
psycopg2.OperationalError: connection to server at "shop.abc.eu-central-1.rds.amazonaws.com" (10.0.3.4), port 5432 failed: FATAL:  password authentication failed for user "shop"
connection to server at "shop.abc.eu-central-1.rds.amazonaws.com" (10.0.3.4), port 5432 failed: FATAL:  no pg_hba.conf entry for host "10.0.1.9", user "shop", database "shop", no encryption
The above exception was the direct cause of the following exception:
Traceback (most recent call last):
  File "/usr/local/lib/python3.12/site-packages/django/frame_0.py", line 10, in f
  File "/usr/local/lib/python3.12/site-packages/django/frame_1.py", line 10, in f
django.db.utils.OperationalError: connection to server at "shop.abc.eu-central-1.rds.amazonaws.com" (10.0.3.4), port 5432 failed: FATAL:  password authentication failed for user "shop"
[2026-11-30 10:00:02 +0000] [1] [ERROR] Worker (pid:7) exited with code 3
[2026-11-30 10:00:02 +0000] [1] [ERROR] Reason: Worker failed to boot.
"#,
            ),
            &["shop"],
            &["newrelic", "is not in the image", "takes encrypted connections only"],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
/usr/local/bundle/gems/activesupport-7.1.3/lib/active_support/message_encryptor.rb:243:in `rescue in _decrypt': ActiveSupport::MessageEncryptor::InvalidMessage (ActiveSupport::MessageEncryptor::InvalidMessage)
	from /usr/local/bundle/gems/activesupport-7.1.3/lib/active_support/encrypted_file.rb:88:in `decrypt'
	from /app/config/environment.rb:5:in `<main>'
"#,
            ),
            &["InvalidMessage"],
            &["is not set", "kms"],
        ),
        (
            "missing-variable",
            exits(
                1,
                r#"
[ioredis] Unhandled error event: Error: connect ECONNREFUSED 10.0.4.20:6379
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1606:16)
{"level":"info","msg":"redis: reconnecting"}
{"level":"info","msg":"redis: connected"}
/app/node_modules/zod/lib/types.js:43
                const error = new ZodError_1.ZodError(ctx.common.issues);
                              ^
ZodError: [
  {
    "code": "invalid_type",
    "expected": "string",
    "received": "undefined",
    "path": [
      "STRIPE_KEY"
    ],
    "message": "Required"
  }
]
    at get error (/app/node_modules/zod/lib/types.js:43:31)
Node.js v20.11.0
"#,
            ),
            &["STRIPE_KEY"],
            &["refuses the connection"],
        ),
        (
            "port-in-use",
            exits(
                1,
                r#"
Picked up JAVA_TOOL_OPTIONS: -XX:+ExitOnOutOfMemoryError -XX:+HeapDumpOnOutOfMemoryError -XX:MaxRAMPercentage=75
  .   ____          _            __ _ _
2026-11-30T10:00:03.010Z  INFO 1 --- [main] c.acme.shop.ShopApplication : Starting ShopApplication
2026-11-30T10:00:09.101Z ERROR 1 --- [main] o.s.b.d.LoggingFailureAnalysisReporter   :
***************************
APPLICATION FAILED TO START
***************************
Description:
Web server failed to start. Port 8080 was already in use.
Action:
Identify and stop the process that's listening on port 8080 or configure this application to listen on another port.
"#,
            ),
            &["8080"],
            &["memory", "heap"],
        ),
        (
            "host-unknown",
            exits(
                1,
                r#"
2026-11-30T10:00:03.010Z  WARN 1 --- [main] o.f.c.internal.license.VersionPrinter : timeout reading update check, ignored
2026-11-30T10:00:05.010Z  INFO 1 --- [main] com.zaxxer.hikari.HikariDataSource : HikariPool-1 - Starting...
2026-11-30T10:00:06.010Z ERROR 1 --- [main] com.zaxxer.hikari.pool.HikariPool : HikariPool-1 - Exception during pool initialization.
org.postgresql.util.PSQLException: The connection attempt failed.
	at org.postgresql.core.v3.ConnectionFactoryImpl.openConnectionImpl(ConnectionFactoryImpl.java:358)
Caused by: java.net.UnknownHostException: shop-db.internal
	at java.base/sun.nio.ch.NioSocketImpl.connect(NioSocketImpl.java:567)
	at org.springframework.boot.Frame0.run(Frame.java:10)
	at org.springframework.boot.Frame1.run(Frame.java:10)
2026-11-30T10:00:06.310Z ERROR 1 --- [main] o.s.boot.SpringApplication : Application run failed
org.springframework.beans.factory.BeanCreationException: Error creating bean with name 'entityManagerFactory': Failed to initialize dependency 'flyway' of LoadTimeWeaverAware bean
	at org.springframework.beans.Frame0.x(Frame.java:1)
	at org.springframework.beans.Frame1.x(Frame.java:1)
"#,
            ),
            &["shop-db.internal"],
            &["does not answer", "security group"],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
***************************
APPLICATION FAILED TO START
***************************
Description:
Failed to configure a DataSource: 'url' attribute is not specified and no embedded datasource could be configured.
Reason: Failed to determine a suitable driver class
"#,
            ),
            &["Failed to configure a DataSource"],
            &["refuses", "unreachable"],
        ),
        (
            "connects-to-itself",
            exits(
                1,
                r#"
   Illuminate\Database\QueryException 
  SQLSTATE[HY000] [2002] Connection refused (Connection: mysql, Host: 127.0.0.1, Port: 3306, SQL: select * from information_schema.tables where table_schema = 'shop' and table_name = 'migrations' and table_type = 'BASE TABLE')
  at vendor/laravel/framework/src/Illuminate/Database/Connection.php:829
    825▕                     $this->getName(), $query, $this->prepareBindings($bindings), $e
      +38 vendor frames 
"#,
            ),
            &["127.0.0.1"],
            &["is not in the database"],
        ),
        (
            "connects-to-itself",
            exits(
                139,
                r#"
Unhandled exception. Npgsql.NpgsqlException (0x80004005): Failed to connect to [::1]:5432
 ---> System.Net.Sockets.SocketException (99): Cannot assign requested address
   at System.Net.Sockets.Socket.AwaitableSocketAsyncEventArgs.CreateException(SocketError error, Boolean forAsyncThrow)
   at Npgsql.Internal.NpgsqlConnector.ConnectAsync(NpgsqlTimeout timeout, CancellationToken cancellationToken)
   at Npgsql.TaskTimeoutAndCancellation.ExecuteAsync(Func`2 getTaskFunc, NpgsqlTimeout timeout, CancellationToken cancellationToken)
"#,
            ),
            &[],
            &["does not answer in time", "segmentation fault", "native"],
        ),
        (
            "application-error",
            exits(
                134,
                r#"
Process terminated. Couldn't find a valid ICU package installed on the system. Please install libicu (or icu-libs) using your package manager and try again. Alternatively you can set the configuration flag System.Globalization.Invariant to true if you want to run with no globalization support.
   at System.Environment.FailFast(System.String)
   at System.Globalization.GlobalizationMode+Settings..cctor()
"#,
            ),
            &["ICU"],
            &["heap"],
        ),
        (
            "missing-variable",
            exits(
                1,
                r#"
ERROR! Config provider Config.Reader failed with:
** (RuntimeError) environment variable DATABASE_URL is missing.
For example: ecto://USER:PASS@HOST/DATABASE
    /app/releases/0.1.0/runtime.exs:41: (file)
    (elixir 1.16.0) src/elixir.erl:405: :elixir.eval_external_handler/3
    (stdlib 5.2) erl_eval.erl:0: :erl_eval.exprs/6
    (stdlib 5.2) erl_eval.erl:1: :erl_eval.exprs/6
Runtime terminating during boot ({#{message=><<101,110,118>>,'__struct__'=>'Elixir.RuntimeError'},[{elixir_eval,'__FILE__',1,[{file,"/app/releases/0.1.0/runtime.exs"},{line,41}]}]})
Crash dump is being written to: erl_crash.dump...[os_mon] memory supervisor port (memsup): Erlang has closed
done
"#,
            ),
            &["DATABASE_URL"],
            &["memory"],
        ),
        (
            "connection-refused",
            exits(
                1,
                r#"
10:00:01.000 [error] Postgrex.Protocol (#PID<0.203.0>) failed to connect: ** (DBConnection.ConnectionError) tcp connect (shop.abc.eu-central-1.rds.amazonaws.com:5432): connection refused - :econnrefused
10:00:02.000 [error] Postgrex.Protocol (#PID<0.204.0>) failed to connect: ** (DBConnection.ConnectionError) tcp connect (shop.abc.eu-central-1.rds.amazonaws.com:5432): connection refused - :econnrefused
** (DBConnection.ConnectionError) connection not available and request was dropped from queue after 2999ms. This means requests are coming in and your connection pool cannot serve them fast enough.
    (db_connection 2.6.0) lib/db_connection.ex:1084: DBConnection.execute/4
"#,
            ),
            &["shop.abc.eu-central-1.rds.amazonaws.com", "5432"],
            &["no free connection", "max_connections"],
        ),
        (
            "missing-module",
            exits(
                1,
                r#"
Traceback (most recent call last):
  File "/app/worker.py", line 3, in <module>
    import cv2
ImportError: libGL.so.1: cannot open shared object file: No such file or directory
"#,
            ),
            &["libGL.so.1"],
            &[],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
/app/server: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by /app/server)
"#,
            ),
            &["GLIBC_2.34"],
            &["is not there", "no command"],
        ),
        (
            "host-unknown",
            exits(
                1,
                r#"
/docker-entrypoint.sh: /docker-entrypoint.d/ is not empty, will attempt to perform configuration
10-listen-on-ipv6-by-default.sh: info: can not modify /etc/nginx/conf.d/default.conf (read-only file system?)
2026/11/30 10:00:01 [emerg] 1#1: host not found in upstream "api" in /etc/nginx/conf.d/default.conf:12
nginx: [emerg] host not found in upstream "api" in /etc/nginx/conf.d/default.conf:12
"#,
            ),
            &["api"],
            &["writes to a read-only"],
        ),
        (
            "file-access-denied",
            exits(
                1,
                r#"
2026/11/30 10:00:01 [warn] 1#1: the "user" directive makes sense only if the master process runs with super-user privileges, ignored in /etc/nginx/nginx.conf:2
nginx: [warn] the "user" directive makes sense only if the master process runs with super-user privileges, ignored in /etc/nginx/nginx.conf:2
2026/11/30 10:00:01 [emerg] 1#1: mkdir() "/var/cache/nginx/client_temp" failed (13: Permission denied)
nginx: [emerg] mkdir() "/var/cache/nginx/client_temp" failed (13: Permission denied)
"#,
            ),
            &["/var/cache/nginx/client_temp"],
            &["port below 1024"],
        ),
        (
            "host-unknown",
            exits(
                1,
                r#"
Waiting for postgres...
nc: bad address 'db'
"#,
            ),
            &["`db`"],
            &[],
        ),
        (
            "missing-module",
            exits(
                1,
                r#"
INFO:     Will watch for changes
ERROR:    Error loading ASGI app. Could not import module "shop.main".
"#,
            ),
            &["shop.main"],
            &[],
        ),
        (
            "missing-module",
            exits(
                1,
                r#"
bundler: failed to load command: puma (/usr/local/bundle/bin/puma)
/usr/local/lib/ruby/3.2.0/bundler/definition.rb:524:in `materialize': Could not find pg-1.5.4 in locally installed gems (Bundler::GemNotFound)
"#,
            ),
            &["pg-1.5.4"],
            &[],
        ),
        (
            "connection-timeout",
            exits(
                1,
                r#"
com.mysql.cj.jdbc.exceptions.CommunicationsException: Communications link failure
The last packet sent successfully to the server was 0 milliseconds ago. The driver has not received any packets from the server.
	at com.mysql.cj.jdbc.exceptions.SQLError.createCommunicationsException(SQLError.java:174)
Caused by: java.net.ConnectException: Connection timed out
"#,
            ),
            &[],
            &[],
        ),
        (
            "connection-refused",
            exits(
                134,
                r#"
Unhandled exception. Npgsql.NpgsqlException (0x80004005): Failed to connect to 10.0.3.4:5432
 ---> System.Net.Sockets.SocketException (111): Connection refused
   at System.Net.Sockets.Socket.AwaitableSocketAsyncEventArgs.ThrowException(SocketError error, CancellationToken cancellationToken)
"#,
            ),
            &["10.0.3.4"],
            &[],
        ),
        (
            "host-unknown",
            exits(
                134,
                r#"
Unhandled exception. System.Net.Sockets.SocketException (00000005, 0xFFFDFFFF): Name or service not known
   at System.Net.Dns.GetHostEntryOrAddressesCore(String hostName, Boolean justAddresses, AddressFamily addressFamily, Nullable`1 startingTimestamp)
"#,
            ),
            &[],
            &[],
        ),
        (
            "missing-module",
            exits(
                134,
                r#"
Unhandled exception. System.IO.FileNotFoundException: Could not load file or assembly 'Acme.Core, Version=1.0.0.0, Culture=neutral, PublicKeyToken=null'. The system cannot find the file specified.
"#,
            ),
            &["Acme.Core"],
            &[],
        ),
        (
            "file-access-denied",
            exits(
                1,
                r#"
The stream or file "/var/www/html/storage/logs/laravel.log" could not be opened in append mode: Failed to open stream: Permission denied
"#,
            ),
            &["laravel.log"],
            &[],
        ),
        (
            "connection-refused",
            exits(
                1,
                r#"
{"level":"error","msg":"connect to amqp://10.0.5.5:5672 failed: dial tcp 10.0.5.5:5672: connect: connection refused"}
{"level":"info","msg":"retrying in 5s"}
{"level":"error","msg":"connect to amqp://10.0.5.5:5672 failed: dial tcp 10.0.5.5:5672: connect: connection refused"}
{"level":"info","msg":"retrying in 5s"}
{"level":"fatal","msg":"giving up after 2 attempts"}
"#,
            ),
            &["10.0.5.5"],
            &[],
        ),
        (
            "application-error",
            exits(
                1,
                r#"
Exception in thread "main" java.lang.UnsupportedClassVersionError: com/acme/shop/Main has been compiled by a more recent version of the Java Runtime (class file version 65.0), this version of the Java Runtime only recognizes class file versions up to 61.0
"#,
            ),
            &["65.0"],
            &[],
        ),
    ]
}
