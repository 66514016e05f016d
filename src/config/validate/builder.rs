//! The BuildKit that builds.

use super::*;
use fargate_deploy_engine::{BuilderAddress, BuilderTls};

impl Check<'_> {
    pub(super) fn builder(&mut self, builder: &Located<Builder>) -> Option<BuilderConfig> {
        let place = builder.place;
        let settings = match &builder.value {
            Builder::Endpoint(endpoint) => {
                let endpoint = Located { place, value: Text(endpoint.clone()) };
                BuilderSettings { endpoint, ca: None, cert: None, key: None, server_name: None }
            }
            Builder::With(settings) => settings.as_ref().clone(),
        };
        let BuilderSettings { endpoint, ca, cert, key, server_name } = settings;
        if self.builds {
            for (what, path) in [("ca", &ca), ("cert", &cert), ("key", &key)] {
                if let Some(path) = path {
                    self.file(&format!("builder {what}"), path);
                }
            }
        }
        let has_tls = [&ca, &cert, &key, &server_name].into_iter().any(Option::is_some);
        let tls = has_tls.then(BuilderTls::default);
        if let Err(why) = BuilderAddress::parse(endpoint.value(), tls) {
            self.error(endpoint.place, format!("builder `{}`: {why}", endpoint.shown()));
        } else if has_tls && ca.is_none() {
            let hint = "name the PEM file of the authority that signed the builder's certificate: `ca: PATH`";
            self.error_with(place, "builder: `cert`, `key` and `server-name` are for TLS, and `ca` is missing", hint);
        } else if cert.is_some() != key.is_some() {
            self.error(place, "builder: `cert` and `key` belong together");
        }
        let path = |path: Option<Located<Text>>| path.map(|path| self.root.join(path.value()));
        Some(BuilderConfig {
            endpoint: endpoint.value().to_owned(),
            ca: path(ca),
            cert: path(cert),
            key: path(key),
            server_name: server_name.map(|name| name.value().to_owned()),
        })
    }
}
