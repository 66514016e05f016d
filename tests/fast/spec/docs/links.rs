//! Links lead somewhere, and files that are named exist.

use super::{Page, assert_none, files, pages, root};

#[test]
fn every_relative_link_and_its_anchor_resolve() {
    let pages = pages();
    let mut wrong = vec![];
    for page in &pages {
        for (line, target) in targets(page) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { page.path.clone() } else { page.path.parent().unwrap().join(file) };
            let Ok(path) = path.canonicalize() else {
                wrong.push(format!("{}:{line}: `{target}`: there is no such file", page.name));
                continue;
            };
            let leads_to = pages.iter().find(|p| p.path.canonicalize().is_ok_and(|known| known == path));
            if !anchor.is_empty() && !leads_to.is_some_and(|p| p.anchors().iter().any(|known| known == anchor)) {
                wrong.push(format!("{}:{line}: `{target}`: there is no such heading", page.name));
            }
        }
    }
    assert_none(&wrong);
}

/// `[text](target)`, other sites left out.
fn targets(page: &Page) -> Vec<(usize, String)> {
    let in_line = |(at, line): (usize, &str)| {
        let ends = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        ends.map(|(target, _)| (at, target.to_owned())).collect::<Vec<_>>()
    };
    let all = page.prose().into_iter().flat_map(in_line);
    all.filter(|(_, target)| !target.contains("://")).collect()
}

#[test]
fn every_path_of_this_repository_that_a_page_names_exists() {
    const FOLDERS: [&str; 8] = ["src/", "crates/", "tests/", "benches/", "docs/", "scripts/", "examples/", "action/"];
    let mut wrong = vec![];
    for page in pages().iter().filter(|page| !page.name.starts_with("examples/")) {
        for (line, span) in page.spans() {
            let is_path = FOLDERS.iter().any(|folder| span.starts_with(folder)) && !span.contains([' ', '*']);
            if is_path && !root().join(&span).exists() {
                wrong.push(format!("{}:{line}: `{span}`: there is no such file", page.name));
            }
        }
    }
    assert_none(&wrong);
}

/// Messages send people to pages; a page that is renamed would leave them alone.
#[test]
fn every_page_that_the_program_or_a_workflow_names_exists() {
    let mut sources = files(&root().join("src"), &["rs"], 9);
    sources.extend(files(&root().join("workflows"), &["yml"], 0));
    let pages = pages();
    let mut wrong = vec![];
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        for rest in text.split("docs/").skip(1) {
            let target: String = rest.chars().take_while(|c| c.is_alphanumeric() || "/._-#".contains(*c)).collect();
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let Some(page) = file.strip_suffix(".md") else { continue };
            let name = format!("docs/{page}.md");
            let found = pages.iter().find(|p| p.name == name);
            if !found.is_some_and(|p| anchor.is_empty() || p.anchors().iter().any(|known| known == anchor)) {
                wrong.push(format!("{}: `docs/{target}`", source.display()));
            }
        }
    }
    assert_none(&wrong);
}
