//! What is said of a build before it, held against what the builder asks for.

use std::collections::BTreeMap;

use fargate_deploy_engine::{Content, DigestInput, beyond_content, content};

use crate::support::{BUSYBOX, Context, build, engine, engine_without_buildkit, run, unique};

fn input<'a>(context: &'a Context, target: Option<&'a str>) -> DigestInput<'a> {
    DigestInput { context: context.path(), dockerfile: None, target, args: BTreeMap::new(), platform: None }
}

fn digest(context: &Context) -> String {
    match content(&input(context, None), &BTreeMap::new()).unwrap() {
        Content::Certain { digest, .. } => digest,
        Content::Doubtful { why } => panic!("{why}"),
    }
}

/// `lib/util`, `one`, `two` and `unused` beside busybox.
fn tree(dockerfile: &str) -> Context {
    let context = Context::new(&format!("{BUSYBOX}{dockerfile}"));
    ["lib/util", "one", "two", "unused"].into_iter().fold(context, |context, name| context.write(name, name))
}

#[tokio::test]
async fn the_builder_asks_for_nothing_that_the_dockerfile_did_not_say() {
    let engine = engine().await;
    let mounted = run("/bin/busybox cat /one").replace("RUN ", "RUN --mount=type=bind,source=one,target=/one ");
    for dockerfile in [
        "COPY one /one\n".to_owned(),
        "COPY ./one /two /d/\n".to_owned(),
        "COPY lib/ /lib/\nADD o* /d/\n".to_owned(),
        "COPY [\"one\", \"/one\"]\n".to_owned(),
        "COPY . /all\n".to_owned(),
        "COPY one \\\n  # of two\n  two /d/\n".to_owned(),
        "FROM scratch\nCOPY --from=0 /bin/busybox /busybox\nCOPY two /two\n".to_owned(),
        mounted,
    ] {
        let context = tree(&dockerfile);
        let built = build(&engine, &context.request()).await.unwrap();
        let beyond = beyond_content(&input(&context, None), &built.image.asked).unwrap();
        assert_eq!(beyond, None, "{dockerfile}: {:?}", built.image.asked);
    }
}

#[tokio::test]
async fn a_base_image_that_copies_by_itself_is_noticed() {
    let engine = engine().await;
    let base = format!("fd-test-onbuild:{}", unique());
    let mut request = tree("ONBUILD COPY unused /unused\n");
    request = request.write("other", "");
    let mut asked = request.request();
    asked.tags = vec![base.clone()];
    let _base = build(&engine, &asked).await.unwrap();

    let context = Context::new(&format!("FROM {base}\nCOPY one /one\n")).write("one", "1").write("unused", "");
    let built = build(&engine, &context.request()).await.unwrap();
    assert_eq!(beyond_content(&input(&context, None), &built.image.asked).unwrap().as_deref(), Some("unused"));
}

#[tokio::test]
async fn the_classic_builder_reads_all_of_a_context() {
    let engine = engine_without_buildkit().await;
    let (_leftovers, dockerfile) = crate::support::Leftovers::of(&engine);
    let context = Context::new(&dockerfile);
    let built = build(&engine, &context.request()).await.unwrap();
    assert_eq!(beyond_content(&input(&context, None), &built.image.asked).unwrap().as_deref(), Some("."));
}

#[test]
fn a_file_that_no_instruction_names_changes_nothing() {
    let dockerfile = "COPY one /one\n";
    let changed = |name: &str| digest(&tree(dockerfile).write(name, "changed"));
    let before = digest(&tree(dockerfile));
    assert_eq!(changed("unused"), before);
    assert_ne!(changed("one"), before);
}
