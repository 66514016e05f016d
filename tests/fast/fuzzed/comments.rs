//! However long a comment is and wherever it is cut: it is what GitHub takes, and nothing in it stays open.

use fargate_deploy::render::plan::markdown::COMMENT;
use fargate_deploy::render::plan::outcome::replace_outcome;
use fargate_deploy_core::comment::{Key, Marker};
use fargate_deploy_core::markdown::{advice, code, fence, fit, plain, prose};
use test_support::fuzz;
use test_support::proptest::prelude::*;
use test_support::proptest::sample::select;

/// What GitHub takes in one comment, in characters.
const LIMIT: usize = 65_536;

fn hostile() -> impl Strategy<Value = String> {
    let pieces = vec![
        "```",
        "````",
        "~~~",
        "~~~~~",
        "<details>",
        "</details>",
        "<details",
        "<summary>",
        "-->",
        "<!--",
        "\n",
        "\n\n",
        "    ",
        "ü",
        "🚀",
        "a",
        "word ",
        "|",
        "`",
        "\\",
        "@all",
        "#1",
        "\r",
        "\t",
        "\u{1b}[31m",
        "\u{200b}",
        "&lt;",
        "x".repeat(90).leak(),
    ];
    prop::collection::vec(select(pieces), 0..12).prop_map(|pieces| pieces.concat())
}

/// Markdown as we write it.
fn block() -> impl Strategy<Value = String> {
    let leaf = (0..6_usize, hostile(), 1..40_usize).prop_map(|(kind, text, times)| match kind {
        0 => format!("\n{}\n", plain(&text)),
        1 => format!("| {} | {} |\n", plain(&text), code(&text)),
        2 => format!("\n{}", fence("diff", &format!("{text}\n").repeat(times))),
        3 => format!("\n{}", advice(&text)),
        4 => format!("- {}\n", prose(&text)),
        _ => format!("\n{}", fence("", &text.replace('\n', " ").repeat(times))),
    });
    leaf.prop_recursive(3, 12, 4, |inner| {
        (hostile(), prop::collection::vec(inner, 0..4)).prop_map(|(title, inner)| {
            format!("\n<details><summary>{}</summary>\n\n{}\n</details>\n", plain(&title), inner.concat())
        })
    })
}

fn document() -> impl Strategy<Value = String> {
    prop::collection::vec(block(), 1..6).prop_map(|blocks| format!("### plan\n{}", blocks.concat()))
}

/// What stands open at the end, found in another way than the code that cuts: by lines, as GitHub reads them.
fn left_open(markdown: &str) -> Vec<String> {
    let mut open: Vec<String> = vec![];
    let mut block: Option<String> = None;
    for line in markdown.lines() {
        let text = line.trim_start_matches(' ');
        let run: String = text.chars().take_while(|c| text.starts_with(['`', '~']) && text.starts_with(*c)).collect();
        let may_fence = line.len() - text.len() < 4 && run.len() >= 3;
        match &block {
            Some(fence) => {
                if may_fence && run.starts_with(fence.as_str()) && text.trim_end() == run {
                    block = None;
                }
            }
            None if may_fence && !(run.starts_with('`') && text[run.len()..].contains('`')) => block = Some(run),
            None => {
                let tags =
                    text.match_indices("<details").count() as i64 - text.match_indices("</details>").count() as i64;
                for _ in 0..tags {
                    open.push("details".to_owned());
                }
                for _ in tags..0 {
                    open.pop();
                }
            }
        }
    }
    open.extend(block);
    open
}

#[test]
fn wherever_a_comment_is_cut_it_fits_and_is_closed() {
    fuzz(150, (document(), 150..4_000_usize, hostile()), |(text, budget, note)| {
        assert_eq!(left_open(&text), [""; 0], "what we write is closed");
        let note = plain(&note);
        let cut = fit(&text, budget, &note[..note.floor_char_boundary(40)]);
        assert!(cut.len() <= budget, "{} of {budget}", cut.len());
        assert_eq!(left_open(&cut), [""; 0], "{cut}");
        let same = text.bytes().zip(cut.bytes()).take_while(|(one, other)| one == other).count();
        assert!(
            cut == text || same + 400 + note.len() >= budget.min(cut.len()),
            "{same} bytes of {budget} are kept: {cut}"
        );
    });
}

#[test]
fn a_plan_and_its_outcome_are_one_comment_whatever_they_say_and_however_often() {
    let key = Key::new("fargate-deploy.yml", Some("production"), "shop", None);
    let marker = Marker { key, head: "c0ffee".to_owned(), digest: "sha256:ab".to_owned() };
    fuzz(40, (document(), document(), document(), 1..200_usize), |(plan, first, second, times)| {
        let plan = format!("### fargate-deploy plan\n{}", plan.repeat(times));
        let body = marker.body(&format!("<!-- parts -->\n{}", fit(&plan, COMMENT - 6_000, "cut")));
        let once = replace_outcome(&body, &first);
        let twice = replace_outcome(&once, &second);
        for text in [&body, &once, &twice] {
            assert!(text.chars().count() <= LIMIT, "{} characters", text.chars().count());
            assert_eq!(left_open(text), [""; 0], "{text}");
            assert_eq!(Marker::of(text).as_ref(), Some(&marker));
        }
        assert_eq!(twice, replace_outcome(&body, &second), "an earlier outcome leaves nothing behind");
    });
}
