//! An explanation as text.

use super::{BackendChoice, Explanation};
use std::fmt;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.routes.iter().map(|own| own.route.len()).max().unwrap_or(0);
        for own in &self.routes {
            let mark = if own.decides { "→" } else { " " };
            writeln!(f, "{mark} {:width$}  {}", own.route, own.why)?;
        }
        if self.others > 0 {
            writeln!(f, "  and {} others that do not match the URL", self.others)?;
        }
        writeln!(f, "{}: {}", self.status, self.decision)?;
        if let Some(resource) = &self.resource {
            if self.backends.is_empty() {
                writeln!(f, "  {resource}, from streams that are published into this process")?;
            }
            for own in &self.backends {
                own.show(resource, f)?;
            }
        }
        if let Some(mirror) = &self.mirror {
            mirror.show(f)?;
        }
        if let Some(side) = &self.side {
            writeln!(f, "  {side}")?;
        }
        Ok(())
    }
}

impl BackendChoice {
    fn show(&self, resource: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.chosen == Some(true) { "→" } else { " " };
        let fallback = match self.fallback {
            "rtsps" => ", or RTSP over TLS where an endpoint knows none",
            _ => "",
        };
        write!(
            f,
            "{mark} {resource}, from cluster `{}` (weight {}, {:.4}% of streams, {} hop{fallback}, by {})",
            self.cluster,
            self.weight,
            Trimmed(self.share),
            self.hop,
            self.balance
        )?;
        if !self.peers.is_empty() {
            write!(f, "; who must be {}", self.peers.join(" or "))?;
        }
        writeln!(f)?;
        if self.canary {
            match &self.rolled_back {
                Some(why) => {
                    writeln!(f, "      canary, rolled back: its streams are the others' now; {why}")?
                }
                None => writeln!(f, "      canary: whether it is rolled back, only a running proxy knows")?,
            }
        }
        if let (Some(from), true) = (&self.discovery, self.endpoints.is_empty()) {
            writeln!(f, "      endpoints from {from}: only a running proxy knows them")?;
        }
        for own in &self.endpoints {
            let health = own.health.as_deref().unwrap_or("health: only a running proxy knows");
            writeln!(f, "      {}  weight {}, {health}", own.url, own.weight)?;
        }
        Ok(())
    }
}

/// A number without zeros at its end.
struct Trimmed(f64);

impl fmt::Display for Trimmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or_default();
        let text = format!("{:.digits$}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}
