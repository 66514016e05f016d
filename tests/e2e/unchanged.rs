//! The same commit twice, and a plan: nothing is changed where there is nothing to change.

use crate::program::Program;
use crate::scene::{CONFIG, definition};
use crate::served::Served;
use test_support::{App, Behaviour};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_commit_again_builds_pushes_registers_and_updates_nothing() {
    let app = App::new(CONFIG, &definition());
    app.write("app/check", "exit 0\n");
    let served = Served::open(app.path()).await;
    assert_eq!(served.answer().await.as_deref(), Some("r0"));
    let program = Program::new(served.env.clone());
    app.release("r1", Behaviour::Serves);
    let sha = "1".repeat(40);

    // The rehearsal has pushed the previous release's image itself.
    let mark = served.calls().await.len();
    let planned = program.start(&["--dry-run"], app.path(), &sha).ended().await;
    planned.succeeded("planned");
    assert_eq!(planned.json["plan-changes"], 1, "{}", planned.log);
    assert_eq!(served.mutations_since(mark).await, Vec::<String>::new());

    let first = program.start(&[], app.path(), &sha).ended().await;
    first.succeeded("deployed");
    assert_eq!(first.outputs["digest"], first.digest());
    assert_eq!(served.answer().await.as_deref(), Some("r1"));

    let mark = served.calls().await.len();
    let second = program.start(&[], app.path(), &sha).ended().await;
    second.succeeded("unchanged");
    assert_eq!(second.digest(), first.digest());
    // GitHub is told what became of the run; nothing of AWS, and no image, was changed.
    let mut changed = served.mutations_since(mark).await;
    changed.retain(|call| !call.starts_with("github:"));
    assert_eq!(changed, Vec::<String>::new(), "{}", second.log);
    assert_eq!(served.answer().await.as_deref(), Some("r1"));

    let mark = served.calls().await.len();
    let planned = program.start(&["--dry-run"], app.path(), &sha).ended().await;
    planned.succeeded("planned");
    assert_eq!(planned.json["plan-changes"], 0, "{}", planned.log);
    assert_eq!(served.mutations_since(mark).await, Vec::<String>::new());
    served.close().await;
}
