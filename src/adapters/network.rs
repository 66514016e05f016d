//! One way out for every client: proxies, certificate authorities and connection timeouts.

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Never through a proxy: the machine itself, and the addresses at which AWS hands credentials to instances and tasks.
const DIRECT: &str = "localhost,127.0.0.0/8,::1,169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254";

/// The HTTP clients of the program, after `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` and `AWS_CA_BUNDLE`.
/// Certificates of the bundle are trusted in addition to the system's.
#[derive(Clone, Debug)]
pub struct Network {
    aws: SharedHttpClient,
    http: reqwest::Client,
}

/// Settings of the environment that no client can be built from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkFailure {
    #[error("`AWS_CA_BUNDLE`: cannot use `{path}`: {why}")]
    CaBundle { path: String, why: String },
    /// The value may hold a password, so it is not repeated.
    #[error("`{variable}`: not a proxy address: {why}")]
    Proxy { variable: &'static str, why: String },
    #[error("HTTP client: {0}")]
    Client(String),
}

impl Network {
    /// Reads the settings from an environment.
    pub fn from_env(env: &BTreeMap<String, String>) -> Result<Self, NetworkFailure> {
        let bundle = ca_bundle(env)?;
        let proxies = Proxies::from_env(env)?;
        let http = plain_client(&proxies, bundle.as_ref())?;
        let aws = AwsClient { proxies, bundle: bundle.map(|b| b.pem), connectors: Arc::default() };
        Ok(Self { aws: SharedHttpClient::new(aws), http })
    }

    /// For the AWS SDK.
    pub(super) fn aws(&self) -> SharedHttpClient {
        self.aws.clone()
    }

    /// For everything else. Follows no redirects.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }
}

/// The system's own, with every authority that there is, has a quarter of one MiB.
const LARGEST_BUNDLE: u64 = 16 * 1024 * 1024;

struct Bundle {
    pem: Vec<u8>,
    certificates: Vec<reqwest::Certificate>,
}

fn ca_bundle(env: &BTreeMap<String, String>) -> Result<Option<Bundle>, NetworkFailure> {
    let Some(path) = env.get("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) else { return Ok(None) };
    let fail = |why: String| NetworkFailure::CaBundle { path: path.clone(), why };
    let size = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
    if size > LARGEST_BUNDLE {
        return Err(fail(format!("it is larger than {} MiB", LARGEST_BUNDLE / 1024 / 1024)));
    }
    let pem = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
    let certificates =
        reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| fail("a certificate in it cannot be read".into()))?;
    if certificates.is_empty() {
        return Err(fail("there is no PEM certificate in it".into()));
    }
    // The SDK's TLS connector panics on a certificate that does not parse: reqwest tells first.
    reqwest::Client::builder()
        .tls_certs_only(certificates.clone())
        .build()
        .map_err(|_| fail("a certificate in it is not valid".into()))?;
    Ok(Some(Bundle { pem, certificates }))
}

#[derive(Clone, Debug, Default)]
struct Proxies {
    http: Option<String>,
    https: Option<String>,
    direct: String,
}

impl Proxies {
    fn from_env(env: &BTreeMap<String, String>) -> Result<Self, NetworkFailure> {
        let value = |name: &str| {
            let lower = name.to_ascii_lowercase();
            env.get(&lower).or_else(|| env.get(name)).map(String::as_str).map(str::trim).filter(|v| !v.is_empty())
        };
        let no_proxy = value("NO_PROXY").unwrap_or_default();
        if no_proxy == "*" {
            return Ok(Self::default());
        }
        let proxy = |variable: &'static str| -> Result<Option<String>, NetworkFailure> {
            let Some((variable, text)) =
                value(variable).map(|v| (variable, v)).or_else(|| value("ALL_PROXY").map(|v| ("ALL_PROXY", v)))
            else {
                return Ok(None);
            };
            let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
            ProxyConfig::all(url.as_str()).map_err(|_| NetworkFailure::Proxy {
                variable,
                why: "expected `http://HOST:PORT` or `https://HOST:PORT`".into(),
            })?;
            Ok(Some(url))
        };
        let direct = if no_proxy.is_empty() { DIRECT.to_owned() } else { format!("{no_proxy},{DIRECT}") };
        Ok(Self { http: proxy("HTTP_PROXY")?, https: proxy("HTTPS_PROXY")?, direct })
    }

    fn for_scheme(&self, is_tls: bool) -> Option<&str> {
        if is_tls { self.https.as_deref() } else { self.http.as_deref() }
    }
}

/// On a system without any certificates (an image from scratch) only those of the bundle are trusted, so that `http`
/// still works there.
fn plain_client(proxies: &Proxies, bundle: Option<&Bundle>) -> Result<reqwest::Client, NetworkFailure> {
    let fail = |e: reqwest::Error| NetworkFailure::Client(deepest(&e));
    let certificates = bundle.map(|b| b.certificates.clone()).unwrap_or_default();
    let direct = reqwest::NoProxy::from_string(&proxies.direct);
    let builder = || -> Result<reqwest::ClientBuilder, NetworkFailure> {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("fargate-deploy/", env!("CARGO_PKG_VERSION")));
        if let Some(url) = &proxies.http {
            builder = builder.proxy(reqwest::Proxy::http(url).map_err(fail)?.no_proxy(direct.clone()));
        }
        if let Some(url) = &proxies.https {
            builder = builder.proxy(reqwest::Proxy::https(url).map_err(fail)?.no_proxy(direct.clone()));
        }
        Ok(builder)
    };
    match builder()?.tls_certs_merge(certificates.clone()).build() {
        Ok(client) => Ok(client),
        Err(_) => builder()?.tls_certs_only(certificates).build().map_err(fail),
    }
}

/// What lies at the bottom of an error: the sentence that names the cause.
pub(crate) fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

type Connectors = HashMap<(bool, Option<Duration>, Option<Duration>), SharedHttpConnector>;

/// Chooses by the scheme of each request, since proxies differ by scheme; the SDK's own [`ProxyConfig`] holds one.
/// TLS is set up with the first `https` request: reading the system's certificates takes longer than a local call.
#[derive(Clone, Debug)]
struct AwsClient {
    proxies: Proxies,
    bundle: Option<Vec<u8>>,
    connectors: Arc<Mutex<Connectors>>,
}

impl HttpClient for AwsClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(ByScheme { client: self.clone(), settings: settings.clone() })
    }
}

impl AwsClient {
    fn connector(&self, is_tls: bool, settings: &HttpConnectorSettings) -> Result<SharedHttpConnector, String> {
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (is_tls, settings.connect_timeout(), settings.read_timeout());
        if let Some(connector) = connectors.get(&key) {
            return Ok(connector.clone());
        }
        let connector = SharedHttpConnector::new(self.connect(is_tls, settings)?);
        connectors.insert(key, connector.clone());
        Ok(connector)
    }

    fn connect(&self, is_tls: bool, settings: &HttpConnectorSettings) -> Result<Connector, String> {
        let url = self.proxies.for_scheme(is_tls);
        let proxy = match url {
            None => ProxyConfig::disabled(),
            Some(url) if is_tls => ProxyConfig::https(url).map_err(|e| e.to_string())?.no_proxy(&self.proxies.direct),
            Some(url) => ProxyConfig::http(url).map_err(|e| e.to_string())?.no_proxy(&self.proxies.direct),
        };
        let builder = Connector::builder().connector_settings(settings.clone()).proxy_config(proxy);
        if !is_tls && !url.is_some_and(|url| url.starts_with("https:")) {
            return Ok(builder.build_http());
        }
        let mut trust = TrustStore::default();
        if let Some(pem) = &self.bundle {
            trust = trust.with_pem_certificate(pem.clone());
        }
        let context = TlsContext::builder().with_trust_store(trust).build().map_err(|e| e.to_string())?;
        Ok(builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build())
    }
}

#[derive(Debug)]
struct ByScheme {
    client: AwsClient,
    settings: HttpConnectorSettings,
}

impl HttpConnector for ByScheme {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_tls = request.uri().starts_with("https:");
        match self.client.connector(is_tls, &self.settings) {
            Ok(connector) => connector.call(request),
            Err(why) => HttpConnectorFuture::ready(Err(ConnectorError::user(why.into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn proxies_are_read_in_both_spellings_and_all_proxy_fills_the_gap() {
        let proxies = Proxies::from_env(&env(&[
            ("https_proxy", "proxy.corp:3128"),
            ("ALL_PROXY", "http://all:1"),
            ("NO_PROXY", ".corp"),
        ]))
        .unwrap();
        assert_eq!(proxies.https.as_deref(), Some("http://proxy.corp:3128"));
        assert_eq!(proxies.http.as_deref(), Some("http://all:1"));
        assert!(proxies.direct.starts_with(".corp,localhost,"));
    }

    #[test]
    fn no_proxy_star_means_no_proxy_at_all() {
        let proxies = Proxies::from_env(&env(&[("HTTPS_PROXY", "http://p:1"), ("no_proxy", "*")])).unwrap();
        assert_eq!((proxies.https, proxies.http), (None, None));
    }

    #[test]
    fn a_proxy_address_that_is_none_is_named_by_its_variable_without_its_value() {
        let failure = Network::from_env(&env(&[("HTTPS_PROXY", "socks9://user:hunter2@p")])).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "`HTTPS_PROXY`: not a proxy address: expected `http://HOST:PORT` or `https://HOST:PORT`"
        );
    }

    #[test]
    fn a_ca_bundle_that_is_missing_or_no_bundle_is_one_clear_error() {
        let failure = Network::from_env(&env(&[("AWS_CA_BUNDLE", "/nowhere/ca.pem")])).unwrap_err();
        assert!(
            failure.to_string().starts_with("`AWS_CA_BUNDLE`: cannot use `/nowhere/ca.pem`: No such file"),
            "{failure}"
        );

        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large.pem");
        std::fs::File::create(&large).unwrap().set_len(8 << 30).unwrap();
        let failure = Network::from_env(&env(&[("AWS_CA_BUNDLE", large.to_str().unwrap())])).unwrap_err();
        assert!(failure.to_string().ends_with("it is larger than 16 MiB"), "{failure}");
        for (name, text) in [
            ("empty.pem", ""),
            ("words.pem", "no certificate\n"),
            ("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let failure = Network::from_env(&env(&[("AWS_CA_BUNDLE", path.to_str().unwrap())])).unwrap_err();
            assert!(matches!(failure, NetworkFailure::CaBundle { .. }), "{name}: {failure}");
        }
    }
}
