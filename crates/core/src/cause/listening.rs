//! Where a program says that it listens.

use super::seen::SeenLine;

/// One place, as a log tells of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listening {
    /// Only the container itself can reach it.
    pub(super) is_local: bool,
    pub(super) port: Option<u16>,
    /// Seconds since the epoch.
    pub(super) at: Option<f64>,
    pub(super) line: String,
}

/// Words before the place of a program that takes requests.
const SAYS: [&str; 18] = [
    "listening and serving http on",
    "listening and serving https on",
    "responding at",
    "launched from",
    "server started on",
    "started serverconnector",
    "listening on",
    "listening at",
    "listening to",
    "listening:",
    "listening port",
    "running on",
    "running at",
    "server at",
    "serving on",
    "serving at",
    "started on port",
    "started server on",
];

/// Programs beside the one that the load balancer wants.
const BESIDE: [&str; 10] =
    ["debugger", "inspector", "metrics", "prometheus", "admin", "statsd", "profil", "pprof", "telemetry", "management"];

/// What a program listens to that is no place: it is the client there.
const NO_PLACES: [&str; 12] =
    ["queue", "topic", "channel", "event", "subject", "stream", "exchange", "message", "for ", "unix:", "/", "socket"];

/// What the lines tell, oldest first; places of debuggers, metrics and the like are left out.
pub(super) fn places(log: &[SeenLine]) -> Vec<Listening> {
    log.iter().filter_map(place).collect()
}

fn place(line: &SeenLine) -> Option<Listening> {
    let lower = line.text.to_ascii_lowercase();
    let said = SAYS.iter().find_map(|words| Some(lower.find(words)? + words.len()));
    let said = said.or_else(|| spring(&lower)).or_else(|| phoenix(&lower));
    if BESIDE.iter().any(|word| lower.contains(word)) || lower.contains("not listening") {
        return None;
    }
    let rest = match said.map(|said| lower[said..].trim_start()) {
        Some(rest) if !NO_PLACES.iter().any(|word| rest.starts_with(word)) && has_digit(rest) => rest,
        _ => field(&lower)?,
    };
    let is_local = ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| rest.contains(host));
    let is_open = ["0.0.0.0", "[::]", ":::", "*:"].iter().any(|host| rest.contains(host));
    let port = port_in(rest);
    (port.is_some() || is_local || is_open).then(|| Listening {
        is_local: is_local && !is_open,
        port,
        at: line.at,
        line: line.text.trim().to_owned(),
    })
}

/// `Tomcat started on port 8080 (http)`, `Tomcat initialized with port(s): 8080 (http)`.
fn spring(lower: &str) -> Option<usize> {
    ["started on port(s):", "started on port"].iter().find_map(|words| Some(lower.find(words)? + words.len()))
}

/// `Running ShopWeb.Endpoint with Bandit 1.5.7 at :::4000 (http)`.
fn phoenix(lower: &str) -> Option<usize> {
    let server = [" with bandit ", " with cowboy "].iter().find_map(|words| lower.find(words))?;
    lower[server..].find(" at ").map(|at| server + at + " at ".len())
}

/// The place in a field of its own, as structured logs have it: `msg="server listening" addr=:8080`, `"port":8080`.
fn field(lower: &str) -> Option<&str> {
    if !["listening", "server start", "starting server", "started server"].iter().any(|words| lower.contains(words)) {
        return None;
    }
    let keys = ["addr", "address", "port", "bind", "listen"];
    let forms = keys.iter().flat_map(|key| [format!("\"{key}\":"), format!(" {key}=")]);
    let start = forms.into_iter().find_map(|form| Some(lower.find(&form)? + form.len()))?;
    let value = lower[start..].trim_start().trim_start_matches('"');
    Some(&value[..value.find(['"', ',', ' ', '}']).unwrap_or(value.len())])
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit()) || text.starts_with("localhost")
}

/// The first number after a colon or the word `port`, else the first that stands alone.
fn port_in(text: &str) -> Option<u16> {
    let after_colon = text.match_indices(':').find_map(|(at, _)| leading_number(&text[at + 1..]));
    let after_word = || {
        text.find("port")
            .and_then(|at| leading_number(text[at + 4..].trim_start_matches([' ', ':', '=', '(', 's', ')'])))
    };
    let alone =
        || text.split(|c: char| c.is_whitespace() || c == ',').find_map(|word| word.trim_end_matches('.').parse().ok());
    after_colon.or_else(after_word).or_else(alone)
}

fn leading_number(text: &str) -> Option<u16> {
    let digits = &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())];
    digits.parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_the_words_of_common_servers() {
        let cases = [
            ("Listening at: http://127.0.0.1:8000 (1)", Some((true, Some(8000)))),
            ("INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)", Some((true, Some(8000)))),
            (" * Running on http://0.0.0.0:5000", Some((false, Some(5000)))),
            ("Server listening on port 3001", Some((false, Some(3001)))),
            ("Starting development server at http://127.0.0.1:8000/", Some((true, Some(8000)))),
            ("Tomcat started on port 8081 (http) with context path ''", Some((false, Some(8081)))),
            ("listening on :9000", Some((false, Some(9000)))),
            ("listening on [::]:80", Some((false, Some(80)))),
            ("Debugger listening on ws://127.0.0.1:9229/uuid", None),
            ("connected to redis at 127.0.0.1:6379", None),
            ("   - Local:        http://localhost:3000", None),
            ("metrics listening on 127.0.0.1:9090", None),
        ];
        for (line, expected) in cases {
            let found = place(&SeenLine::from(line)).map(|l| (l.is_local, l.port));
            assert_eq!(found, expected, "{line}");
        }
    }
}
