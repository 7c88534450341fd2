//! How a configuration would route a request, and why.

use std::fmt;

use msm_auth::identity::id::SpiffeId;
use msm_core::route::{Caller, Denial, RequestKey, RouteError, Verdict};
use msm_rtsp::url::RtspUrl;
use serde::Serialize;

use super::{ActionConfig, Config, Fallback, Hop};

/// What [`Config::explain`] found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether the request would be served.
    pub served: bool,
    /// The status that the client would get, were the upstream to serve it.
    pub status: u16,
    /// The decision, for people.
    pub decision: String,
    /// The routes that were looked at, in order, each with what it makes of the request.
    pub routes: Vec<RouteVerdict>,
    /// Path and query upstream.
    pub resource: Option<String>,
    /// Where the request goes; empty for streams of this process.
    pub backends: Vec<BackendChoice>,
}

/// One route, and what it makes of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteVerdict {
    /// The route's name.
    pub route: String,
    /// Whether it decides the request.
    pub decides: bool,
    /// Why, or why not.
    pub why: String,
}

/// One cluster that the request may go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendChoice {
    /// The cluster's name.
    pub cluster: String,
    /// Its share of the route's requests.
    pub weight: u32,
    /// `plain` or `mesh`.
    pub hop: &'static str,
    /// What becomes of endpoints that know no mesh hop: `none` or `rtsps`.
    pub fallback: &'static str,
    /// Its servers.
    pub endpoints: Vec<String>,
    /// Which members may serve.
    pub peers: Vec<String>,
}

impl Config {
    /// How a request would be routed: `from` is the caller's SPIFFE ID as another member; without it, a plain client asks.
    ///
    /// # Errors
    /// What is wrong with the URL, the ID or the configuration, for people.
    pub fn explain(
        &self,
        url: &str,
        action: ActionConfig,
        from: Option<&str>,
    ) -> Result<Explanation, String> {
        let url = RtspUrl::parse(url).map_err(|error| format!("the URL: {error}"))?;
        let from = from.map(SpiffeId::parse).transpose().map_err(|error| format!("--from: {error}"))?;
        let from = from.map(|id| id.to_string());
        let table = self.routing().map_err(|errors| errors.to_string())?.table;
        let key = RequestKey {
            scheme: url.scheme(),
            host: url.host(),
            port: Some(url.port()),
            path: if url.path().is_empty() { "/" } else { url.path() },
            query: url.query(),
            action: action.into(),
            caller: from.as_deref().map_or(Caller::Anonymous, Caller::Member),
        };
        let routes =
            table.explain(&key).map(|(route, verdict)| self.verdict(&route.name, &verdict)).collect();
        let mut explanation = Explanation {
            served: false,
            status: 404,
            decision: String::new(),
            routes,
            resource: None,
            backends: Vec::new(),
        };
        match table.route(&key) {
            Ok(found) => {
                explanation.served = true;
                explanation.status = 200;
                explanation.decision = format!("route `{}` serves it", found.route.name);
                explanation.resource = Some(found.path_and_query());
                explanation.backends =
                    found.route.backends.iter().map(|own| self.backend(&own.cluster, own.weight)).collect();
            }
            Err(error) => {
                explanation.status = match &error {
                    RouteError::Denied { .. } => 403,
                    RouteError::BadPath => 400,
                    RouteError::Action { .. } => 455,
                    _ => 404,
                };
                explanation.decision = error.to_string();
            }
        }
        Ok(explanation)
    }

    fn verdict(&self, name: &str, verdict: &Verdict) -> RouteVerdict {
        let given = self.routes.iter().find(|route| route.name == name);
        let (decides, why) = match verdict {
            Verdict::OtherUrl => {
                (false, format!("`{}` does not match the URL", given.map_or("", |own| &own.r#match.url)))
            }
            Verdict::OtherAction => (false, "is not for this action".to_owned()),
            Verdict::OtherCaller => {
                let from = given.map(|own| own.r#match.from.join(", ")).unwrap_or_default();
                (false, format!("`from` selects {from}"))
            }
            Verdict::Denies(denial) => (true, denies(denial)),
            Verdict::Serves(_) => {
                let allow = given.and_then(|own| own.allow.as_ref()).map(|allow| allow.join(", "));
                (
                    true,
                    allow.map_or("matches".to_owned(), |allow| format!("matches, and `allow` lists {allow}")),
                )
            }
        };
        RouteVerdict { route: name.to_owned(), decides, why }
    }

    fn backend(&self, name: &str, weight: u32) -> BackendChoice {
        let cluster = self.clusters.get(name);
        BackendChoice {
            cluster: name.to_owned(),
            weight,
            hop: match cluster.map(|own| own.hop) {
                Some(Hop::Mesh) => "mesh",
                _ => "plain",
            },
            fallback: match cluster.map(|own| own.fallback) {
                Some(Fallback::Rtsps) => "rtsps",
                _ => "none",
            },
            endpoints: cluster
                .map(|own| own.endpoints.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            peers: cluster.map(|own| own.peers.clone()).unwrap_or_default(),
        }
    }
}

fn denies(denial: &Denial) -> String {
    format!("matches, and denies it: {denial}")
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.routes.iter().map(|own| own.route.len()).max().unwrap_or(0);
        for own in &self.routes {
            let mark = if own.decides { "→" } else { " " };
            writeln!(f, "{mark} {:width$}  {}", own.route, own.why)?;
        }
        writeln!(f, "{}: {}", self.status, self.decision)?;
        if let Some(resource) = &self.resource {
            if self.backends.is_empty() {
                writeln!(f, "  {resource}, from streams that are published into this process")?;
            }
            for own in &self.backends {
                write!(
                    f,
                    "  {resource}, from cluster `{}` (weight {}, {} hop{}): {}",
                    own.cluster,
                    own.weight,
                    own.hop,
                    if own.fallback == "rtsps" {
                        ", or RTSP over TLS where an endpoint knows none"
                    } else {
                        ""
                    },
                    own.endpoints.join(", ")
                )?;
                if !own.peers.is_empty() {
                    write!(f, "; who must be {}", own.peers.join(" or "))?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "
identity: {ephemeral: {trust_domain: a.example, path: /me}}
listeners: [{name: mesh, address: '127.0.0.1:8050', protocol: mesh}]
routes:
  - {name: editors, match: {url: '/news/{feed}', from: ['spiffe://a.example/ns/edit/*']}, allow: ['spiffe://a.example/ns/edit/anna'], backends: [{cluster: far}], rewrite: '/live/{feed}'}
  - {name: in, match: {url: '/in/{feed}', actions: [publish]}}
  - {name: all, match: {url: '/{path...}'}, allow: ['spiffe://a.example/*']}
clusters:
  far: {endpoints: ['rtsp://10.0.0.1:8050'], hop: mesh, peers: ['spiffe://a.example/far']}
";

    fn explain(url: &str, from: Option<&str>) -> Explanation {
        let config = Config::from_yaml(YAML, "msm.yaml", std::iter::empty()).unwrap();
        config.explain(url, ActionConfig::Read, from).unwrap()
    }

    #[test]
    fn the_route_that_serves_is_named_with_its_cluster_and_who_must_serve() {
        let found = explain("rtsp://h/news/eu", Some("spiffe://a.example/ns/edit/anna"));
        assert!(found.served);
        assert_eq!(
            found.to_string(),
            "→ editors  matches, and `allow` lists spiffe://a.example/ns/edit/anna\n\
             200: route `editors` serves it\n  \
             /live/eu, from cluster `far` (weight 1, mesh hop): rtsp://10.0.0.1:8050; who must be spiffe://a.example/far\n"
        );
    }

    #[test]
    fn a_fallback_is_named_with_its_cluster() {
        let yaml = YAML.replace("hop: mesh,", "hop: mesh, fallback: rtsps,");
        let config = Config::from_yaml(&yaml, "msm.yaml", std::iter::empty()).unwrap();
        let from = Some("spiffe://a.example/ns/edit/anna");
        let found = config.explain("rtsp://h/news/eu", ActionConfig::Read, from).unwrap();
        assert_eq!(found.backends[0].fallback, "rtsps");
        assert!(
            found.to_string().ends_with(
                "(weight 1, mesh hop, or RTSP over TLS where an endpoint knows none): rtsp://10.0.0.1:8050; who must be \
                 spiffe://a.example/far\n"
            ),
            "{found}"
        );
    }

    #[test]
    fn a_denial_says_why_and_stops_there() {
        let found = explain("rtsp://h/news/eu", Some("spiffe://a.example/ns/edit/bert"));
        assert_eq!((found.served, found.status, found.routes.len()), (false, 403, 1));
        assert_eq!(
            found.to_string(),
            "→ editors  matches, and denies it: `allow` lists spiffe://a.example/ns/edit/anna, and the caller is \
             spiffe://a.example/ns/edit/bert\n\
             403: route `editors`: `allow` lists spiffe://a.example/ns/edit/anna, and the caller is \
             spiffe://a.example/ns/edit/bert\n"
        );
        let found = explain("rtsp://h/news/eu", None);
        assert_eq!(found.status, 403);
        assert_eq!(found.routes[0].why, "`from` selects spiffe://a.example/ns/edit/*");
        assert_eq!(found.routes[1].why, "`/in/{feed}` does not match the URL");
        assert!(found.routes[2].why.ends_with("and the caller has shown no identity"));
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        let config = Config::default();
        assert!(config.explain("nonsense", ActionConfig::Read, None).unwrap_err().starts_with("the URL: "));
        let error = config.explain("rtsp://h/a", ActionConfig::Read, Some("spiffe://A b")).unwrap_err();
        assert!(error.starts_with("--from: "), "{error}");
        assert!(config.explain("rtsp://h/a", ActionConfig::Publish, None).unwrap().served);
    }
}
