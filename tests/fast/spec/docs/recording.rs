//! The recording of the README still says what the program says.

use super::root;
use std::collections::BTreeMap;

/// What stands on the screen at the end, without line breaks: a long line has several rows.
fn last_screen(svg: &str) -> String {
    let mut rows = BTreeMap::new();
    for row in svg.split("<text y=\"").skip(1) {
        let (at, rest) = row.split_once("\" opacity=\"1\">").unwrap_or_default();
        let Some((row, _)) = rest.split_once("</text>") else { continue };
        let text: String = row.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
        rows.insert(at.parse::<u32>().unwrap(), text);
    }
    let text: String = rows.into_values().collect();
    text.replace("&#x27;", "'").replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[test]
fn the_recording_ends_as_a_failure_of_its_kind_does() {
    let read = |file: &str| std::fs::read_to_string(root().join(file)).unwrap();
    let screen = last_screen(&read("docs/rehearsal.svg"));
    let page = read("docs/failures.md");
    let section = page.split("\n## ").find(|section| section.starts_with("A variable that is not set")).unwrap();
    let says = |beginning: &str| section.lines().find(|line| line.starts_with(beginning)).unwrap();
    for line in [says("  state  nothing undoes"), says("  next   ")] {
        assert!(screen.contains(line), "run scripts/recording: {line:?} is not in {screen}");
    }
}
