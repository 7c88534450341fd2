//! Endpoints of the configuration itself.

use msm_core::cluster::EndpointSpec;

use super::{Found, Source};

pub(super) struct Fixed {
    /// Taken once.
    specs: Option<Vec<EndpointSpec>>,
    count: usize,
}

impl Fixed {
    pub(super) fn new(specs: Vec<EndpointSpec>) -> Self {
        Self { count: specs.len(), specs: Some(specs) }
    }
}

impl Source for Fixed {
    const KIND: &'static str = "static";

    fn describe(&self) -> String {
        format!("{} in the configuration", self.count)
    }

    async fn next(&mut self) -> Found {
        match self.specs.take() {
            Some(specs) => Found { endpoints: Some(specs), problem: None },
            None => std::future::pending().await,
        }
    }
}
