//! Who this member is.

use super::super::Config;
use super::{At, Report};
use msm_auth::identity::id::{SpiffeId, TrustDomain};

/// Checks who this member is.
pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let Some(identity) = &config.identity else { return };
    let at = At::key("identity");
    let sources = [
        ("workload_api", identity.workload_api.is_some()),
        ("files", identity.files.is_some()),
        ("ephemeral", identity.ephemeral.is_some()),
    ];
    let named: Vec<_> =
        sources.iter().filter(|(_, given)| *given).map(|(key, _)| format!("`{key}`")).collect();
    if named.len() > 1 {
        report
            .add(&at, format!("has {}; a member has one identity: remove all but one", named.join(" and ")));
    }
    if identity.initial_wait.is_zero() {
        report.add(&at.then("initial_wait"), "is 0, so no identity could come in time; write e.g. `30s`");
    }
    if let Some(files) = &identity.files {
        let at = at.then("files");
        for (key, path) in
            [("certificate", &files.certificate), ("key", &files.key), ("bundle", &files.bundle)]
        {
            if path.as_os_str().is_empty() {
                report.add(&at.then(key), "names no file");
            }
        }
        for name in files.federated.keys() {
            if let Err(error) = TrustDomain::parse(name) {
                report.add(&at.then("federated").then(name), error.to_string());
            }
        }
    }
    if let Some(own) = &identity.ephemeral {
        let id = format!("spiffe://{}{}", own.trust_domain, own.path);
        match SpiffeId::parse(&id) {
            Ok(id) if id.is_trust_domain() => {
                report.add(&at.then("ephemeral").then("path"), "is empty; write e.g. `/proxy/a`");
            }
            Ok(_) => {}
            Err(error) => report.add(&at.then("ephemeral"), error.to_string()),
        }
    }
}
