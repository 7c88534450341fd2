//! How long the threads of a mesh run: until it is shut down, or nothing of it is held any more.

use std::sync::Arc;

use crate::shared::Shared;

/// Held by the mesh and by each reader and publisher of it; the last one to go ends the threads.
#[derive(Clone)]
pub(crate) struct Alive(#[allow(dead_code, reason = "held for its end")] Arc<Last>);

struct Last(Arc<Shared>);

impl Alive {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::new(Last(Arc::clone(shared))))
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        self.0.draining.send_replace(true);
        for worker in self.0.workers() {
            let _ = worker.post(|worker| {
                worker.stop_listening();
                worker.end_all();
            });
        }
        self.0.stopping.send_replace(true);
    }
}
