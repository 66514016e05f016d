use super::*;
use crate::redact::{Redaction, Secret};

const HOSTILE: [&str; 26] = [
    "",
    " ",
    "`",
    "``` ```` `",
    "a`b``c",
    "</details>",
    "<details><summary>",
    "<!-- fargate-deploy:plan v=1",
    "-->",
    "@everyone @org/team x@y",
    "#123 org/repo#4 GH-5 gh-6",
    "a|b\\|c",
    "[x](javascript:alert(1)) ![i](http://x)",
    "**bold** _it_ ~no~ $x$",
    "&lt;script&gt; <script>",
    "\u{1b}[31mred\u{1b}[0m \u{1b}]8;;http://x\u{7}link\u{1b}]8;;\u{1b}\\",
    "\u{1b}]never ended\nnext",
    "line\nbreak\r\n# heading\n- item",
    "1. one",
    "2) two",
    "- dash",
    "=====",
    "\u{202e}gnp.exe\u{2069}",
    "ünïcödé 🚀🚀",
    "\0\u{7}\u{9b}31m",
    "\t tab \\",
];

/// What GitHub would see as a tag, a comment or a cell's end: outside of entities.
fn is_quiet(text: &str) -> bool {
    let own = text.replace("<code>", "").replace("</code>", "");
    !own.contains(['<', '>', '|', '\n', '\r', '\u{1b}', '\0', '\u{202e}'])
}

#[test]
fn hostile_text_is_one_quiet_line_as_prose_and_as_code() {
    for text in HOSTILE {
        assert!(is_quiet(&plain(text)), "{text:?}: {:?}", plain(text));
        let code = code(text);
        let inner = code.replace("&#124;", "");
        assert!(!inner.contains(['|', '\n']), "{text:?}: {code:?}");
        assert!(code.starts_with("<code>") == code.ends_with("</code>"), "{code:?}");
    }
}

#[test]
fn prose_mentions_nobody_refers_to_nothing_and_has_no_markup() {
    for (text, expected) in [
        ("@everyone", "@\u{200b}everyone"),
        ("org/repo#4", "org/repo\\#\u{200b}4"),
        ("GH-5", "GH-\u{200b}5"),
        ("a_b*c*", "a\\_b\\*c\\*"),
        ("[x](y)", "\\[x\\](y)"),
        ("- item", "\\- item"),
        ("12. twelve", "12\\. twelve"),
        ("1.2", "1\\.2"),
        ("# heading", "\\#\u{200b} heading"),
        ("a|b", "a&#124;b"),
        ("</details><!--", "&lt;/details&gt;&lt;!--"),
        ("web:42 (eu-central-1)", "web:42 (eu-central-1)"),
    ] {
        assert_eq!(plain(text), expected);
    }
}

#[test]
fn inline_code_shows_any_text_and_its_delimiter_is_in_none_of_it() {
    for (text, expected) in [
        ("web:42", "`web:42`"),
        ("a`b", "``a`b``"),
        ("`a``", "``` `a`` ```"),
        ("a|b", "<code>a&#124;b</code>"),
        ("</code>", "<code>&#60;/code&#62;</code>"),
        ("", "<code></code>"),
        ("two\nlines", "`two lines`"),
    ] {
        assert_eq!(code(text), expected);
    }
}

#[test]
fn a_fence_is_longer_than_any_run_of_backticks_in_it() {
    assert_eq!(fence("diff", "+a\n-b\n"), "```diff\n+a\n-b\n```\n");
    assert_eq!(fence("", "x\n````\ny"), "`````\nx\n````\ny\n`````\n");
    assert_eq!(fence("te`xt\nx", ""), "```textx\n```\n");
    for text in HOSTILE {
        let fenced = fence("text", text);
        let open = fenced.lines().next().unwrap().trim_end_matches("text").len();
        assert!(fenced.lines().filter(|l| l.trim() == "`".repeat(open)).count() == 1, "{fenced:?}");
    }
}

#[test]
fn terminal_control_is_stripped_and_the_lines_stay() {
    assert_eq!(stripped("\u{1b}[1;31mred\u{1b}[0m\r\nnext\tcell\u{7}"), "red\nnext\tcell");
    assert_eq!(stripped("\u{1b}]8;;http://x\u{7}link"), "link");
    assert_eq!(stripped("\u{1b}]never ended\nnext"), "\nnext");
    assert_eq!(stripped("10%\r20%"), "10%\n20%");
}

#[test]
fn no_sequence_of_a_terminal_leaves_a_part_of_itself_and_none_takes_a_line_break() {
    for (sequence, what) in [
        ("\u{1b}(B\u{1b}[m", "the end of colours, as `tput sgr0` writes it"),
        ("\u{1b}%G\u{1b}#8\u{1b} F\u{1b}$(B", "character sets, with one and two intermediate characters"),
        ("\u{1b}7\u{1b}8\u{1b}=\u{1b}>", "private functions of one character"),
        ("\u{1b}c\u{1b}n\u{1b}M\u{1b}D\u{1b}E", "standard functions of one character"),
        ("\u{1b}[?25l\u{1b}[38;2;1;2;3m\u{1b}[4:3m\u{1b}[ q\u{1b}[>c\u{1b}[!p", "control sequences"),
        ("\u{9b}31m\u{9b}?2004h", "control sequences of 8 bits"),
        ("\u{1b}]0;title\u{7}\u{1b}]0;title\u{1b}\\\u{1b}]0;title\u{9c}", "system commands and their three ends"),
        ("\u{9d}0;title\u{7}\u{9d}0;title\u{9c}\u{9d}0;title\u{1b}\\", "system commands of 8 bits"),
        ("\u{1b}P1$r0m\u{1b}\\\u{90}1$r0m\u{9c}", "device strings"),
        ("\u{1b}Xa\u{1b}\\\u{98}a\u{9c}\u{1b}^b\u{1b}\\\u{9e}b\u{9c}\u{1b}_c\u{1b}\\\u{9f}c\u{9c}", "other strings"),
        ("\u{1b}Ptmux;\u{1b}\u{1b}]52;c;eA==\u{7}\u{1b}\\", "a string in a string"),
        ("\u{1b}kwindow\u{1b}\\", "the title of a window of screen"),
        ("\u{1b}[3\u{18}\u{1b}]0;ti\u{1a}", "cancelled ones"),
        ("\u{1b}\u{1b}[31m\u{1b}[3\u{1b}[31m\u{9b}\u{9b}1m", "one that begins in another"),
        ("\u{84}\u{85}\u{8d}\u{9c}\u{7f}\u{8}\u{e}\u{f}", "single control characters"),
        ("\u{200e}\u{200f}\u{61c}\u{202a}\u{202e}\u{2066}\u{2069}", "marks of direction"),
    ] {
        assert_eq!(stripped(&format!("a{sequence}b")), "ab", "{what}");
    }
    for open in [
        "\u{1b}",
        "\u{1b}[",
        "\u{1b}[1;3",
        "\u{9b}",
        "\u{9b}1",
        "\u{1b}(",
        "\u{1b}$(",
        "\u{1b}]0;t",
        "\u{9d}0;t",
        "\u{1b}P1",
        "\u{90}",
        "\u{1b}_",
        "\u{9f}x",
        "\u{1b}X",
        "\u{98}",
        "\u{1b}^",
        "\u{9e}",
        "\u{1b}k",
    ] {
        assert_eq!(stripped(&format!("a{open}\nb")), "a\nb", "{open:?}");
        assert_eq!(stripped(&format!("a{open}\r\nb")), "a\nb", "{open:?}");
        assert_eq!(stripped(&format!("a{open}")), "a", "{open:?}");
    }
    assert_eq!(stripped("\u{1b}[31é\u{1b}é"), "éé", "what is in no sequence is text");
}

/// A comment as ours are made: prose, a table, a folded code block of hostile lines.
fn comment(lines: usize) -> String {
    let log: Vec<_> = HOSTILE.iter().cycle().take(lines).copied().collect();
    let table: String = HOSTILE.iter().map(|t| format!("| {} | {} |\n", plain(t), code(t))).collect();
    format!(
        "### plan\n\n| a | b |\n|---|---|\n{table}\n<details><summary>diff</summary>\n\n{}\n</details>\n\nend\n",
        fence("diff", &log.join("\n"))
    )
}

/// Whether every fence and every `<details>` of a text ends.
fn is_closed(text: &str) -> bool {
    let open = text.split_inclusive('\n').fold(Open::default(), |open, line| open.after(line));
    open.fence.is_none() && open.details == 0
}

#[test]
fn whatever_is_cut_stays_within_the_budget_and_closed_at_every_budget() {
    let text = comment(60);
    assert!(is_closed(&text), "{text}");
    for budget in 0..text.len() + 2 {
        let cut = fit(&text, budget, "_(cut: the whole plan is in the step summary)_");
        assert!(cut.len() <= budget, "{budget}: {}", cut.len());
        if budget >= 100 {
            assert!(is_closed(&cut), "{budget}: {cut}");
            assert_eq!(cut == text, budget >= text.len(), "{budget}");
            assert_eq!(cut.ends_with("summary)_\n"), budget < text.len(), "{budget}: {cut}");
        }
    }
}

#[test]
fn three_hundred_kilobytes_on_one_line_fill_the_budget_and_no_character_is_halved() {
    let text = format!("<details>\n\n{}\n</details>\n", fence("text", &"ü🚀".repeat(50_000)));
    let cut = fit(&text, 60_000, "cut");
    assert!((59_900..=60_000).contains(&cut.len()), "{}", cut.len());
    assert!(cut.ends_with("\n```\n\n</details>\n\ncut\n"), "{}", &cut[cut.len() - 40..]);
}

#[test]
fn text_within_the_budget_is_left_as_it_is() {
    assert_eq!(fit("a\nb", 3, "note"), "a\nb");
}

#[test]
fn a_secret_across_the_cut_is_gone_before_the_cut() {
    let mut redaction = Redaction::default();
    redaction.hide(&Secret::new("hunter2-and-more"));
    let text = fence("text", &format!("{}hunter2-and-more", "x".repeat(85)));
    for budget in 80..text.len() {
        let cut = fit(&redaction.apply(&text), budget, "cut");
        assert!(!cut.contains("hunter"), "{budget}: {cut}");
    }
}

/// What a reader gets who copies a code span or a block: the text between its delimiters.
fn spans(markdown: &str) -> Vec<&str> {
    markdown.split('`').skip(1).step_by(2).collect()
}

#[test]
fn references_in_prose_are_code_that_is_copied_as_it_was() {
    let digest = format!("111122223333.dkr.ecr.eu-central-1.amazonaws.com/app@sha256:{}", "a".repeat(64));
    let arn = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:42";
    let text = format!("pushed and kept: {digest}, ({arn}); see `web` @everyone, #12 and GH-3.");
    let markdown = prose(&text);
    assert_eq!(spans(&markdown), [digest.as_str(), arn, "web", "@everyone", "#12", "GH-3"]);
    assert!(!markdown.contains('\u{200b}'), "{markdown}");
}

#[test]
fn prose_is_still_no_markup() {
    for text in ["*bold* [x](y)", "</details>", "a | b", "- item", "1. item", "an odd ` tick", "<!-- x -->"] {
        let markdown = prose(text);
        assert!(
            !markdown.contains(['<', '>']) && !markdown.contains("[x](") && !markdown.contains(" | "),
            "{markdown}"
        );
        assert!(
            !markdown.starts_with("- ") && !markdown.starts_with("1. ") && !markdown.contains("*bold*"),
            "{markdown}"
        );
    }
    assert_eq!(prose("three words here"), "three words here");
    assert_eq!(prose(" a `b` c "), "a `b` c");
}

#[test]
fn what_is_to_be_copied_is_a_block_with_its_bytes() {
    let json = "{\n  \"Action\": \"sts:AssumeRoleWithWebIdentity\",\n  \"a:sub\": \"repo:o@1/r@2:ref\"\n}";
    let command = "aws iam create --url https://token --client-id-list sts.amazonaws.com";
    let text = format!("`role` needs this statement:\n\n{json}\n\nor run this:\n\n{command}\n\nand deploy again");
    let markdown = advice(&text);
    assert_eq!(
        markdown,
        format!(
            "`role` needs this statement:\n\n```\n{json}\n```\n\nor run this:\n\n```\n{command}\n```\n\nand deploy again\n"
        )
    );
    let ticks = advice("run:\n\necho ```\necho `x`");
    assert!(ticks.contains("````\necho ```\necho `x`\n````\n"), "{ticks}");
}
