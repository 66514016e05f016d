//! What of a context reaches the builder, and how much of it is sent.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use fargate_deploy_engine::EngineError;

use crate::support::{BUSYBOX, Context, build, engine, run};

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

#[tokio::test]
async fn a_file_that_cannot_be_sent_is_named() {
    let context = Context::new("FROM scratch\nCOPY . /\n");
    fs::write(context.path().join(std::ffi::OsStr::from_bytes(b"bad-\xff-name")), "").unwrap();
    let refusal = build(&engine().await, &context.request()).await.map(|built| built.image).unwrap_err();
    assert!(matches!(refusal, EngineError::Config { .. }), "{refusal:?}");
    let refusal = refusal.to_string();
    assert!(refusal.starts_with("build context: cannot send `") && refusal.contains("not UTF-8"), "{refusal}");
}
