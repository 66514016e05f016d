//! The documentation is held against the program: what it shows is read by the parsers that a user's file meets, and what
//! it lists comes from the tables that the program uses.

mod commands;
mod links;
mod page;
mod recording;
mod tables;
mod yaml;

use page::Page;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page that a person reads: at the root, under `docs`, and of the examples.
fn pages() -> Vec<Page> {
    let mut found = files(root(), &["md"], 0);
    found.extend(files(&root().join("docs"), &["md"], 1));
    found.extend(files(&root().join("examples"), &["md"], 1));
    let pages: Vec<Page> = found.into_iter().map(Page::read).collect();
    assert!(pages.len() > 20, "only {} pages", pages.len());
    pages
}

/// Files below `folder`, by their extensions, at most `depth` folders down.
fn files(folder: &Path, extensions: &[&str], depth: usize) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut left = vec![(folder.to_owned(), depth)];
    while let Some((next, depth)) = left.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && depth > 0 && name != "node_modules" && name != "target" {
                left.push((path, depth - 1));
            } else if path.extension().is_some_and(|e| extensions.iter().any(|known| e == *known)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// One assertion for all, so that a run names everything that is wrong.
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
