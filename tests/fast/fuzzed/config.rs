//! Whatever a config holds: a config comes of it, or errors that each say one thing at one place.

use crate::loaded::parse;
use crate::spec::config::{GOOD, repository};
use fargate_deploy::config::{Request, duration, tag_template};
use std::collections::{BTreeMap, BTreeSet};
use test_support::fuzz;
use test_support::proptest::prelude::*;
use test_support::proptest::sample::select;

const PIECES: [&str; 62] = [
    "cluster:",
    "region:",
    "role:",
    "images:",
    "services:",
    "release:",
    "environments:",
    "wait:",
    "smoke:",
    "containers:",
    "tags:",
    "build-args:",
    "build-secrets:",
    "rehearse:",
    "terraform:",
    "after:",
    " web",
    " app",
    " c",
    " 3m",
    " true",
    " null",
    " ~",
    " 1.10",
    " 0x1f",
    " .nan",
    " {",
    " }",
    " [",
    " ]",
    ",",
    ":",
    "-",
    "- ",
    "\n",
    "\n",
    "\n  ",
    "\n    ",
    "\t",
    " |\n",
    " >-\n",
    " &a",
    " *a",
    " <<: *a",
    " !tag",
    " \"",
    " '",
    " #",
    "---\n",
    "...\n",
    "? ",
    "%YAML 1.2\n",
    " ${env:S}",
    " ${ssm:/a}",
    " ${tf:x}",
    " ${",
    " $${",
    " {sha}",
    " {",
    "\u{feff}",
    "ü🚀",
    "\0",
];

fn from_nothing() -> impl Strategy<Value = String> {
    prop::collection::vec(select(PIECES.to_vec()), 0..40).prop_map(|pieces| pieces.concat())
}

/// A good one in which lines are removed, doubled, moved in or out, or get something that does not belong there.
fn from_a_good_one() -> impl Strategy<Value = String> {
    let change = (0..6_usize, 0..60_usize, 0..80_usize, select(PIECES.to_vec()));
    prop::collection::vec(change, 1..5).prop_map(|changes| {
        let mut lines: Vec<String> = GOOD.lines().map(str::to_owned).collect();
        for (how, at, column, piece) in changes {
            if lines.is_empty() {
                break;
            }
            let at = at % lines.len();
            match how {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at].clone()),
                2 => lines[at].insert_str(0, "  "),
                3 => lines[at] = lines[at].trim_start().to_owned(),
                4 => {
                    let column = lines[at].floor_char_boundary(column.min(lines[at].len()));
                    lines[at].insert_str(column, piece);
                }
                _ => {
                    let column = lines[at].floor_char_boundary(column.min(lines[at].len()));
                    lines[at].truncate(column);
                    lines[at].push_str(piece);
                }
            }
        }
        lines.join("\n")
    })
}

#[test]
fn any_text_is_a_config_or_is_told_what_is_wrong_with_it() {
    let folder = repository();
    let env = BTreeMap::from([("S".to_owned(), "Kq7Zr2Vw-value".to_owned())]);
    let environment = select(vec![None, Some("staging"), Some("production"), Some("nowhere")]);
    fuzz(300, (prop_oneof![from_nothing(), from_a_good_one()], environment), |(source, environment)| {
        let request = Request { environment: environment.map(str::to_owned), ..Request::default() };
        let Err(errors) = parse(&source, &request, &env, folder.path()) else { return };
        let lines = source.lines().count() as u64 + 1;
        let mut places = BTreeSet::new();
        for error in errors.iter() {
            assert!(!error.message.trim().is_empty() && !error.message.contains('\n'), "{error:?}");
            assert!(error.message.len() < 600, "{error:?}");
            assert!(error.line <= lines, "line {} of {lines}: {error:?}", error.line);
            assert!(
                !error.message.contains("Kq7Zr2Vw")
                    && error.hint.as_ref().is_none_or(|hint| !hint.contains("Kq7Zr2Vw")),
                "{error:?}"
            );
            assert!(places.insert((error.line, error.column, error.message.clone())), "told twice: {error:?}");
        }
        assert!(!places.is_empty(), "an error without a word");
    });
}

#[test]
fn any_text_is_a_duration_and_a_tag_or_is_told_why_not() {
    let text = prop::collection::vec(
        select(vec!["1", "90", "s", "m", "h", " ", "-", ".", "{sha}", "{", "}", "{branch}", "a", "ü", "9999999999"]),
        0..6,
    );
    fuzz(1000, text, |pieces| {
        let text = pieces.concat();
        if let Err(why) = duration(&text) {
            assert!(!why.is_empty());
        }
        if let Err(why) = tag_template(&text) {
            assert!(!why.is_empty());
        }
    });
}
