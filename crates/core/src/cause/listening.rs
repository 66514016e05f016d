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
const SAYS: [&str; 12] = [
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

/// What the lines tell, oldest first; places of debuggers, metrics and the like are left out.
pub(super) fn places(log: &[SeenLine]) -> Vec<Listening> {
    log.iter().filter_map(place).collect()
}

fn place(line: &SeenLine) -> Option<Listening> {
    let lower = line.text.to_ascii_lowercase();
    let said = SAYS.iter().find_map(|words| Some(lower.find(words)? + words.len()));
    let said = said.or_else(|| spring(&lower))?;
    if BESIDE.iter().any(|word| lower.contains(word)) || lower.contains("not listening") {
        return None;
    }
    let rest = lower[said..].trim_start();
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
