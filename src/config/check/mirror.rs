//! Where a route copies its streams.

use super::super::{ActionConfig, Config, RouteConfig};
use super::route::no_cluster;
use super::{At, Report};
use msm_core::route::Mirror;

pub(super) fn check(config: &Config, route: &RouteConfig, at: &At, report: &mut Report<'_>) {
    let Some(own) = &route.mirror else { return };
    let at = at.then("mirror");
    let (key, cluster) = (at.then("cluster"), own.cluster.as_str());
    if cluster.is_empty() {
        report.add(&key, "names no cluster; write the name of one under `clusters`");
    } else if let Some(problem) = no_cluster(config, cluster, report) {
        report.add(&key, problem);
    } else if route.backends.iter().any(|backend| backend.cluster == cluster) {
        let message = format!(
            "`{cluster}` is a backend of the route, which has its streams already; name another cluster"
        );
        report.add(&key, message);
    }
    if own.percentage.0 == 0 {
        report.add(&at.then("percentage"), "is 0%, so nothing is copied; remove `mirror`, or write more");
    }
    if route.redirect.is_some() {
        report.add(&at, "stands next to `redirect`, which leaves nothing to copy; remove one");
    } else if route.backends.is_empty() && !route.r#match.actions.contains(&ActionConfig::Publish) {
        report.add(
            &at,
            "has nothing to copy: nothing is published by this route, and what is read by it comes from no cluster; add `publish` to \
             `match.actions`, or write `mirror` at the route that streams are published by",
        );
    }
}

pub(super) fn of(route: &RouteConfig) -> Option<Mirror> {
    let own = route.mirror.as_ref()?;
    Some(Mirror { cluster: own.cluster.clone(), percentage: own.percentage.0 })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use msm_core::route::Mirror;

    fn load(route: &str) -> Result<Option<Mirror>, String> {
        let yaml = format!(
            "routes: [{{name: r, match: {{url: '/a'}}, {route}}}]\nclusters: {{real: {{endpoints: ['rtsp://h']}}, shadow: {{endpoints: ['rtsp://i']}}}}"
        );
        let config = Config::from_yaml(&yaml, "msm.yaml", std::iter::empty());
        let config = config.map_err(|errors| errors.to_string().replace("msm.yaml:1: routes[0].", ""))?;
        let routing = config.routing().map_err(|errors| errors.to_string())?;
        Ok(routing.table.routes()[0].mirror.clone())
    }

    #[test]
    fn a_mirror_is_of_all_streams_unless_it_says_less() {
        let mirror = |percentage| Ok(Some(Mirror { cluster: "shadow".into(), percentage }));
        assert_eq!(load("backends: [{cluster: real}], mirror: {cluster: shadow}"), mirror(100));
        assert_eq!(load("mirror: {cluster: shadow, percentage: 10%}"), mirror(10));
        assert_eq!(load("backends: [{cluster: real}]"), Ok(None));
    }

    #[test]
    fn what_cannot_be_copied_is_told() {
        let problem = |route: &str| load(route).expect_err(route);
        let backends = "backends: [{cluster: real}]";
        assert_eq!(
            problem(&format!("{backends}, mirror: {{cluster: shadows}}")),
            "mirror.cluster: there is no cluster `shadows`; did you mean `shadow`?"
        );
        assert_eq!(
            problem(&format!("{backends}, mirror: {{percentage: 5%}}")),
            "mirror.cluster: names no cluster; write the name of one under `clusters`"
        );
        assert_eq!(
            problem(&format!("{backends}, mirror: {{cluster: real}}")),
            "mirror.cluster: `real` is a backend of the route, which has its streams already; name another cluster"
        );
        assert_eq!(
            problem("mirror: {cluster: shadow, percentage: 0%}"),
            "mirror.percentage: is 0%, so nothing is copied; remove `mirror`, or write more"
        );
        assert!(
            problem("redirect: {to: 'rtsp://other.example'}, mirror: {cluster: shadow}")
                .contains("`redirect`")
        );
        let only_read = load(
            "mirror: {cluster: shadow}, publish: {priority: 1}}, {name: s, match: {url: '/b', actions: [read]}, mirror: {cluster: shadow}",
        );
        assert!(only_read.unwrap_err().contains("has nothing to copy"));
    }
}
