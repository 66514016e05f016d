//! Where programs of the field say that they listen, while their load balancer refuses them.

use crate::cause::tests::decoys::Decoy;
use crate::cause::tests::{unhealthy, with};
use crate::cause::{Seen, SeenLine};

fn refused(log: &str) -> Seen {
    answered("Health checks failed", log)
}

fn answered(why: &str, log: &str) -> Seen {
    with(unhealthy(why, &[]), |s| s.container_mut("app").log = log.trim().lines().map(SeenLine::from).collect())
}

pub(super) fn of_places() -> Vec<Decoy> {
    vec![
        (
            "wrong-port",
            refused(
                r#"
10:00:01.000 [info] Running ShopWeb.Endpoint with Bandit 1.5.7 at :::4000 (http)
10:00:01.001 [info] Access ShopWeb.Endpoint at https://shop.example.com
"#,
            ),
            &["4000"],
            &[],
        ),
        (
            "listens-on-localhost",
            refused(
                r#"
[GIN-debug] GET /health --> main.health (3 handlers)
[GIN-debug] Listening and serving HTTP on 127.0.0.1:8080
"#,
            ),
            &[],
            &[],
        ),
        (
            "wrong-port",
            refused(
                r#"
time=2026-11-30T10:00:00Z level=INFO msg="server listening" addr=:3000
"#,
            ),
            &["3000"],
            &[],
        ),
        (
            "wrong-port",
            refused(
                r#"
⇨ http server started on [::]:1323
"#,
            ),
            &["1323"],
            &[],
        ),
        (
            "listens-on-localhost",
            refused(
                r#"
2026-11-30 10:00:00.1:INFO:oejs.AbstractConnector:main: Started ServerConnector@3d1848cc{HTTP/1.1, (http/1.1)}{127.0.0.1:8080}
"#,
            ),
            &[],
            &[],
        ),
        (
            "health-check-refused",
            refused(
                r#"
INFO worker listening on queue orders (redis 10.0.0.5:6379)
"#,
            ),
            &[],
            &["6379"],
        ),
        (
            "health-connection-broken",
            refused(
                r#"
INFO o.s.b.w.e.tomcat.TomcatWebServer : Tomcat started on port 8080 (http) with context path '/'
INFO o.s.b.w.e.tomcat.TomcatWebServer : Tomcat started on port 8081 (http) with context path '/actuator'
"#,
            ),
            &[],
            &["8081"],
        ),
        (
            "health-path-fails",
            answered(
                "Health checks failed with these codes: [502]",
                r#"
[error] 29#29: *1 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.1.9, server: _, request: "GET /health HTTP/1.1", upstream: "http://127.0.0.1:3000/health"
"#,
            ),
            &["502"],
            &[],
        ),
        (
            "wrong-port",
            refused(
                r#"
Debugger listening on ws://127.0.0.1:9229/0f2c936f
For help, see: https://nodejs.org/en/docs/inspector
Server listening at http://0.0.0.0:3000
"#,
            ),
            &["3000", "8080"],
            &["127.0.0.1 only", "9229"],
        ),
        (
            "health-connection-broken",
            refused(
                r#"
{"level":"info","msg":"metrics server listening","addr":"0.0.0.0:9090"}
{"level":"info","msg":"grpc server listening","addr":"0.0.0.0:8080"}
"#,
            ),
            &[],
            &["9090"],
        ),
        (
            "listens-on-localhost",
            refused(
                r#"
 * Serving Flask app 'shop'
 * Debug mode: off
WARNING: This is a development server. Do not use it in a production deployment. Use a production WSGI server instead.
 * Running on http://127.0.0.1:8080
Press CTRL+C to quit
"#,
            ),
            &["0.0.0.0"],
            &[],
        ),
        (
            "health-host-refused",
            answered(
                "Health checks failed with these codes: [400]",
                r#"
Invalid HTTP_HOST header: '10.0.1.9:8080'. You may need to add '10.0.1.9' to ALLOWED_HOSTS.
"#,
            ),
            &["ALLOWED_HOSTS", "400"],
            &[],
        ),
    ]
}
