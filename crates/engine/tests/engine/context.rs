//! What of a context reaches the builder, and how much of it is sent.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fargate_deploy_engine::EngineError;

use crate::support::{BUSYBOX, Context, Leftovers, build, engine, engine_without_buildkit, run};

const MEGABYTE: u64 = 1 << 20;

#[tokio::test]
async fn three_needed_files_of_a_large_context_are_all_that_is_sent_and_nothing_the_second_time() {
    let engine = engine().await;
    let context = Context::new("FROM scratch\nCOPY busybox a dir/b /\n").write("a", "a").write("dir/b", "b");
    let context = context.sparse("data/large", 300 * MEGABYTE).sparse("dir/large", 300 * MEGABYTE);
    let first = build(&engine, &context.request()).await.unwrap();
    assert!(first.image.sent < 10 * MEGABYTE, "{} bytes were sent", first.image.sent);
    let second = build(&engine, &context.request()).await.unwrap();
    assert!(second.image.sent < 4096, "{} bytes were sent again", second.image.sent);

    fs::write(context.path().join("a"), "changed").unwrap();
    let third = build(&engine, &context.request()).await.unwrap();
    assert!(third.image.sent < 4096, "{} bytes were sent for a change of 7", third.image.sent);
}

#[tokio::test]
async fn modes_links_and_empty_directories_arrive() {
    let script = "cd /w; /bin/busybox test -x tool; /bin/busybox test ! -x data; /bin/busybox test -d empty/deep; \
                  /bin/busybox test \"$(/bin/busybox readlink link)\" = data; \
                  /bin/busybox test \"$(/bin/busybox readlink dangling)\" = /nowhere; \
                  /bin/busybox test \"$(/bin/busybox stat -c %a%u%g tool)\" = 75000; \
                  /bin/busybox test \"$(/bin/busybox cat 'smørrebrød mit leerzeichen')\" = lecker";
    let context = Context::new(&format!("{BUSYBOX}COPY w /w\n{}", run(script)));
    let context = context.write("w/tool", "t").write("w/data", "d").write("w/smørrebrød mit leerzeichen", "lecker");
    let root = context.path().join("w");
    fs::set_permissions(root.join("tool"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(root.join("data"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir_all(root.join("empty/deep")).unwrap();
    symlink("data", root.join("link")).unwrap();
    symlink("/nowhere", root.join("dangling")).unwrap();
    build(&engine().await, &context.request()).await.unwrap();
}

#[tokio::test]
async fn a_copied_link_brings_the_file_that_it_leads_to() {
    let script = "/bin/busybox test \"$(/bin/busybox cat /config)\" = real";
    let context = Context::new(&format!("{BUSYBOX}COPY current/config /config\n{}", run(script)));
    let context = context.write("releases/1/config", "real");
    symlink("releases/1", context.path().join("current")).unwrap();
    build(&engine().await, &context.request()).await.unwrap();
}

#[tokio::test]
async fn ignored_files_stay_out_and_exceptions_come_in() {
    let script = "cd /w; /bin/busybox test ! -e secret.txt; /bin/busybox test ! -e node_modules; \
                  /bin/busybox test -e docs/keep/this; /bin/busybox test ! -e docs/gone; /bin/busybox test -e app";
    let context = Context::new(&format!("{BUSYBOX}COPY . /w\n{}", run(script)))
        .write(".dockerignore", "# comment\nsecret.txt\n**/node_modules\ndocs\n!docs/keep\n")
        .write("secret.txt", "x")
        .write("node_modules/a/b", "x")
        .write("docs/keep/this", "x")
        .write("docs/gone", "x")
        .write("app", "x");
    build(&engine().await, &context.request()).await.unwrap();
}

#[tokio::test]
async fn a_dockerfile_outside_the_context_has_its_own_ignore_file() {
    let script = "cd /w; /bin/busybox test ! -e special; /bin/busybox test -e general";
    let elsewhere = Context::new("").write("Other", &format!("{BUSYBOX}COPY . /w\n{}", run(script)));
    let elsewhere = elsewhere.write("Other.dockerignore", "special");
    let context = Context::new("not a Dockerfile").write(".dockerignore", "general");
    let context = context.write("general", "x").write("special", "x");
    let mut request = context.request();
    request.dockerfile = Some(elsewhere.path().join("Other"));
    build(&engine().await, &request).await.unwrap();
}

/// Puts `content` into an existing file of the same length, and the old time back on it.
fn replace_unnoticed(path: &Path, content: &str) {
    let before = fs::metadata(path).unwrap();
    assert_eq!(before.len(), content.len() as u64);
    fs::write(path, content).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(before.modified().unwrap()).unwrap();
}

#[tokio::test]
async fn a_file_with_the_size_and_the_time_of_the_old_one_is_sent() {
    let engine = engine().await;
    for name in ["app", "dir/app", "."] {
        let context = Context::new(&format!(
            "{BUSYBOX}COPY {name} /w/\nRUN [\"/bin/busybox\", \"grep\", \"-qrx\", \"old\", \"/w\"]\n"
        ));
        let file = context.path().join(if name == "." { "app" } else { name });
        let context = context.write("app", "old").write("dir/app", "old").write(".dockerignore", "Dockerfile");
        for of in [&file, &context.path().join("Dockerfile")] {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(315_532_800);
            fs::File::options().write(true).open(of).unwrap().set_modified(time).unwrap();
        }
        build(&engine, &context.request()).await.unwrap();
        replace_unnoticed(&context.path().join("app"), "new");
        replace_unnoticed(&context.path().join("dir/app"), "new");
        build(&engine, &context.request()).await.map(|_| ()).expect_err("the old file was built");

        let dockerfile = fs::read_to_string(context.path().join("Dockerfile")).unwrap();
        replace_unnoticed(&context.path().join("Dockerfile"), &dockerfile.replace("\"old\"", "\"new\""));
        build(&engine, &context.request()).await.unwrap();
    }
}

#[tokio::test]
async fn two_dockerfiles_of_one_size_and_time_are_two_images() {
    let engine = engine().await;
    let context = Context::new("").write("one/Dockerfile", "FROM scratch\nLABEL is=1\nCOPY app /\n");
    let context = context.write("two/Dockerfile", "FROM scratch\nLABEL is=2\nCOPY app /\n").write("app", "x");
    for folder in ["one", "two"] {
        let dockerfile = context.path().join(folder).join("Dockerfile");
        let file = fs::File::options().write(true).open(&dockerfile).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let mut request = context.request();
        request.dockerfile = Some(dockerfile);
        let built = build(&engine, &request).await.unwrap();
        let labels = engine.inspect(&built.image.id).await.unwrap().unwrap().labels;
        assert_eq!(labels["is"], if folder == "one" { "1" } else { "2" });
    }
}

#[tokio::test]
async fn hard_links_are_one_file_in_the_image_too() {
    for engine in [engine().await, engine_without_buildkit().await] {
        let (_leftovers, busybox) = Leftovers::of(&engine);
        let script = "cd /w; /bin/busybox test -s a; for f in b dir/c; do /bin/busybox cmp a $f; done";
        let context = Context::new(&format!("{busybox}COPY w /w\n{}", run(script)));
        let context = context.sparse("w/a", 8 * MEGABYTE).write("w/dir/other", "x");
        let first = context.path().join("w/a");
        for link in ["b", "dir/c"] {
            fs::hard_link(&first, context.path().join("w").join(link)).unwrap();
        }
        let built = build(&engine, &context.request()).await.unwrap();
        let tool = fs::metadata("/bin/busybox").unwrap().len();
        let image = engine.inspect(&built.image.id).await.unwrap().unwrap();
        assert!(built.image.sent < 10 * MEGABYTE + tool, "{} bytes were sent", built.image.sent);
        if engine.info().buildkit {
            assert!(image.size < 10 * MEGABYTE + tool, "{} bytes in the image", image.size);
        }
        // One of them changes: the others do with it.
        fs::OpenOptions::new().append(true).open(context.path().join("w/b")).unwrap().write_all(b"tail").unwrap();
        build(&engine, &context.request()).await.unwrap();
        // A link whose first name is left out comes as a file.
        let context = context.write(".dockerignore", "w/a\nw/dir\n");
        fs::write(
            context.path().join("Dockerfile"),
            format!("{busybox}COPY w /w\n{}", run("/bin/busybox test -s /w/b")),
        )
        .unwrap();
        build(&engine, &context.request()).await.unwrap();
    }
}

#[tokio::test]
async fn names_and_patterns_beyond_ascii_are_kept_out_and_found() {
    let script = "cd /w; /bin/busybox test -e bücher/日本; /bin/busybox test ! -e geheim-schlüssel; \
                  /bin/busybox test ! -e пароли";
    for engine in [engine().await, engine_without_buildkit().await] {
        let (_leftovers, busybox) = Leftovers::of(&engine);
        let context = Context::new(&format!("{busybox}COPY . /w\n{}", run(script)))
            .write(".dockerignore", "geheim-schlüssel\nпаро*\n")
            .write("geheim-schlüssel", "x")
            .write("пароли/a", "x")
            .write("bücher/日本", "x");
        build(&engine, &context.request()).await.unwrap();
        let context = Context::new(&format!("{busybox}COPY bücher/日本 /w\n{}", run("/bin/busybox test -e /w")))
            .write("bücher/日本", "x");
        build(&engine, &context.request()).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_sent_is_named() {
    let context = Context::new("FROM scratch\nCOPY . /\n");
    fs::write(context.path().join(OsStr::from_bytes(b"bad-\xff-name")), "").unwrap();
    let refusal = build(&engine().await, &context.request()).await.map(|built| built.image).unwrap_err();
    assert!(matches!(refusal, EngineError::Config { .. }), "{refusal:?}");
    let refusal = refusal.to_string();
    assert!(refusal.starts_with("build context: cannot send `") && refusal.contains("not UTF-8"), "{refusal}");
}

#[tokio::test]
async fn a_name_that_is_not_utf8_stops_no_build_that_does_not_need_it() {
    for engine in [engine().await, engine_without_buildkit().await] {
        let (_leftovers, busybox) = Leftovers::of(&engine);
        let bad = |context: &Context, folder: &str| {
            fs::create_dir_all(context.path().join(folder)).unwrap();
            fs::write(context.path().join(folder).join(OsStr::from_bytes(b"bad-\xff-name")), "").unwrap();
            symlink(OsStr::from_bytes(b"to-\xff"), context.path().join(folder).join("bad-link")).unwrap();
        };
        let not_copied = Context::new(&format!("{busybox}COPY app /\n")).write("app", "x");
        bad(&not_copied, "");
        build(&engine, &not_copied.request()).await.unwrap();
        let ignored = Context::new(&format!("{busybox}COPY . /\n")).write(".dockerignore", "bad-*\n").write("app", "x");
        bad(&ignored, "");
        build(&engine, &ignored.request()).await.unwrap();
        let ignored = Context::new(&format!("{busybox}COPY . /\n")).write(".dockerignore", "logs\n").write("app", "x");
        bad(&ignored, "logs");
        build(&engine, &ignored.request()).await.unwrap();
    }
}
