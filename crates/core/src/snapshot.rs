//! How the snapshot of a database is called.

/// One name a run, whatever its attempt: the snapshot of the first one is from before anything was changed. At most 255
/// letters, digits and single hyphens.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html>
#[must_use]
pub fn snapshot_name(instance: &str, run: &str) -> String {
    let mut name = String::new();
    for c in format!("fargate-deploy-{instance}-{run}").chars().take(255) {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if c != '-' || !name.ends_with('-') {
            name.push(c);
        }
    }
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_instance_and_the_run_as_rds_takes_names() {
        assert_eq!(snapshot_name("shop-db", "1001"), "fargate-deploy-shop-db-1001");
        assert_eq!(snapshot_name("shop-db", "a__b--"), "fargate-deploy-shop-db-a-b");
        assert!(snapshot_name("shop-db", &"x".repeat(400)).len() <= 255);
    }
}
