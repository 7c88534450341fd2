//! A mesh whose calls wait.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::events::Events;
use super::publisher::Publisher;
use super::reader::Reader;
use super::runtime::Own;
use crate::api::options::Options;
use crate::config::Config;
use crate::error::Error;
use crate::mesh::{Builder, Serving};
use crate::reload::Changes;
use crate::status::Status;

/// [`crate::Mesh`], with calls that wait. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mesh {
    mesh: crate::Mesh,
    runtime: Arc<Own>,
}

impl Mesh {
    /// As [`Builder::build`]; with one thread more, for calls.
    ///
    /// # Errors
    /// As of [`Builder::build`].
    pub fn start(builder: Builder) -> Result<Self, Error> {
        let runtime = Own::start()?;
        let mesh = runtime.run(builder.build())??;
        Ok(Self { mesh, runtime: Arc::new(runtime) })
    }

    /// As [`crate::Mesh::open`].
    ///
    /// # Errors
    /// As of [`crate::Mesh::open`].
    pub fn open(&self, url: &str) -> Result<Reader, Error> {
        self.open_with(url, &Options::default())
    }

    /// As [`crate::Mesh::open_with`].
    ///
    /// # Errors
    /// As of [`crate::Mesh::open`].
    pub fn open_with(&self, url: &str, options: &Options) -> Result<Reader, Error> {
        let (mesh, url, options) = (self.mesh.clone(), url.to_owned(), options.clone());
        let reader = self.run(async move { mesh.open_with(&url, &options).await })??;
        Ok(Reader::new(reader))
    }

    /// As [`crate::Mesh::publish`].
    ///
    /// # Errors
    /// As of [`crate::Mesh::publish`].
    pub fn publish(&self, url: &str, sdp: &str) -> Result<Publisher, Error> {
        self.publish_with(url, sdp, &Options::default())
    }

    /// As [`crate::Mesh::publish_with`].
    ///
    /// # Errors
    /// As of [`crate::Mesh::publish`].
    pub fn publish_with(&self, url: &str, sdp: &str, options: &Options) -> Result<Publisher, Error> {
        let (mesh, url, sdp) = (self.mesh.clone(), url.to_owned(), sdp.to_owned());
        let options = options.clone();
        let publisher = self.run(async move { mesh.publish_with(&url, &sdp, &options).await })??;
        Ok(Publisher::new(publisher))
    }

    /// As [`crate::Mesh::serve`].
    ///
    /// # Errors
    /// As of [`crate::Mesh::serve`].
    pub fn serve(&self) -> Result<Serving, Error> {
        let mesh = self.mesh.clone();
        self.run(async move { mesh.serve().await })?
    }

    /// As [`crate::Mesh::reload`].
    ///
    /// # Errors
    /// As of [`crate::Mesh::reload`].
    pub fn reload(&self, config: Config) -> Result<Changes, Error> {
        let mesh = self.mesh.clone();
        self.run(async move { mesh.reload(config).await })?
    }

    /// As [`crate::Mesh::reload_file`].
    ///
    /// # Errors
    /// As of [`crate::Mesh::reload`].
    pub fn reload_file(
        &self,
        path: impl Into<PathBuf>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Changes, Error> {
        let (mesh, path, env) = (self.mesh.clone(), path.into(), env.into_iter().collect::<Vec<_>>());
        self.run(async move { mesh.reload_file(path, env).await })?
    }

    /// As [`crate::Mesh::status`].
    ///
    /// # Errors
    /// [`Error::Stopped`] when the mesh has shut down.
    pub fn status(&self) -> Result<Status, Error> {
        let mesh = self.mesh.clone();
        self.run(async move { mesh.status().await })
    }

    /// As [`crate::Mesh::metrics_text`].
    ///
    /// # Errors
    /// [`Error::Stopped`] when the mesh has shut down.
    pub fn metrics_text(&self) -> Result<String, Error> {
        let mesh = self.mesh.clone();
        self.run(async move { mesh.metrics_text().await })
    }

    /// As [`crate::Mesh::events`].
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.mesh.events())
    }

    /// As [`crate::Mesh::shutdown`].
    pub fn shutdown(&self, deadline: Duration) {
        let mesh = self.mesh.clone();
        // Shutting down twice is no error.
        let _ = self.run(async move { mesh.shutdown(deadline).await });
    }

    /// The mesh itself, for a runtime of the application's.
    #[must_use]
    pub const fn as_async(&self) -> &crate::Mesh {
        &self.mesh
    }

    fn run<T, F>(&self, call: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.runtime.run(call)
    }
}
