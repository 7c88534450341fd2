//! From request to answer, without I/O.

use super::Source;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};

/// The content type of `/metrics` (OpenMetrics 1.0).
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What one of the three addresses serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `admin.address`: everything.
    Admin,
    /// `admin.metrics`: `/metrics`.
    Metrics,
    /// `admin.ready`: `/ready` and `/live`.
    Ready,
}

impl Role {
    /// The key in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Role::Admin => "admin.address",
            Role::Metrics => "admin.metrics",
            Role::Ready => "admin.ready",
        }
    }

    fn serves(self, path: &str) -> bool {
        match self {
            Role::Admin => matches!(path, "/" | "/metrics" | "/ready" | "/live" | "/status"),
            Role::Metrics => path == "/metrics",
            Role::Ready => matches!(path, "/ready" | "/live"),
        }
    }
}

/// The answer to one request. `draining` makes `/ready` say no, whatever the source says.
pub(super) async fn answer(
    role: Role,
    method: &Method,
    path: &str,
    source: &dyn Source,
    draining: bool,
) -> Response<Full<Bytes>> {
    if !role.serves(path) {
        return reply(StatusCode::NOT_FOUND, TEXT, "not found\n");
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refusal = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match path {
        "/metrics" => reply(StatusCode::OK, OPENMETRICS, source.metrics().await),
        "/status" => reply(StatusCode::OK, JSON, source.status().await.to_string()),
        "/live" => reply(StatusCode::OK, TEXT, "live\n"),
        "/ready" if draining => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n"),
        "/ready" if source.ready() => reply(StatusCode::OK, TEXT, "ready\n"),
        "/ready" => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "starting\n"),
        _ => reply(StatusCode::OK, TEXT, "/status\n/metrics\n/ready\n/live\n"),
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Later;

    fn answer(
        role: Role,
        method: &Method,
        path: &str,
        source: &dyn Source,
        draining: bool,
    ) -> Response<Full<Bytes>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(super::answer(role, method, path, source, draining))
    }

    struct Fixed(bool);

    impl Source for Fixed {
        fn metrics(&self) -> Later<'_, String> {
            Box::pin(async { "# EOF\n".to_owned() })
        }

        fn status(&self) -> Later<'_, serde_json::Value> {
            Box::pin(async { serde_json::json!({"streams": []}) })
        }

        fn ready(&self) -> bool {
            self.0
        }
    }

    fn get(role: Role, path: &str) -> u16 {
        answer(role, &Method::GET, path, &Fixed(true), false).status().as_u16()
    }

    #[test]
    fn each_address_serves_its_own() {
        let served = |role| -> Vec<&str> {
            let paths = ["/", "/metrics", "/ready", "/live", "/status", "/other", ""];
            paths.into_iter().filter(|path| get(role, path) == 200).collect()
        };
        assert_eq!(served(Role::Admin), ["/", "/metrics", "/ready", "/live", "/status"]);
        assert_eq!(served(Role::Metrics), ["/metrics"]);
        assert_eq!(served(Role::Ready), ["/ready", "/live"]);
        assert_eq!(get(Role::Metrics, "/status"), 404);
    }

    #[test]
    fn readiness() {
        let ready = |source, draining| {
            answer(Role::Ready, &Method::GET, "/ready", &Fixed(source), draining).status().as_u16()
        };
        assert_eq!([ready(true, false), ready(false, false), ready(true, true)], [200, 503, 503]);
        assert_eq!(get(Role::Ready, "/live"), 200);
    }

    #[test]
    fn methods_and_types() {
        let response = answer(Role::Admin, &Method::POST, "/status", &Fixed(true), false);
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        let response = answer(Role::Metrics, &Method::HEAD, "/metrics", &Fixed(true), false);
        assert_eq!(response.headers()[CONTENT_TYPE], OPENMETRICS);
    }
}
