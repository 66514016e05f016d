//! Values of the config that are in AWS: what is asked, and what a refusal becomes.

use crate::story::fake::Journal;
use crate::story::fake::cloud::FakeCloud;
use fargate_deploy::config::{Request, draft};
use fargate_deploy::ports::{CallErrorKind, Parameter};
use fargate_deploy::steps::resolve_references::resolve_references;
use fargate_deploy_core::outcome::{Failure, Reason};
use std::collections::BTreeMap;

const SOURCE: &str = "terraform: s3://states/shop.tfstate
cluster: ${cfn:Base.Cluster}
services:
  web: { name: '${ssm:/shop/web}' }
  api: { name: '${cfn:Base.Api}' }
  job: { name: '${tf:job}' }
";

fn cloud() -> FakeCloud {
    let cloud = FakeCloud::new(Journal::default());
    {
        let mut aws = cloud.aws();
        let outputs = [("Cluster", "shop"), ("Api", "shop-api")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        aws.stacks.insert("Base".to_owned(), BTreeMap::from(outputs));
        aws.values.insert("/shop/web".to_owned(), Parameter::Plain("shop-web".to_owned()));
        let state = br#"{"version": 4, "outputs": {"job": {"value": "nightly"}}}"#;
        aws.objects.insert("s3://states/shop.tfstate".to_owned(), state.to_vec());
    }
    cloud
}

async fn configure(cloud: &FakeCloud) -> Result<Vec<String>, Failure> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fargate-deploy.yml"), SOURCE).unwrap();
    let draft = draft(&Request::default(), &BTreeMap::new(), folder.path()).unwrap();
    let answers = resolve_references(&draft.needs().unwrap(), cloud.ports()).await?;
    let config = draft.finish(&answers).unwrap();
    Ok(config.services.iter().map(|service| service.name.to_string()).collect())
}

#[tokio::test(start_paused = true)]
async fn each_place_is_asked_once_and_all_at_the_same_time() {
    let cloud = cloud();
    let began = tokio::time::Instant::now();
    assert_eq!(configure(&cloud).await.unwrap(), ["shop-web", "shop-api", "nightly"]);
    let mut asked = cloud.journal.lines();
    asked.sort();
    assert_eq!(
        asked,
        ["cloudformation:DescribeStacks Base", "s3:GetObject s3://states/shop.tfstate", "ssm:GetParameter /shop/web"]
    );
    // One call takes 80 ms here.
    assert_eq!(began.elapsed().as_millis(), 80);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_reference_its_place_and_the_action() {
    let cases = [
        ("cloudformation:DescribeStacks", "`${cfn:Base.Cluster}`", (2, 10)),
        ("ssm:GetParameter", "`${ssm:/shop/web}`", (4, 16)),
        ("s3:GetObject", "`${tf:job}`", (6, 16)),
    ];
    for (action, written, place) in cases {
        let cloud = cloud();
        cloud.fail(action, CallErrorKind::Denied, 0, usize::MAX);
        let failure = configure(&cloud).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Permission, "{failure:?}");
        assert!(failure.what.contains(written) && failure.next.as_ref().unwrap().contains(action), "{failure:?}");
        let at = failure.place.unwrap();
        assert_eq!((at.line, at.column), place, "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_denied_object_may_be_one_that_is_not_there() {
    let cloud = cloud();
    cloud.deny("s3:GetObject");
    let failure = configure(&cloud).await.unwrap_err();
    assert!(failure.next.unwrap().contains("without `s3:ListBucket` on `states`"));
}
